package topology

import (
	"github.com/tidemarkio/tidemark/record"
)

// ReduceTable folds the rows of each group into one value of the same type (Kafka Streams' KGroupedTable.reduce): add
// takes a row in, subtract takes one out that was in. The first row is taken as it is. A nil result deletes the
// group's. Neither may modify its arguments.
func ReduceTable[K, V any](
	g *KGroupedTable[K, V], add, subtract func(aggregate, value V) V, opts ...StoreOption,
) *KTable[K, V] {
	g.b.needFunc("ReduceTable", add == nil || subtract == nil)
	return addTableAggregation(g, "ReduceTable", "KTABLE-REDUCE-", opts, g.valueSerde,
		func(r rows[K, V]) listener {
			return &tableReduceNode[K, V]{rows: r, add: add, subtract: subtract, null: record.NullnessOf[V]()}
		})
}

// tableReduceNode takes rows out of and into reduced values. Owned by the task goroutine.
type tableReduceNode[K, V any] struct {
	rows[K, V]

	add, subtract func(V, V) V
	null          record.Nullness[V]
}

// Receive implements processor.Receiver.
func (n *tableReduceNode[K, V]) Receive(r record.Record[K, Change[V]]) error {
	if r.NullKey {
		n.ctx.Dropped(n.name, "null key in an aggregation")
		return nil
	}
	var (
		c         Change[V]
		timestamp int64
	)
	n.enter()
	err := n.kv.Update(r.Key, r.Headers, func(old V, oldTimestamp int64, found bool) (V, int64, bool) {
		next, exists := old, found
		timestamp = r.Timestamp
		if r.Value.HasOld && found {
			next = n.subtract(old, r.Value.Old)
			exists = !n.null.IsNull(next, false)
			timestamp = max(r.Timestamp, oldTimestamp)
		}
		switch {
		case r.Value.HasNew && exists:
			next = n.add(next, r.Value.New)
			exists = !n.null.IsNull(next, false)
			timestamp = max(r.Timestamp, oldTimestamp)
		case r.Value.HasNew:
			next, exists = r.Value.New, true
		}
		c = Change[V]{New: next, HasNew: exists, Old: old, HasOld: found}
		return c.New, timestamp, c.HasNew
	})
	return n.updated(err, r.Key, c, timestamp, r.Headers)
}
