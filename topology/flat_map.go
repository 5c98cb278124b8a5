package topology

import (
	"iter"

	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
)

// FlatMap makes any number of records of one, in the order in which f yields them. Each is processed to the end before
// the next is asked for. Since the key may change, the next grouping, ToTable or join goes through a repartition topic;
// prefer [FlatMapValues] where the key stays. Nulls are passed to f as zero values. A nil serde means: as s has it if
// the type stays, else none.
func FlatMap[K, V, K2, V2 any](
	s *KStream[K, V], f func(key K, value V) iter.Seq2[K2, V2], keySerde serde.Serde[K2], valueSerde serde.Serde[V2],
	opts ...NodeOption,
) *KStream[K2, V2] {
	s.b.needFunc("FlatMap", f == nil)
	return derive(s, "FlatMap", "KSTREAM-FLATMAP-", opts,
		orCarried(keySerde, s.keySerde), orCarried(valueSerde, s.valueSerde), true,
		func(ctx processor.TaskContext, name string) processor.Receiver[K, V] {
			return &flatMapNode[K, V, K2, V2]{
				userNode: userNode{ctx, name}, f: f,
				keyNull: record.NullnessOf[K2](), valueNull: record.NullnessOf[V2](),
			}
		})
}

// flatMapNode makes several records of one. Owned by the task goroutine.
type flatMapNode[K, V, K2, V2 any] struct {
	processor.Outputs[K2, V2]
	userNode

	f         func(K, V) iter.Seq2[K2, V2]
	keyNull   record.Nullness[K2]
	valueNull record.Nullness[V2]
}

// Receive implements processor.Receiver.
func (n *flatMapNode[K, V, K2, V2]) Receive(r record.Record[K, V]) error {
	n.enter()
	all := n.f(r.Key, r.Value)
	if all == nil {
		return nil
	}
	for k, v := range all {
		err := n.Forward(record.Record[K2, V2]{
			Key: k, Value: v, Timestamp: r.Timestamp, Headers: r.Headers,
			NullKey: n.keyNull.IsNull(k, false), NullValue: n.valueNull.IsNull(v, false),
		})
		if err != nil {
			return err
		}
		n.enter() // the iterator goes on
	}
	return nil
}
