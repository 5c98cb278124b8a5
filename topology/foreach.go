package topology

import (
	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/record"
)

// Foreach calls f for every record (Kafka Streams' foreach); [KStream.Peek] does so in passing. Null keys and values
// are passed as zero values. f may run again for a record whose transaction failed.
func (s *KStream[K, V]) Foreach(f func(key K, value V), opts ...NodeOption) {
	s.b.needFunc("Foreach", f == nil)
	derive(s, "Foreach", "KSTREAM-FOREACH-", opts, s.keySerde, s.valueSerde, s.rekeyed,
		func(ctx processor.TaskContext, name string) processor.Receiver[K, V] {
			return &foreachNode[K, V]{userNode: userNode{ctx, name}, f: f}
		})
}

// foreachNode ends a stream in the user's function. Owned by the task goroutine.
type foreachNode[K, V any] struct {
	userNode

	f func(K, V)
}

// Receive implements processor.Receiver.
func (n *foreachNode[K, V]) Receive(r record.Record[K, V]) error {
	n.enter()
	n.f(r.Key, r.Value)
	return nil
}
