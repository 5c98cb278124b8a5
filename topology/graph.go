package topology

import (
	"slices"

	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/store"
)

// graphNode is a declared node: untyped but for the closure that makes it. Everything that a later declaration may
// still change (children, stores, whether a table sends old values) is read when the plan is lowered or a task is made.
type graphNode struct {
	name     string
	kind     processor.NodeKind
	topics   []string
	pattern  string // of a source that reads topics by a regular expression
	chooser  string // of a sink without topics: its function's name
	external string // of a sink that writes to another system: what it is
	twoPhase bool   // such a sink prepares transactions
	stores   []string
	children []*graphNode
	parents  []*graphNode
	operator string // that declared it
	position string
	reset    processor.OffsetReset
	extracts bool // a source with a timestamp extractor of its own
	make     func(ctx processor.TaskContext) (any, error)
	// bind, instead of make, returns it as of now: of a node that later declarations change. A plan that was built must
	// not change with them.
	bind func() func(ctx processor.TaskContext) (any, error)
	// keepsNullKeys says that records with a null key are of use to the node, as to a left join. They then enter the
	// repartition topics above it.
	keepsNullKeys bool
	// answersTo is, of the source of a foreign-key join's answers, the left table's node; nil of all others.
	answersTo *graphNode
	// guards is the repartition topic before which the node keeps null keys out, "" if it is not such a node.
	guards string
	// closes says when windows are final, of an aggregation with windows; nil of all others.
	closes *windowsClose
}

// windowsClose says when the windows of an aggregation are final: so many milliseconds after their ends, if that is
// known.
type windowsClose struct {
	after int64
	known bool
}

// useStore connects the node to a store, once.
func (n *graphNode) useStore(name string) {
	if name != "" && !slices.Contains(n.stores, name) {
		n.stores = append(n.stores, name)
	}
}

// anyBelow reports whether is holds for a node below n, also behind internal topics: a sink's readers are found by
// topic.
func (b *Builder) anyBelow(n *graphNode, is func(n *graphNode) bool) bool {
	seen := make(map[*graphNode]bool)
	var walk func(n *graphNode) bool
	walk = func(n *graphNode) bool {
		if seen[n] {
			return false
		}
		seen[n] = true
		below := slices.Clone(n.children)
		if n.kind == processor.SinkNode {
			for _, topic := range n.topics {
				if source, ok := b.sources[topic]; ok {
					below = append(below, source.node)
				}
			}
		}
		return slices.ContainsFunc(below, func(c *graphNode) bool { return is(c) || walk(c) })
	}
	return slices.ContainsFunc(b.withMerged(n), walk)
}

// repartitioning returns the sinks that write what a source reads, if it reads a repartition topic.
func (b *Builder) repartitioning(source *graphNode) (sinks []*graphNode) {
	for _, topic := range source.topics {
		if !slices.ContainsFunc(b.repartitions, func(r *processor.RepartitionTopic) bool { return r.Name == topic }) {
			continue
		}
		for _, n := range b.nodes {
			if n.kind == processor.SinkNode && slices.Contains(n.topics, topic) {
				sinks = append(sinks, n)
			}
		}
	}
	return sinks
}

// storeDef is a declared store.
type storeDef struct {
	spec     store.Spec
	operator string
	position string
	global   bool
	// fromSource is of a store with a SourceTopic, see processor.StoreSpec.
	fromSource func() func(records []record.Raw) []record.Raw
}

// globalDef is a declared global store.
type globalDef struct {
	source    *graphNode
	processor *graphNode
	store     *storeDef
	// behind is how many other nodes were declared before, for the numbering of sub-topologies.
	behind int
}

// sourceDef is what is known about a topic, or a pattern, that is read.
type sourceDef struct {
	node  *graphNode
	types string // of key and value and their serdes: the same topic may be read twice only with the same
	// global says that the topic fills a global store. It is then read by nothing else.
	global bool
}
