package topology

import (
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
)

// CountTable counts the rows of each group (Kafka Streams' KGroupedTable.count).
func CountTable[K, V any](g *KGroupedTable[K, V], opts ...StoreOption) *KTable[K, int64] {
	return aggregateTable(g, "CountTable", func() int64 { return 0 },
		func(_ K, _ V, n int64) int64 { return n + 1 },
		func(_ K, _ V, n int64) int64 { return n - 1 },
		serde.Int64, opts)
}

// AggregateTable folds the rows of each group into one value (Kafka Streams' KGroupedTable.aggregate): add takes a row
// in, subtract takes one out that was in. A nil aggregate deletes the result; the next row starts from initial. Neither
// may modify the aggregate it is given. A serde for A is needed.
func AggregateTable[K, V, A any](
	g *KGroupedTable[K, V], initial func() A, add, subtract func(key K, value V, aggregate A) A,
	valueSerde serde.Serde[A], opts ...StoreOption,
) *KTable[K, A] {
	g.b.needFunc("AggregateTable", initial == nil || add == nil || subtract == nil)
	return aggregateTable(g, "AggregateTable", initial, add, subtract, valueSerde, opts)
}

func aggregateTable[K, V, A any](
	g *KGroupedTable[K, V], operator string, initial func() A, add, subtract func(K, V, A) A,
	valueSerde serde.Serde[A], opts []StoreOption,
) *KTable[K, A] {
	return addTableAggregation(g, operator, "KTABLE-AGGREGATE-", opts, valueSerde,
		func(r rows[K, A]) listener {
			return &tableAggregateNode[K, V, A]{
				rows: r, initial: initial, add: add, subtract: subtract, null: record.NullnessOf[A](),
			}
		})
}

// tableAggregateNode takes rows out of and into aggregates. Owned by the task goroutine.
type tableAggregateNode[K, V, A any] struct {
	rows[K, A]

	initial       func() A
	add, subtract func(K, V, A) A
	null          record.Nullness[A]
}

// Receive implements processor.Receiver.
func (n *tableAggregateNode[K, V, A]) Receive(r record.Record[K, Change[V]]) error {
	if r.NullKey {
		n.ctx.Dropped(n.name, "null key in an aggregation")
		return nil
	}
	var (
		c         Change[A]
		timestamp int64
	)
	n.enter()
	err := n.kv.Update(r.Key, r.Headers, func(old A, oldTimestamp int64, found bool) (A, int64, bool) {
		next, exists := old, found
		timestamp = r.Timestamp
		if r.Value.HasOld && found {
			next = n.subtract(r.Key, r.Value.Old, old)
			exists = !n.null.IsNull(next, false)
			timestamp = max(r.Timestamp, oldTimestamp)
		}
		if r.Value.HasNew {
			if !exists {
				next = n.initial()
			}
			next = n.add(r.Key, r.Value.New, next)
			exists = !n.null.IsNull(next, false)
			if found {
				timestamp = max(r.Timestamp, oldTimestamp)
			}
		}
		c = Change[A]{New: next, HasNew: exists, Old: old, HasOld: found}
		return c.New, timestamp, c.HasNew
	})
	return n.updated(err, r.Key, c, timestamp, r.Headers)
}
