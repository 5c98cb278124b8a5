package topology

import (
	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
)

// FlatMapValues makes any number of records of one, with the same key. A null value of a type without nil gives none
// and f is not called; of a nil-able type f is called with nil. f may return the same slice every time. A nil serde
// means: as s has it if the type stays, else none.
func FlatMapValues[K, V, V2 any](
	s *KStream[K, V], f func(value V) []V2, valueSerde serde.Serde[V2], opts ...NodeOption,
) *KStream[K, V2] {
	s.b.needFunc("FlatMapValues", f == nil)
	return flatMapValues(s, "FlatMapValues", func(_ K, v V) []V2 { return f(v) }, valueSerde, opts)
}

// FlatMapValuesWithKey is [FlatMapValues] with a function that sees the key, which it must not modify. A null key is
// passed as the zero value.
func FlatMapValuesWithKey[K, V, V2 any](
	s *KStream[K, V], f func(key K, value V) []V2, valueSerde serde.Serde[V2], opts ...NodeOption,
) *KStream[K, V2] {
	s.b.needFunc("FlatMapValuesWithKey", f == nil)
	return flatMapValues(s, "FlatMapValuesWithKey", f, valueSerde, opts)
}

func flatMapValues[K, V, V2 any](
	s *KStream[K, V], operator string, f func(K, V) []V2, valueSerde serde.Serde[V2], opts []NodeOption,
) *KStream[K, V2] {
	return derive(s, operator, "KSTREAM-FLATMAPVALUES-", opts, s.keySerde, orCarried(valueSerde, s.valueSerde), s.rekeyed,
		func(ctx processor.TaskContext, name string) processor.Receiver[K, V] {
			return &flatMapValuesNode[K, V, V2]{
				userNode: userNode{ctx, name}, f: f,
				nilable: record.NullnessOf[V]().Nilable(), valueNull: record.NullnessOf[V2](),
			}
		})
}

// flatMapValuesNode makes several records of one. Owned by the task goroutine.
type flatMapValuesNode[K, V, V2 any] struct {
	processor.Outputs[K, V2]
	userNode

	f         func(K, V) []V2
	nilable   bool // V has a nil, which f sees
	valueNull record.Nullness[V2]
}

// Receive implements processor.Receiver.
func (n *flatMapValuesNode[K, V, V2]) Receive(r record.Record[K, V]) error {
	if r.NullValue && !n.nilable {
		return nil
	}
	n.enter()
	for _, v := range n.f(r.Key, r.Value) {
		out := record.WithValue(r, v)
		out.NullValue = n.valueNull.IsNull(v, false)
		if err := n.Forward(out); err != nil {
			return err
		}
	}
	return nil
}
