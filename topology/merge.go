package topology

import (
	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/record"
)

// Merge returns the records of both streams (Kafka Streams' merge). There is no order between them. The serdes are s's,
// or where s has none, other's.
func (s *KStream[K, V]) Merge(other *KStream[K, V], opts ...NodeOption) *KStream[K, V] {
	merged := derive(s, "Merge", "KSTREAM-MERGE-", opts, s.keySerde, s.valueSerde, s.rekeyed || other.rekeyed,
		func(processor.TaskContext, string) processor.Receiver[K, V] { return &passNode[K, V]{} })
	if merged.keySerde == nil {
		merged.keySerde = other.keySerde
	}
	if merged.valueSerde == nil {
		merged.valueSerde = other.valueSerde
	}
	if s.b.same("Merge", other.b) && other.node != s.node {
		other.node.children = append(other.node.children, merged.node)
		merged.node.parents = append(merged.node.parents, other.node)
	}
	return merged
}

// passNode hands records on. Owned by the task goroutine.
type passNode[K, V any] struct {
	processor.Outputs[K, V]
}

// Receive implements processor.Receiver.
func (n *passNode[K, V]) Receive(r record.Record[K, V]) error { return n.Forward(r) }
