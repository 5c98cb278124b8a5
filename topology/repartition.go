package topology

import (
	"fmt"
	"regexp"

	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
)

// Repartition sends the stream through an internal topic, so that records with equal keys meet in one task. Grouping
// and joining do so by themselves where it is needed; this gives it a name and a number of partitions ([Named],
// [Partitions]). Records with a null key do not enter the topic.
func (s *KStream[K, V]) Repartition(opts ...RepartitionOption) *KStream[K, V] {
	var c repartitionConfig
	for _, o := range opts {
		o.applyRepartition(&c)
	}
	if c.partitions < 0 {
		s.b.fail("Repartition", "Partitions(%d): want a positive number", c.partitions)
	}
	keySerde, valueSerde := serdesOf(s.b, "Repartition", c.serdeConfig, s.keySerde, s.valueSerde)
	name := s.b.storeName(c.name, "KSTREAM-REPARTITION-")
	node := addRepartition("Repartition", s, name, c.partitions, keySerde, valueSerde)
	return &KStream[K, V]{b: s.b, node: node, keySerde: keySerde, valueSerde: valueSerde}
}

// repartitionForJoin returns the stream as a join reads it: behind a repartition topic if its key may have changed. The
// topic is named after the join or else after the node above, and the unnamed joins of a stream share one.
func repartitionForJoin[K, V any](operator string, s *KStream[K, V], joinName string, c serdeConfig) *KStream[K, V] {
	if !s.rekeyed {
		return s
	}
	keySerde, valueSerde := serdesOf(s.b, operator, c, s.keySerde, s.valueSerde)
	if joinName == "" && s.repartitioned != nil {
		repartitionNames(s.b) // used up all the same
	} else {
		name := joinName
		if name == "" {
			name = s.node.name
		}
		s.repartitioned = addRepartition(operator, s, name, 0, keySerde, valueSerde)
	}
	return &KStream[K, V]{b: s.b, node: s.repartitioned, keySerde: keySerde, valueSerde: valueSerde}
}

// generatedName matches the names for which the nodes around a repartition topic get generated names too.
var generatedName = regexp.MustCompile(`^KSTREAM.*-[0-9]{10}$`)

// addRepartition adds filter, sink, topic and source, and returns the source's node.
func addRepartition[K, V any](
	operator string, s *KStream[K, V], name string, partitions int32, keySerde serde.Serde[K], valueSerde serde.Serde[V],
) *graphNode {
	b, topic := s.b, name+"-repartition"
	needSerdes(b, operator, fmt.Sprintf("the repartition topic %q", topic), keySerde, valueSerde)
	// Numbers are used up even if the names are not, as in Kafka Streams.
	sink, filter, source := repartitionNames(b)
	if !generatedName.MatchString(name) {
		sink, filter, source = topic+"-sink", topic+"-filter", topic+"-source"
	}
	b.repartitions = append(b.repartitions, &processor.RepartitionTopic{
		Name: topic, Partitions: partitions, Position: callerPosition(),
	})
	above := &graphNode{name: filter, kind: processor.ProcessorNode, guards: topic}
	above.bind = func() func(ctx processor.TaskContext) (any, error) {
		keep := b.anyBelow(above, func(n *graphNode) bool { return n.keepsNullKeys })
		return func(ctx processor.TaskContext) (any, error) {
			return &nullKeyFilterNode[K, V]{userNode: userNode{ctx, filter}, keep: keep}, nil
		}
	}
	b.addNode(operator, above, s.node)
	b.addNode(operator, newSinkNode(sink, topic, nil, partitioners[K, V]{}, keySerde, valueSerde), above)
	// The source is no child of the sink: the records pass through the broker, and the sub-topology ends here.
	return addSource(b, operator, source, []string{topic}, keySerde, valueSerde, sourceConfig{})
}

// repartitionNames generates the names of the nodes around a repartition topic.
func repartitionNames(b *Builder) (sink, filter, source string) {
	return b.generate("KSTREAM-SINK-"), b.generate("KSTREAM-FILTER-"), b.generate("KSTREAM-SOURCE-")
}

// nullKeyFilterNode keeps records with a null key out of a repartition topic, unless somebody below can use them. Owned
// by the task goroutine.
type nullKeyFilterNode[K, V any] struct {
	processor.Outputs[K, V]
	userNode

	keep bool
}

// Receive implements processor.Receiver.
func (n *nullKeyFilterNode[K, V]) Receive(r record.Record[K, V]) error {
	if r.NullKey && !n.keep {
		n.ctx.Dropped(n.name, "null key before a repartition topic")
		return nil
	}
	return n.Forward(r)
}
