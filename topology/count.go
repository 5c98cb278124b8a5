package topology

import (
	"github.com/tidemarkio/tidemark/serde"
)

// Count counts the records of each key (Kafka Streams' count). Records with a null key or value are dropped. The
// result's timestamp is the highest of the key's records.
func Count[K, V any](g *KGroupedStream[K, V], opts ...StoreOption) *KTable[K, int64] {
	return aggregate(g, "Count", opts, serde.Int64,
		func() int64 { return 0 },
		func(_ K, _ V, n int64) int64 { return n + 1 })
}
