package topology

import (
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/store"
)

// Table reads a topic as a table (Kafka Streams' StreamsBuilder.table): a record replaces the row of its key, a null
// value deletes it, the last to arrive wins whatever its timestamp. Records with a null key are dropped. With [As] the
// rows are kept in a store of that name; without, only if an operator below needs them, or with [Versioned]. Both
// serdes are needed.
func Table[K, V any](
	b *Builder, topic string, keySerde serde.Serde[K], valueSerde serde.Serde[V], opts ...TableOption,
) *KTable[K, V] {
	var c tableConfig
	for _, o := range opts {
		o.applyTable(&c)
	}
	storeName := b.storeName(c.store, topic+"-STATE-STORE-")
	sourceName := ""
	if c.storeConfig.name != "" {
		sourceName = c.storeConfig.name + "-source"
	}
	sourceName = b.nodeName(sourceName, "KSTREAM-SOURCE-")
	source := addSource(b, "Table", sourceName, []string{topic}, keySerde, valueSerde, c.sourceConfig)
	name := b.nodeName(c.storeConfig.name, "KTABLE-SOURCE-")
	return tableOf(b, "Table", source, name, storeName, c.storeConfig, keySerde, valueSerde)
}

// tableOf declares the node that makes a table of the records of parent. It has a store from the start if the user
// named one or wants history, and gets storeName later if it is needed.
func tableOf[K, V any](
	b *Builder, operator string, parent *graphNode, name, storeName string, c storeConfig,
	keySerde serde.Serde[K], valueSerde serde.Serde[V],
) *KTable[K, V] {
	state := &tableState{history: c.versioned}
	node := b.addNode(operator, rowsNode(name, state,
		func(r rows[K, V]) listener { return &tableSourceNode[K, V]{rows: r} }), parent)
	state.materialize = func() {
		if state.store != "" {
			return
		}
		state.store = storeName
		if c.versioned {
			addVersionedStore(b, operator, node, storeName, c, keySerde, valueSerde)
		} else {
			addStoreFor(b, operator, node, storeName, c, keySerde, valueSerde)
			if operator == "Table" && c.ttl == (store.TTL{}) {
				reuseSource(b, parent, storeName, keySerde, valueSerde)
			}
		}
	}
	if c.store != "" || c.versioned || c.ttl != (store.TTL{}) {
		state.materialize()
	}
	return &KTable[K, V]{
		b: b, node: node, keySerde: keySerde, valueSerde: valueSerde, state: state, view: storeView[K, V](state),
	}
}

// tableSourceNode makes updates of records. Owned by the task goroutine.
type tableSourceNode[K, V any] struct {
	rows[K, V]
}

// Receive implements processor.Receiver.
func (n *tableSourceNode[K, V]) Receive(r record.Record[K, V]) error {
	if r.NullKey {
		n.ctx.Dropped(n.name, "null key in a table")
		return nil
	}
	if n.history != nil {
		return n.putVersion(r)
	}
	c := Change[V]{New: r.Value, HasNew: !r.NullValue}
	if n.sendOld && n.kv != nil && !n.cached { // a cache knows what it emitted last
		var err error
		if c.Old, c.HasOld, err = n.kv.Get(r.Key); err != nil {
			return err
		}
	}
	return n.update(r.Key, c, r.Timestamp, r.Headers)
}
