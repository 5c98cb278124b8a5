package topology

import (
	"github.com/tidemarkio/tidemark/serde"
)

// ToStreamBy returns the table's updates as a stream with other keys (Kafka Streams' KTable.toStream with a mapper):
// ToStream and [SelectKey] in one. f is given the zero value for a deleted row. The next grouping, ToTable or join goes
// through a repartition topic. [Named] names the ToStream. A nil serde means: as t has it if the type stays, else none.
func ToStreamBy[K, V, K2 any](
	t *KTable[K, V], f func(key K, value V) K2, keySerde serde.Serde[K2], opts ...NodeOption,
) *KStream[K2, V] {
	return selectKey(t.toStream("ToStreamBy", opts), "ToStreamBy", f, keySerde, nil)
}
