package topology

import (
	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
)

// Map replaces key and value. Since the key may change, the next grouping, ToTable or join goes through a repartition
// topic; prefer [MapValues] where the key stays. Nulls are passed to f as zero values; a null value of a type without
// nil stays null, whatever f returns for it, so that a tombstone remains one. A nil serde means: as s has it if the
// type stays, else none.
func Map[K, V, K2, V2 any](
	s *KStream[K, V], f func(key K, value V) (K2, V2), keySerde serde.Serde[K2], valueSerde serde.Serde[V2],
	opts ...NodeOption,
) *KStream[K2, V2] {
	s.b.needFunc("Map", f == nil)
	return derive(s, "Map", "KSTREAM-MAP-", opts,
		orCarried(keySerde, s.keySerde), orCarried(valueSerde, s.valueSerde), true,
		func(ctx processor.TaskContext, name string) processor.Receiver[K, V] {
			return &mapNode[K, V, K2, V2]{
				userNode: userNode{ctx, name}, f: f, nilable: record.NullnessOf[V]().Nilable(),
				keyNull: record.NullnessOf[K2](), valueNull: record.NullnessOf[V2](),
			}
		})
}

// mapNode replaces key and value. Owned by the task goroutine.
type mapNode[K, V, K2, V2 any] struct {
	processor.Outputs[K2, V2]
	userNode

	f         func(K, V) (K2, V2)
	nilable   bool // V has a nil, which f sees
	keyNull   record.Nullness[K2]
	valueNull record.Nullness[V2]
}

// Receive implements processor.Receiver.
func (n *mapNode[K, V, K2, V2]) Receive(r record.Record[K, V]) error {
	n.enter()
	out := record.Record[K2, V2]{Timestamp: r.Timestamp, Headers: r.Headers}
	out.Key, out.Value = n.f(r.Key, r.Value)
	if r.NullValue && !n.nilable {
		var zero V2
		out.Value, out.NullValue = zero, true
	} else {
		out.NullValue = n.valueNull.IsNull(out.Value, false)
	}
	out.NullKey = n.keyNull.IsNull(out.Key, false)
	return n.Forward(out)
}
