package topology

import (
	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/record"
)

// Peek calls f for every record and passes the record on. Null keys and values are passed as zero values. f may run
// again for a record whose transaction failed.
func (s *KStream[K, V]) Peek(f func(key K, value V), opts ...NodeOption) *KStream[K, V] {
	s.b.needFunc("Peek", f == nil)
	return derive(s, "Peek", "KSTREAM-PEEK-", opts, s.keySerde, s.valueSerde, s.rekeyed,
		func(ctx processor.TaskContext, name string) processor.Receiver[K, V] {
			return &peekNode[K, V]{userNode: userNode{ctx, name}, f: f}
		})
}

// peekNode calls and forwards. Owned by the task goroutine.
type peekNode[K, V any] struct {
	processor.Outputs[K, V]
	userNode

	f func(K, V)
}

// Receive implements processor.Receiver.
func (n *peekNode[K, V]) Receive(r record.Record[K, V]) error {
	n.enter()
	n.f(r.Key, r.Value)
	return n.Forward(r)
}
