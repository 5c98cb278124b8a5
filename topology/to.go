package topology

import (
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"slices"

	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/store"
)

// To writes the stream to a topic, which must exist. The serdes are the stream's unless [WithSerdes] gives others.
// Without [WithPartitioner] a record goes to the partition of its key; one whose key has a window to that of the key in
// the window, so that all windows of a key stay together (Kafka Streams' WindowedStreamPartitioner).
// Records are written in the transaction that commits their inputs.
func (s *KStream[K, V]) To(topic string, opts ...SinkOption) {
	if topic == "" {
		s.b.fail("To", "a topic needs a name")
	}
	addSink(s, "To", topic, nil, opts)
}

// ToEach writes each record to the topic that choose names for it (Kafka Streams' to with a TopicNameExtractor). at is
// where the input record came from, with r's timestamp and headers; in a punctuator its topic is "". The topics must
// exist; one that does not is an error of user code. Null keys and values are given as zero values with the flags of
// [record.Record].
func (s *KStream[K, V]) ToEach(
	choose func(r record.Record[K, V], at processor.RecordMetadata) string, opts ...SinkOption,
) {
	s.b.needFunc("ToEach", choose == nil)
	addSink(s, "ToEach", "", choose, opts)
}

func addSink[K, V any](
	s *KStream[K, V], operator, topic string, choose func(record.Record[K, V], processor.RecordMetadata) string,
	opts []SinkOption,
) {
	var c sinkConfig
	for _, o := range opts {
		o.applySink(&c)
	}
	what := fmt.Sprintf("writing to %q", topic)
	if topic == "" {
		what = "writing to a topic"
	}
	keySerde, valueSerde := serdesOf(s.b, operator, c.serdeConfig, s.keySerde, s.valueSerde)
	needSerdes(s.b, operator, what, keySerde, valueSerde)
	partition := partitionersOf[K, V](s.b, operator, c.partitioner)
	if windows := serde.WindowBytes(keySerde); len(windows) > 0 {
		partition.windowBytes = windows[0]
	}
	node := newSinkNode(s.b.nodeName(c.name, "KSTREAM-SINK-"), topic, choose, partition, keySerde, valueSerde)
	s.b.addNode(operator, node, s.node)
}

// partitioners are the ways to choose partitions; without either the default partitioner does.
type partitioners[K, V any] struct {
	one  Partitioner[K, V]
	many Multicast[K, V]
	// windowBytes are at the end of keys and have no say in where they go.
	windowBytes int
}

func partitionersOf[K, V any](b *Builder, operator string, given any) (p partitioners[K, V]) {
	switch choose := given.(type) {
	case nil:
	case Partitioner[K, V]:
		b.needFunc(operator, choose == nil)
		p.one = choose
	case Multicast[K, V]:
		b.needFunc(operator, choose == nil)
		p.many = choose
	default:
		b.fail(operator, "WithPartitioner: %T is not for keys of type %s and values of type %s", given, typeName[K](),
			typeName[V]())
	}
	return p
}

// newSinkNode declares the node that writes to topic, or to what choose says.
func newSinkNode[K, V any](
	name, topic string, choose func(record.Record[K, V], processor.RecordMetadata) string, partition partitioners[K, V],
	keySerde serde.Serde[K], valueSerde serde.Serde[V],
) *graphNode {
	node := &graphNode{name: name, kind: processor.SinkNode}
	if topic != "" {
		node.topics = []string{topic}
	}
	if choose != nil {
		node.chooser = funcName(choose)
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

// funcName names a function of the user's, as in example.com/orders.byCountry.
func funcName(f any) string { return runtime.FuncForPC(reflect.ValueOf(f).Pointer()).Name() }

// sinkNode encodes and sends. Owned by the task goroutine.
type sinkNode[K, V any] struct {
	userNode

	topic     string
	out       processor.Output // of topic
	choose    func(record.Record[K, V], processor.RecordMetadata) string
	outputs   map[string]processor.Output // by what choose returned
	partition partitioners[K, V]
	one       [1]int32 // scratch: what partition.one returned

	keySerde   serde.Serde[K]
	valueSerde serde.Serde[V]
	// key and value are scratch. Invariant: never nil, since nil would be sent as null.
	key   []byte
	value []byte
}

// Receive implements processor.Receiver.
func (n *sinkNode[K, V]) Receive(r record.Record[K, V]) error {
	n.enter() // serdes are user code
	if r.Timestamp < 0 {
		return processor.WrapUserError(n.ctx, n.name,
			fmt.Errorf("topology: the record has the negative timestamp %d: a processor above forwards it", r.Timestamp))
	}
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
	switch {
	case n.partition.one != nil:
		n.one[0] = n.partition.one(n.topic, r, out.Partitions())
		return n.sendTo(out, n.one[:], key, value, r)
	case n.partition.many != nil:
		if to, chosen := n.partition.many(n.topic, r, out.Partitions()); chosen {
			return n.sendTo(out, to, key, value, r)
		}
	}
	if w := n.partition.windowBytes; w > 0 && len(key) >= w {
		p := processor.DefaultPartition(key[:len(key)-w], out.Partitions())
		return out.SendTo(p, key, value, r.Timestamp, r.Headers)
	}
	return out.Send(key, value, r.Timestamp, r.Headers)
}

// sendTo writes the record to each of the chosen partitions, once.
func (n *sinkNode[K, V]) sendTo(
	out processor.Output, to []int32, key, value []byte, r record.Record[K, V],
) error {
	for _, p := range to {
		if p < 0 || p >= out.Partitions() {
			return processor.WrapUserError(n.ctx, n.name,
				fmt.Errorf("topology: the partitioner chose partition %d of %d", p, out.Partitions()))
		}
	}
	if len(to) == 0 {
		n.ctx.Dropped(n.name, "the partitioner chose no partition")
	}
	for i, p := range to {
		if slices.Contains(to[:i], p) {
			continue
		}
		if err := out.SendTo(p, key, value, r.Timestamp, r.Headers); err != nil {
			return err
		}
	}
	return nil
}

// chosen resolves the topic that the user's function names.
func (n *sinkNode[K, V]) chosen(r record.Record[K, V]) (processor.Output, error) {
	at := *n.ctx.Current()
	at.Context = store.Context{Timestamp: r.Timestamp, Headers: r.Headers}
	n.topic = n.choose(r, at)
	if out, ok := n.outputs[n.topic]; ok {
		return out, nil
	}
	if n.topic == "" {
		return nil, processor.WrapUserError(n.ctx, n.name, errors.New("topology: the function chose a topic without a name"))
	}
	out, err := n.ctx.Output(n.topic)
	if err != nil {
		return nil, processor.WrapUserError(n.ctx, n.name, fmt.Errorf("topology: the chosen topic: %w", err))
	}
	n.outputs[n.topic] = out
	return out, nil
}
