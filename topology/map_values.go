package topology

import (
	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
)

// MapValues replaces the value; the key stays, and with it the partition. A null value of a type without nil stays null
// and f is not called; of a nil-able type f is called with nil. A nil serde means: as s has it if the type stays, else
// none.
func MapValues[K, V, V2 any](
	s *KStream[K, V], f func(value V) V2, valueSerde serde.Serde[V2], opts ...NodeOption,
) *KStream[K, V2] {
	s.b.needFunc("MapValues", f == nil)
	return mapValues(s, "MapValues", func(_ K, v V) V2 { return f(v) }, valueSerde, opts)
}

// MapValuesWithKey is [MapValues] with a function that sees the key (Kafka Streams' ValueMapperWithKey), which it must
// not modify. A null key is passed as the zero value.
func MapValuesWithKey[K, V, V2 any](
	s *KStream[K, V], f func(key K, value V) V2, valueSerde serde.Serde[V2], opts ...NodeOption,
) *KStream[K, V2] {
	s.b.needFunc("MapValuesWithKey", f == nil)
	return mapValues(s, "MapValuesWithKey", f, valueSerde, opts)
}

func mapValues[K, V, V2 any](
	s *KStream[K, V], operator string, f func(K, V) V2, valueSerde serde.Serde[V2], opts []NodeOption,
) *KStream[K, V2] {
	return derive(s, operator, "KSTREAM-MAPVALUES-", opts, s.keySerde, orCarried(valueSerde, s.valueSerde), s.rekeyed,
		func(ctx processor.TaskContext, name string) processor.Receiver[K, V] {
			return &mapValuesNode[K, V, V2]{
				userNode: userNode{ctx, name}, f: f,
				nilable: record.NullnessOf[V]().Nilable(), valueNull: record.NullnessOf[V2](),
			}
		})
}

// mapValuesNode replaces the value. Owned by the task goroutine.
type mapValuesNode[K, V, V2 any] struct {
	processor.Outputs[K, V2]
	userNode

	f         func(K, V) V2
	nilable   bool // V has a nil, which f sees
	valueNull record.Nullness[V2]
}

// Receive implements processor.Receiver.
func (n *mapValuesNode[K, V, V2]) Receive(r record.Record[K, V]) error {
	var v V2
	if r.NullValue && !n.nilable {
		out := record.WithValue(r, v)
		out.NullValue = true
		return n.Forward(out)
	}
	n.enter()
	v = n.f(r.Key, r.Value)
	out := record.WithValue(r, v)
	out.NullValue = n.valueNull.IsNull(v, false)
	return n.Forward(out)
}
