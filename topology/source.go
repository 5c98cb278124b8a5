package topology

import (
	"fmt"
	"slices"

	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
)

// Stream reads a topic as a stream (Kafka Streams' StreamsBuilder.stream). Both serdes are needed. A topic may be read
// more than once, with the same types and options: it is then decoded once. For several topics see [Streams]
// and [StreamPattern].
func Stream[K, V any](
	b *Builder, topic string, keySerde serde.Serde[K], valueSerde serde.Serde[V], opts ...SourceOption,
) *KStream[K, V] {
	return stream(b, "Stream", []string{topic}, keySerde, valueSerde, opts)
}

// Streams reads several topics of the same types as one stream. There is no order between records of different topics
// beyond their timestamps.
func Streams[K, V any](
	b *Builder, topics []string, keySerde serde.Serde[K], valueSerde serde.Serde[V], opts ...SourceOption,
) *KStream[K, V] {
	return stream(b, "Streams", slices.Clone(topics), keySerde, valueSerde, opts)
}

func stream[K, V any](
	b *Builder, operator string, topics []string, keySerde serde.Serde[K], valueSerde serde.Serde[V], opts []SourceOption,
) *KStream[K, V] {
	var c sourceConfig
	for _, o := range opts {
		o.applySource(&c)
	}
	node := addSource(b, operator, b.nodeName(c.name, "KSTREAM-SOURCE-"), topics, keySerde, valueSerde, c)
	return &KStream[K, V]{b: b, node: node, keySerde: keySerde, valueSerde: valueSerde}
}

// addSource adds the source node of topics, or returns the one that already reads them.
func addSource[K, V any](
	b *Builder, operator, name string, topics []string, keySerde serde.Serde[K], valueSerde serde.Serde[V], c sourceConfig,
) *graphNode {
	if len(topics) == 0 || slices.Contains(topics, "") {
		b.fail(operator, "a topic needs a name")
	}
	needSerdes(b, operator, fmt.Sprintf("reading %q", topics), keySerde, valueSerde)
	types := fmt.Sprintf("%s and %s (serdes %T and %T)", typeName[K](), typeName[V](), keySerde, valueSerde)
	for i, topic := range topics {
		if slices.Contains(topics[:i], topic) {
			b.fail(operator, "topic %q is listed twice", topic)
			continue
		}
		first, ok := b.sources[topic]
		if !ok {
			continue
		}
		switch {
		case first.global:
			b.fail(operator, "topic %q already fills a global store, declared at %s: a topic is read by all instances "+
				"or by tasks, not by both", topic, first.node.position)
		case !slices.Equal(first.node.topics, topics):
			b.fail(operator, "topic %q is already read, together with others, at %s: read %q once and use the stream twice",
				topic, first.node.position, topics)
		case first.types != types:
			b.fail(operator, "topic %q is already read at %s as %s, here as %s", topic, first.node.position, first.types, types)
		case first.node.reset != c.reset || first.node.extracts != c.extracts():
			b.fail(operator, "topic %q is already read at %s with other options", topic, first.node.position)
		default:
			return first.node
		}
	}
	node := b.addNode(operator, newSource(b, operator, name, topics, keySerde, valueSerde, c))
	for _, topic := range topics {
		if _, ok := b.sources[topic]; !ok {
			b.sources[topic] = &sourceDef{node: node, types: types}
		}
	}
	return node
}

// newSource makes the source node of topics.
func newSource[K, V any](
	b *Builder, operator, name string, topics []string, keySerde serde.Serde[K], valueSerde serde.Serde[V],
	c sourceConfig,
) *graphNode {
	typed := typedExtractor[K, V](b, operator, c)
	return &graphNode{
		name: name, kind: processor.SourceNode, topics: topics, reset: c.reset, extracts: c.extracts(),
		make: func(ctx processor.TaskContext) (any, error) {
			n := &sourceNode[K, V]{
				userNode: userNode{ctx, name}, key: keySerde, value: valueSerde,
				keyNull: record.NullnessOf[K](), valueNull: record.NullnessOf[V](),
			}
			switch {
			case typed != nil:
				return &typedTimedSource[K, V]{sourceNode: n, extract: typed}, nil
			case c.extract != nil:
				return &rawTimedSource[K, V]{sourceNode: n, extract: c.extract}, nil
			}
			return n, nil
		},
	}
}

// sourceNode decodes records. Owned by the task goroutine.
type sourceNode[K, V any] struct {
	processor.Outputs[K, V]
	userNode

	key       serde.Serde[K]
	value     serde.Serde[V]
	keyNull   record.Nullness[K]
	valueNull record.Nullness[V]
}

// ReceiveRaw implements processor.Source.
func (n *sourceNode[K, V]) ReceiveRaw(raw *record.Raw) error {
	r, err := n.decode(raw)
	if err != nil {
		return err
	}
	return n.Forward(r)
}

func (n *sourceNode[K, V]) decode(raw *record.Raw) (r record.Record[K, V], err error) {
	r.Timestamp, r.Headers = raw.Timestamp, raw.Headers
	r.NullKey, r.NullValue = raw.Key == nil, raw.Value == nil
	n.enter() // serdes are user code
	if raw.Key != nil {
		if r.Key, err = n.key.Decode(raw.Key); err != nil {
			return r, &processor.DeserializationError{Node: n.name, Part: "key", Err: err}
		}
		r.NullKey = n.keyNull.IsNull(r.Key, false)
	}
	if raw.Value != nil {
		if r.Value, err = n.value.Decode(raw.Value); err != nil {
			return r, &processor.DeserializationError{Node: n.name, Part: "value", Err: err}
		}
		r.NullValue = n.valueNull.IsNull(r.Value, false)
	}
	return r, nil
}
