package topology

import (
	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
)

// SelectKey replaces the key. The next grouping, ToTable or join goes through a repartition topic. Null keys and values
// are passed to f as zero values. A nil serde means: as s has it if the type stays, else none.
func SelectKey[K, V, K2 any](
	s *KStream[K, V], f func(key K, value V) K2, keySerde serde.Serde[K2], opts ...NodeOption,
) *KStream[K2, V] {
	return selectKey(s, "SelectKey", f, keySerde, opts)
}

func selectKey[K, V, K2 any](
	s *KStream[K, V], operator string, f func(K, V) K2, keySerde serde.Serde[K2], opts []NodeOption,
) *KStream[K2, V] {
	s.b.needFunc(operator, f == nil)
	return derive(s, operator, "KSTREAM-KEY-SELECT-", opts, orCarried(keySerde, s.keySerde), s.valueSerde, true,
		func(ctx processor.TaskContext, name string) processor.Receiver[K, V] {
			return &selectKeyNode[K, V, K2]{userNode: userNode{ctx, name}, f: f, keyNull: record.NullnessOf[K2]()}
		})
}

// selectKeyNode replaces the key. Owned by the task goroutine.
type selectKeyNode[K, V, K2 any] struct {
	processor.Outputs[K2, V]
	userNode

	f       func(K, V) K2
	keyNull record.Nullness[K2]
}

// Receive implements processor.Receiver.
func (n *selectKeyNode[K, V, K2]) Receive(r record.Record[K, V]) error {
	n.enter()
	out := record.WithKey(r, n.f(r.Key, r.Value))
	out.NullKey = n.keyNull.IsNull(out.Key, false)
	return n.Forward(out)
}
