package topology

import (
	"slices"

	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/serde"
)

// Process runs a processor of the user's (Kafka Streams' process). newProcessor is called once per task and must return
// a new one every time. [WithStores] names the stores it uses. Since the key may change, the next grouping, ToTable or
// join goes through a repartition topic. A nil serde means: as s has it if the type stays, else none.
func Process[K, V, K2, V2 any](
	s *KStream[K, V], newProcessor func() processor.Processor[K, V, K2, V2],
	keySerde serde.Serde[K2], valueSerde serde.Serde[V2], opts ...ProcessOption,
) *KStream[K2, V2] {
	s.b.needFunc("Process", newProcessor == nil)
	node := addProcessor(s, "Process", "KSTREAM-PROCESSOR-", opts, func(ctx processor.TaskContext, name string) any {
		return processor.NewNode(ctx, name, newProcessor())
	})
	return &KStream[K2, V2]{
		b: s.b, node: node, keySerde: orCarried(keySerde, s.keySerde), valueSerde: orCarried(valueSerde, s.valueSerde),
		rekeyed: true,
	}
}

// addProcessor declares the node of a processor of the user's.
func addProcessor[K, V any](
	s *KStream[K, V], operator, prefix string, opts []ProcessOption,
	newNode func(ctx processor.TaskContext, name string) any,
) *graphNode {
	var c processConfig
	for _, o := range opts {
		o.applyProcess(&c)
	}
	name := s.b.storeName(c.name, prefix) // unlike other nodes: a name given to it uses no number up
	return s.b.addNode(operator, &graphNode{
		name: name, kind: processor.ProcessorNode, stores: slices.Compact(slices.Sorted(slices.Values(c.stores))),
		make: func(ctx processor.TaskContext) (any, error) {
			ctx.Enter(name)
			return newNode(ctx, name), nil
		},
	}, s.node)
}
