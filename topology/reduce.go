package topology

import (
	"github.com/tidemarkio/tidemark/record"
)

// Reduce folds the values of each key into one of the same type (Kafka Streams' reduce). The first value is taken as it
// is. Records with a null key or value are dropped. A nil result deletes the row; the next value is then a first one
// again. The result's timestamp is the highest of the key's records since then. f must not modify its arguments.
func Reduce[K, V any](g *KGroupedStream[K, V], f func(aggregate, value V) V, opts ...StoreOption) *KTable[K, V] {
	g.stream.b.needFunc("Reduce", f == nil)
	return addAggregation(g, "Reduce", "KSTREAM-REDUCE-", "KSTREAM-REDUCE-STATE-STORE-", opts, g.valueSerde,
		func(r rows[K, V]) listener { return &reduceNode[K, V]{rows: r, f: f, null: record.NullnessOf[V]()} })
}

// reduceNode folds values. Owned by the task goroutine.
type reduceNode[K, V any] struct {
	rows[K, V]

	f    func(V, V) V
	null record.Nullness[V]
}

// Receive implements processor.Receiver.
func (n *reduceNode[K, V]) Receive(r record.Record[K, V]) error {
	if r.NullKey || r.NullValue {
		n.ctx.Dropped(n.name, "null key or value in an aggregation")
		return nil
	}
	var (
		c         Change[V]
		timestamp int64
	)
	n.enter()
	err := n.kv.Update(r.Key, r.Headers, func(old V, oldTimestamp int64, found bool) (V, int64, bool) {
		next := r.Value
		timestamp = r.Timestamp
		if found {
			next, timestamp = n.f(old, r.Value), max(timestamp, oldTimestamp)
		}
		c = Change[V]{New: next, HasNew: !n.null.IsNull(next, false), Old: old, HasOld: found}
		return c.New, timestamp, c.HasNew
	})
	return n.updated(err, r.Key, c, timestamp, r.Headers)
}
