package topology

import (
	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
)

// Aggregate folds the records of each key, or of each key and window, into one value (Kafka Streams' aggregate):
// initial makes the first aggregate, add returns the next one. Records with a null key are dropped, those with a null
// value too, unless there are windows other than sliding ones: add then sees the zero value. A nil aggregate deletes
// the row; the next record starts from initial. The result's timestamp is the highest of the records since then.
// Sessions are aggregated by [AggregateSessions].
//
// add must not modify the aggregate it is given, nor keep it: return a new one. A serde for A is needed.
func Aggregate[K, V, RK, A any](
	g Folded[K, V, RK], initial func() A, add func(key K, value V, aggregate A) A, valueSerde serde.Serde[A],
	opts ...StoreOption,
) *KTable[RK, A] {
	g.group().stream.b.needFunc("Aggregate", initial == nil || add == nil)
	if g.windows() == nil {
		return unwindowed[RK](aggregate(g.group(), "Aggregate", opts, valueSerde, initial, add))
	}
	return aggregation[K, V, RK](g, fold[K, V, A]{
		operator: "Aggregate", prefix: aggregatePrefix, storePrefix: aggregateStorePrefix,
		valueSerde: valueSerde, opts: opts, initial: initial, add: add,
	})
}

const (
	aggregatePrefix      = "KSTREAM-AGGREGATE-"
	aggregateStorePrefix = "KSTREAM-AGGREGATE-STATE-STORE-"
)

// unwindowed is t with its key's type under the name that a [Grouped] without windows gives it.
func unwindowed[RK, K, A any](t *KTable[K, A]) *KTable[RK, A] {
	same, _ := any(t).(*KTable[RK, A])
	return same
}

func aggregate[K, V, A any](
	g *KGroupedStream[K, V], operator string, opts []StoreOption, valueSerde serde.Serde[A],
	initial func() A, add func(K, V, A) A,
) *KTable[K, A] {
	return addAggregation(g, operator, aggregatePrefix, aggregateStorePrefix, opts, valueSerde,
		func(r rows[K, A]) listener {
			return &aggregateNode[K, V, A]{rows: r, initial: initial, add: add, null: record.NullnessOf[A]()}
		})
}

// aggregateNode folds records. Owned by the task goroutine.
type aggregateNode[K, V, A any] struct {
	rows[K, A]

	initial func() A
	add     func(K, V, A) A
	null    record.Nullness[A]
}

var _ processor.Receiver[string, string] = (*aggregateNode[string, string, int64])(nil)

// Receive implements processor.Receiver.
func (n *aggregateNode[K, V, A]) Receive(r record.Record[K, V]) error {
	if r.NullKey || r.NullValue {
		n.ctx.Dropped(n.name, "null key or value in an aggregation")
		return nil
	}
	var (
		c         Change[A]
		timestamp int64
	)
	n.enter()
	// One look-up for reading and writing. The closure does not escape.
	err := n.kv.Update(r.Key, r.Headers, func(old A, oldTimestamp int64, found bool) (A, int64, bool) {
		from := old
		timestamp = r.Timestamp
		if !found {
			from = n.initial()
		} else {
			timestamp = max(timestamp, oldTimestamp)
		}
		next := n.add(r.Key, r.Value, from)
		c = Change[A]{New: next, HasNew: !n.null.IsNull(next, false), Old: old, HasOld: found}
		return c.New, timestamp, c.HasNew
	})
	return n.updated(err, r.Key, c, timestamp, r.Headers)
}
