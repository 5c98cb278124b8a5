package topology

import (
	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/store"
)

// GlobalKTable is a table that every instance keeps whole (Kafka Streams' GlobalKTable). Streams join it by any key of
// theirs, with [JoinGlobal] and [LeftJoinGlobal]; processors look into it by the name of its store. It has no updates
// that could be processed: for those see [Table].
type GlobalKTable[K, V any] struct {
	b     *Builder
	store string
}

// StoreName returns the name of the table's store, given with [As] or generated. Every processor can read it, as a
// *store.Global[K, V].
func (t *GlobalKTable[K, V]) StoreName() string { return t.store }

// GlobalTable reads all partitions of a topic into one table, in every instance (Kafka Streams'
// StreamsBuilder.globalTable). A record replaces the row of its key, a null value deletes it, the last to arrive wins
// whatever its timestamp. Records with a null key are dropped. Both serdes are needed.
//
// Before any task runs the table is read up to the end of the topic, from the beginning or from where the local state
// ends; then it follows the topic, read_committed, on its own: a record that joins it sees the rows of that moment, and
// a record that is processed again may see others. The topic must be compacted, or keep its records for ever. A record
// that cannot be decoded goes to Config.OnDeserializationError, with record.GlobalTaskID as its task; it cannot be
// dead-lettered.
//
// Options are [As], [InMemory], [Named] and [WithTimestampExtractor]. The table is never logged or cached, and always
// read from the beginning.
func GlobalTable[K, V any](
	b *Builder, topic string, keySerde serde.Serde[K], valueSerde serde.Serde[V], opts ...TableOption,
) *GlobalKTable[K, V] {
	var c tableConfig
	for _, o := range opts {
		o.applyTable(&c)
	}
	c.sourceConfig.name = c.storeConfig.name
	t := &GlobalKTable[K, V]{b: b, store: b.storeName(c.store, topic+"-STATE-STORE-")}
	spec := store.KeyValueSpec(t.store, keySerde, valueSerde)
	spec.TTL = c.ttl
	spec.InMemory, spec.ChangelogConfig = c.inMemory, c.changelog
	addGlobal(b, "GlobalTable", spec, topic, keySerde, valueSerde, c.sourceConfig,
		func(ctx processor.TaskContext, name string) (any, error) {
			n := &globalTableNode[K, V]{userNode: userNode{ctx, name}}
			var err error
			n.rows, err = processor.StateStore[*store.KeyValue[K, V]](ctx, spec.Name)
			return n, err
		})
	return t
}

// globalTableNode makes rows of records. Owned by the goroutine of the global stores.
type globalTableNode[K, V any] struct {
	userNode

	rows *store.KeyValue[K, V]
}

// Receive implements processor.Receiver.
func (n *globalTableNode[K, V]) Receive(r record.Record[K, V]) error {
	switch {
	case r.NullKey:
		n.ctx.Dropped(n.name, "null key in a global table")
		return nil
	case r.NullValue:
		return n.rows.DeleteWithTimestamp(r.Key, r.Timestamp)
	}
	return n.rows.PutWithTimestamp(r.Key, r.Value, r.Timestamp)
}
