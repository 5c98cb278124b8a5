package topology

import (
	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/record"
)

// ToStream returns the table's updates as a stream: key, new value (null for a deleted row), time of the update.
func (t *KTable[K, V]) ToStream(opts ...NodeOption) *KStream[K, V] {
	return t.toStream("ToStream", opts)
}

func (t *KTable[K, V]) toStream(operator string, opts []NodeOption) *KStream[K, V] {
	var c nodeConfig
	for _, o := range opts {
		o.applyNode(&c)
	}
	node := t.b.addNode(operator, &graphNode{
		name: t.b.nodeName(c.name, "KTABLE-TOSTREAM-"), kind: processor.ProcessorNode,
		make: func(processor.TaskContext) (any, error) { return &toStreamNode[K, V]{}, nil },
	}, t.node)
	return &KStream[K, V]{b: t.b, node: node, keySerde: t.keySerde, valueSerde: t.valueSerde}
}

// toStreamNode makes records of updates. Owned by the task goroutine.
type toStreamNode[K, V any] struct {
	processor.Outputs[K, V]
}

// Receive implements processor.Receiver.
func (n *toStreamNode[K, V]) Receive(r record.Record[K, Change[V]]) error {
	return n.Forward(record.Record[K, V]{
		Key: r.Key, Value: r.Value.New, NullValue: !r.Value.HasNew, Timestamp: r.Timestamp, Headers: r.Headers,
	})
}
