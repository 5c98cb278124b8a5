package topology

import (
	"github.com/tidemarkio/tidemark/serde"
)

// Count counts the records of each key, or of each key and window (Kafka Streams' count). Records with a null key are
// dropped, those with a null value too, unless there are windows other than sliding ones. The result's timestamp is the
// highest of the records (of a session: its end).
func Count[K, V, RK any](g Grouped[K, V, RK], opts ...StoreOption) *KTable[RK, int64] {
	add := func(_ K, _ V, n int64) int64 { return n + 1 }
	initial := func() int64 { return 0 }
	if g.windows() == nil {
		return unwindowed[RK](aggregate(g.group(), "Count", opts, serde.Int64, initial, add))
	}
	return aggregation(g, fold[K, V, int64]{
		operator: "Count", prefix: aggregatePrefix, storePrefix: aggregateStorePrefix,
		valueSerde: serde.Int64, opts: opts, initial: initial, add: add,
		merge: func(_ K, a, b int64) int64 { return a + b },
	})
}
