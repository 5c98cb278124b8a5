package topology

import (
	"fmt"

	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
)

// To writes the stream to a topic, which must exist. The serdes are the stream's unless [WithSerdes] gives others.
// Records are written in the transaction that commits their inputs.
func (s *KStream[K, V]) To(topic string, opts ...SinkOption) {
	if topic == "" {
		s.b.fail("To", "a topic needs a name")
	}
	addSink(s, "To", topic, nil, opts)
}

// ToEach writes each record to the topic that choose names for it (Kafka Streams' TopicNameExtractor). The topics must
// exist; one that does not is an error of user code. Null keys and values are given as zero values with the flags of
// [record.Record].
func (s *KStream[K, V]) ToEach(choose func(r record.Record[K, V]) string, opts ...SinkOption) {
	s.b.needFunc("ToEach", choose == nil)
	addSink(s, "ToEach", "", choose, opts)
}

func addSink[K, V any](
	s *KStream[K, V], operator, topic string, choose func(record.Record[K, V]) string, opts []SinkOption,
) {
	var c sinkConfig
	for _, o := range opts {
		o.applySink(&c)
	}
	keySerde, valueSerde := serdesOf(s.b, operator, c.serdeConfig, s.keySerde, s.valueSerde)
	needSerdes(s.b, operator, fmt.Sprintf("writing to %q", topic), keySerde, valueSerde)
	partition, ok := c.partitioner.(Partitioner[K, V])
	if c.partitioner != nil && !ok {
		s.b.fail(operator, "WithPartitioner: %T is not for keys of type %s and values of type %s", c.partitioner,
			typeName[K](), typeName[V]())
	}
	node := newSinkNode(s.b.nodeName(c.name, "KSTREAM-SINK-"), topic, choose, partition, keySerde, valueSerde)
	s.b.addNode(operator, node, s.node)
}

// newSinkNode declares the node that writes to topic, or to what choose says.
func newSinkNode[K, V any](
	name, topic string, choose func(record.Record[K, V]) string, partition Partitioner[K, V],
	keySerde serde.Serde[K], valueSerde serde.Serde[V],
) *graphNode {
	node := &graphNode{name: name, kind: processor.SinkNode}
	if topic != "" {
		node.topics = []string{topic}
	}
	node.make = func(ctx processor.TaskContext) (any, error) {
		const scratchBytes = 64 // grows to what the records need
		n := &sinkNode[K, V]{
			userNode: userNode{ctx, name}, topic: topic, choose: choose, partition: partition,
			keySerde: keySerde, valueSerde: valueSerde,
			key: make([]byte, 0, scratchBytes), value: make([]byte, 0, scratchBytes),
		}
		if choose != nil {
			n.outputs = make(map[string]processor.Output)
			return n, nil
		}
		var err error
		n.out, err = ctx.Output(topic)
		return n, err
	}
	return node
}

// sinkNode encodes and sends. Owned by the task goroutine.
type sinkNode[K, V any] struct {
	userNode

	topic     string
	out       processor.Output // of topic
	choose    func(record.Record[K, V]) string
	outputs   map[string]processor.Output // by what choose returned
	partition Partitioner[K, V]

	keySerde   serde.Serde[K]
	valueSerde serde.Serde[V]
	// key and value are scratch. Invariant: never nil, since nil would be sent as null.
	key   []byte
	value []byte
}

// Receive implements processor.Receiver.
func (n *sinkNode[K, V]) Receive(r record.Record[K, V]) error {
	n.enter() // serdes are user code
	var key, value []byte
	if !r.NullKey {
		b, err := n.keySerde.Append(n.key[:0], r.Key)
		if err != nil {
			return processor.WrapUserError(n.ctx, n.name, fmt.Errorf("topology: encode the key: %w", err))
		}
		if b != nil {
			n.key = b
		}
		key = n.key[:len(b)]
	}
	if !r.NullValue {
		b, err := n.valueSerde.Append(n.value[:0], r.Value)
		if err != nil {
			return processor.WrapUserError(n.ctx, n.name, fmt.Errorf("topology: encode the value: %w", err))
		}
		if b != nil {
			n.value = b
		}
		value = n.value[:len(b)]
	}
	out := n.out
	if n.choose != nil {
		var err error
		if out, err = n.chosen(r); err != nil {
			return err
		}
	}
	if n.partition == nil {
		return out.Send(key, value, r.Timestamp, r.Headers)
	}
	p := n.partition(n.topic, r, out.Partitions())
	if p < 0 || p >= out.Partitions() {
		return processor.WrapUserError(n.ctx, n.name,
			fmt.Errorf("topology: the partitioner chose partition %d of %d", p, out.Partitions()))
	}
	return out.SendTo(p, key, value, r.Timestamp, r.Headers)
}

// chosen resolves the topic that the user's function names.
func (n *sinkNode[K, V]) chosen(r record.Record[K, V]) (processor.Output, error) {
	n.topic = n.choose(r)
	if out, ok := n.outputs[n.topic]; ok {
		return out, nil
	}
	out, err := n.ctx.Output(n.topic)
	if err != nil {
		return nil, processor.WrapUserError(n.ctx, n.name, fmt.Errorf("topology: topic %q: %w", n.topic, err))
	}
	n.outputs[n.topic] = out
	return out, nil
}
