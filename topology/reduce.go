package topology

import (
	"github.com/tidemarkio/tidemark/record"
)

// Reduce folds the values of each key, or of each key and window, into one of the same type (Kafka Streams' reduce).
// The first value is taken as it is. Records with a null key are dropped, those with a null value too, unless there are
// windows other than sliding ones. A nil result deletes the row; the next value is then a first one again. The result's
// timestamp is the highest of the records since then (of a session: its end). f must not modify its arguments.
func Reduce[K, V, RK any](g Grouped[K, V, RK], f func(aggregate, value V) V, opts ...StoreOption) *KTable[RK, V] {
	grouped := g.group()
	grouped.stream.b.needFunc("Reduce", f == nil)
	if g.windows() == nil {
		return unwindowed[RK](addAggregation(grouped, "Reduce", reducePrefix, reduceStorePrefix, opts, grouped.valueSerde,
			func(r rows[K, V]) listener { return &reduceNode[K, V]{rows: r, f: f, null: record.NullnessOf[V]()} }))
	}
	return aggregation(g, fold[K, V, V]{
		operator: "Reduce", prefix: reducePrefix, storePrefix: reduceStorePrefix,
		valueSerde: grouped.valueSerde, opts: opts,
		first: func(v V) V { return v }, add: func(_ K, v, aggregate V) V { return f(aggregate, v) },
		merge: func(_ K, a, b V) V { return f(a, b) },
	})
}

const (
	reducePrefix      = "KSTREAM-REDUCE-"
	reduceStorePrefix = "KSTREAM-REDUCE-STATE-STORE-"
)

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
