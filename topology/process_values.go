package topology

import (
	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/serde"
)

// ProcessValues runs a processor of the user's that cannot change the key (Kafka Streams' processValues): unlike after
// [Process], the next grouping, ToTable or join goes through a repartition topic only if s already had to. newProcessor
// is called once per task and must return a new one every time. [WithStores] names the stores it uses. A nil serde
// means: as s has it if the type stays, else none.
func ProcessValues[K, V, V2 any](
	s *KStream[K, V], newProcessor func() processor.FixedKeyProcessor[K, V, V2], valueSerde serde.Serde[V2],
	opts ...ProcessOption,
) *KStream[K, V2] {
	const operator, prefix = "ProcessValues", "KSTREAM-PROCESSVALUES-"
	s.b.needFunc(operator, newProcessor == nil)
	node := addProcessor(s, operator, prefix, opts, func(ctx processor.TaskContext, name string) any {
		return processor.NewFixedKeyNode(ctx, name, newProcessor())
	})
	return &KStream[K, V2]{
		b: s.b, node: node, keySerde: s.keySerde, valueSerde: orCarried(valueSerde, s.valueSerde), rekeyed: s.rekeyed,
	}
}
