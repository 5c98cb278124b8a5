package topology

import (
	"fmt"

	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/store"
)

// addVersionedStore is addStoreFor for a table that keeps its history.
func addVersionedStore[K, V any](
	b *Builder, operator string, node *graphNode, name string, c storeConfig,
	keySerde serde.Serde[K], valueSerde serde.Serde[V],
) {
	needSerdes(b, operator, fmt.Sprintf("the store %q", name), keySerde, valueSerde)
	if c.history < 0 {
		b.fail(operator, "Versioned(%v): want a history retention of 0 or more", c.history)
	}
	c.noTTL(b, operator, "a versioned table keeps its history for as long as Versioned says")
	spec := store.VersionedSpec(name, keySerde, valueSerde, c.history)
	c.configure(&spec)
	spec.CachingEnabled = false // a version that waits may be superseded, and nobody below would see it
	b.addStore(operator, spec)
	node.useStore(name)
}

// putVersion puts a record's version of its row, and forwards the update unless it was too old.
func (n *tableSourceNode[K, V]) putVersion(r record.Record[K, V]) error {
	c := Change[V]{New: r.Value, HasNew: !r.NullValue}
	var err error
	if n.sendOld {
		if c.Old, c.HasOld, err = n.history.Get(r.Key); err != nil {
			return err
		}
	}
	var put store.PutResult
	if c.HasNew {
		put, err = n.history.Put(r.Key, c.New, r.Timestamp)
	} else {
		put, err = n.history.Delete(r.Key, r.Timestamp)
	}
	if err != nil {
		return err
	}
	if !put.Stored {
		n.ctx.Dropped(n.name, "update of a versioned table from before its history retention")
		return nil
	}
	c.OutOfOrder = put.OutOfOrder()
	return n.forward(r.Key, c, r.Timestamp, r.Headers)
}

// openHistory makes the getter of a versioned table from its store.
func openHistory[K, V any](ctx processor.TaskContext, name string) (tableGetter[K, V], error) {
	history, err := processor.StateStore[*store.Versioned[K, V]](ctx, name)
	if err != nil {
		return tableGetter[K, V]{}, fmt.Errorf("topology: read a versioned table: %w", err)
	}
	return tableGetter[K, V]{
		get: history.GetWithTimestamp,
		getAsOf: func(key K, at int64) (V, int64, bool, error) {
			v, found, err := history.GetAsOf(key, at)
			return v.Value, v.ValidFrom, found, err
		},
	}, nil
}
