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
	var c processConfig
	for _, o := range opts {
		o.applyProcess(&c)
	}
	name := s.b.nodeName(c.name, "KSTREAM-PROCESSOR-")
	node := s.b.addNode("Process", &graphNode{
		name: name, kind: processor.ProcessorNode, stores: slices.Compact(slices.Sorted(slices.Values(c.stores))),
		make: func(ctx processor.TaskContext) (any, error) {
			ctx.Enter(name)
			return processor.NewNode(ctx, name, newProcessor()), nil
		},
	}, s.node)
	return &KStream[K2, V2]{
		b: s.b, node: node, keySerde: orCarried(keySerde, s.keySerde), valueSerde: orCarried(valueSerde, s.valueSerde),
		rekeyed: true,
	}
}
