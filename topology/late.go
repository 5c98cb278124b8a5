package topology

import (
	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/serde"
)

// LateConsumer is the option that [LateRecords] returns.
type LateConsumer[K, V any] func(late *KStream[K, V])

// LateRecords hands the records that came too late for every one of their windows to a stream of their own, unchanged
// (Flink's sideOutputLateData). They then do not count as dropped. It is for aggregations with windows of event time; a
// cogroup takes one for each type of input. A record that is late for some of its windows only is not among them.
func LateRecords[K, V any](consume func(late *KStream[K, V])) LateConsumer[K, V] { return consume }

func (l LateConsumer[K, V]) applyStore(c *storeConfig) { c.late = append(c.late, l) }

// lateSuffix is what follows an aggregation's name in the name of its late records' node.
const lateSuffix = "-late"

// addLate declares the late records of an aggregation's node, for those options that take its types, and returns how
// many do. No generated name is used up.
func addLate[K, V any](
	b *Builder, operator string, options []any, node *graphNode, keySerde serde.Serde[K], valueSerde serde.Serde[V],
) int {
	var late *KStream[K, V]
	taken := 0
	for _, o := range options {
		consume, ok := o.(LateConsumer[K, V])
		if !ok {
			continue
		}
		taken++
		b.needFunc(operator, consume == nil)
		if consume == nil {
			continue
		}
		if late == nil {
			late = &KStream[K, V]{b: b, keySerde: keySerde, valueSerde: valueSerde, node: b.addNode(operator, &graphNode{
				name: node.name + lateSuffix, kind: processor.ProcessorNode,
				make: func(processor.TaskContext) (any, error) { return &passNode[K, V]{}, nil },
			}, node)}
		}
		consume(late)
	}
	return taken
}
