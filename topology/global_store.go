package topology

import (
	"fmt"
	"slices"

	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/store"
)

// AddGlobalStore adds a store that every instance keeps whole, and that a processor of the user's fills from all
// partitions of a topic (Kafka Streams' addGlobalStore). In the processor the store is what spec makes, as a
// *store.KeyValue[K, V]; every other processor reads it as a *store.Global[K, V], by [processor.StateStore] and without
// being connected to it. For one row per key of the topic see [GlobalTable].
//
// The store is filled up to the end of the topic before any task runs, and follows it from then on. newProcessor is
// called once per instance. The processor sees committed records only, all of them again if the local state is lost,
// and perhaps the last ones again after a crash: what it stores must follow from the records alone, and be the same if
// it sees one twice. It forwards nothing and has no punctuators.
//
// The topic is the store's changelog; spec.LoggingDisabled and spec.CachingEnabled say nothing here. Options are
// [Named] and [WithTimestampExtractor]; the topic is always read from its beginning.
func AddGlobalStore[K, V any](
	b *Builder, spec store.Spec, topic string, keySerde serde.Serde[K], valueSerde serde.Serde[V],
	newProcessor func() processor.Processor[K, V, processor.Void, processor.Void], opts ...SourceOption,
) {
	const operator = "AddGlobalStore"
	var c sourceConfig
	for _, o := range opts {
		o.applySource(&c)
	}
	b.needFunc(operator, newProcessor == nil)
	addGlobal(b, operator, spec, topic, keySerde, valueSerde, c,
		func(ctx processor.TaskContext, name string) (any, error) {
			ctx.Enter(name)
			return processor.NewNode(ctx, name, newProcessor()), nil
		})
}

// addGlobal declares a global store with its source and the node that fills it. They stand beside the other nodes:
// nothing can be attached to them, and no task runs them.
func addGlobal[K, V any](
	b *Builder, operator string, spec store.Spec, topic string, keySerde serde.Serde[K], valueSerde serde.Serde[V],
	c sourceConfig, newNode func(ctx processor.TaskContext, name string) (any, error),
) {
	sourceName := ""
	if c.name != "" {
		sourceName = c.name + "-source"
	}
	source := newSource(b, operator, b.nodeName(sourceName, "KSTREAM-SOURCE-"), []string{topic}, keySerde, valueSerde, c)
	name := b.nodeName(c.name, "KTABLE-SOURCE-")
	node := &graphNode{
		name: name, kind: processor.ProcessorNode, stores: []string{spec.Name}, parents: []*graphNode{source},
		make: func(ctx processor.TaskContext) (any, error) { return newNode(ctx, name) },
	}
	source.children = []*graphNode{node}
	b.nameNode(operator, source)
	b.nameNode(operator, node)
	if !checkGlobal(b, operator, spec, topic, keySerde, valueSerde, c) {
		return
	}
	spec.LoggingDisabled, spec.CachingEnabled, spec.ChangelogConfig = true, false, nil
	def := b.newStore(operator, spec)
	if def == nil {
		return
	}
	def.global = true
	b.sources[topic] = &sourceDef{node: source, global: true}
	b.globals = append(b.globals, &globalDef{source: source, processor: node, store: def, behind: len(b.nodes)})
}

// checkGlobal reports the mistakes in the declaration of a global store.
func checkGlobal[K, V any](
	b *Builder, operator string, spec store.Spec, topic string, keySerde serde.Serde[K], valueSerde serde.Serde[V],
	c sourceConfig,
) bool {
	before := len(b.errs)
	needSerdes(b, operator, fmt.Sprintf("reading %q", topic), keySerde, valueSerde)
	if topic == "" {
		b.fail(operator, "a topic needs a name")
	}
	if first, ok := b.sources[topic]; ok {
		b.fail(operator, "topic %q is already read at %s: a global store needs a topic of its own", topic,
			first.node.position)
	}
	if !slices.Contains([]processor.OffsetReset{processor.ResetDefault, processor.ResetEarliest}, c.reset) {
		b.fail(operator, "WithOffsetReset: a global store is always filled from the beginning of its topic")
	}
	if spec.New != nil && spec.NewGlobal == nil {
		b.fail(operator, "store %q is of a kind that only one task can read: use store.KeyValueSpec", spec.Name)
	}
	if spec.TTL != (store.TTL{}) {
		b.fail(operator, "store %q: TTL: a global store is what its topic is: let its producers delete", spec.Name)
	}
	if len(spec.ChangelogConfig) > 0 {
		b.fail(operator, "store %q has no changelog to configure: topic %q is it", spec.Name, topic)
	}
	return len(b.errs) == before
}
