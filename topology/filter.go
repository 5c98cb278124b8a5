package topology

import (
	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/record"
)

// Filter keeps the records for which predicate is true. Null keys and values are passed as zero values.
func (s *KStream[K, V]) Filter(predicate func(key K, value V) bool, opts ...NodeOption) *KStream[K, V] {
	return s.filter("Filter", predicate, true, opts)
}

// FilterNot keeps the records for which predicate is false.
func (s *KStream[K, V]) FilterNot(predicate func(key K, value V) bool, opts ...NodeOption) *KStream[K, V] {
	return s.filter("FilterNot", predicate, false, opts)
}

func (s *KStream[K, V]) filter(
	operator string, predicate func(K, V) bool, keep bool, opts []NodeOption,
) *KStream[K, V] {
	s.b.needFunc(operator, predicate == nil)
	return derive(s, operator, "KSTREAM-FILTER-", opts, s.keySerde, s.valueSerde, s.rekeyed,
		func(ctx processor.TaskContext, name string) processor.Receiver[K, V] {
			return &filterNode[K, V]{userNode: userNode{ctx, name}, predicate: predicate, keep: keep}
		})
}

// filterNode keeps what the predicate says. Owned by the task goroutine.
type filterNode[K, V any] struct {
	processor.Outputs[K, V]
	userNode

	predicate func(K, V) bool
	keep      bool
}

// Receive implements processor.Receiver.
func (n *filterNode[K, V]) Receive(r record.Record[K, V]) error {
	n.enter()
	if n.predicate(r.Key, r.Value) != n.keep {
		return nil
	}
	return n.Forward(r)
}
