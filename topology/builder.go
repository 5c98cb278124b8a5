package topology

import (
	"fmt"
	"sync"

	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/store"
)

// Builder collects a topology (Kafka Streams' StreamsBuilder). Make it with [NewBuilder]. It belongs to one goroutine.
type Builder struct {
	nodes        []*graphNode // in order of declaration
	byName       map[string]*graphNode
	stores       []*storeDef
	storeByName  map[string]*storeDef
	repartitions []*processor.RepartitionTopic
	sources      map[string]*sourceDef // by topic
	patterns     map[string]*sourceDef // by their text
	globals      []*globalDef
	foreignKeys  []*foreignKeyDef
	errs         []*BuildError
	// printing is held while a line is printed: tasks that run side by side may print to the same writer.
	printing sync.Mutex
	// index numbers generated names. Invariant: it advances exactly as Kafka Streams' does, so that generated names of
	// stores and internal topics are the same.
	index int
	// generated are the names that generate gave.
	generated map[string]bool
	// rules are the optimisations that are on; merged is what they did to repartition topics, while a plan is lowered.
	rules  map[Optimization]bool
	merged map[*graphNode][]*graphNode
}

// NewBuilder returns an empty builder.
func NewBuilder(opts ...BuilderOption) *Builder {
	b := &Builder{
		byName:      make(map[string]*graphNode),
		storeByName: make(map[string]*storeDef),
		sources:     make(map[string]*sourceDef),
		patterns:    make(map[string]*sourceDef),
		generated:   make(map[string]bool),
		rules:       make(map[Optimization]bool),
	}
	for _, o := range opts {
		o.applyBuilder(b)
	}
	return b
}

// AddStore adds a store for processors, which connect to it with [WithStores] (Kafka Streams' addStateStore).
func (b *Builder) AddStore(spec store.Spec) {
	b.addStore("AddStore", spec)
}

func (b *Builder) addStore(operator string, spec store.Spec) {
	if def := b.newStore(operator, spec); def != nil {
		b.stores = append(b.stores, def)
	}
}

// newStore gives a store its name in the topology; nil if it has none or if it is taken.
func (b *Builder) newStore(operator string, spec store.Spec) *storeDef {
	switch first, ok := b.storeByName[spec.Name]; {
	case spec.Name == "":
		b.fail(operator, "a store needs a name")
		return nil
	case ok:
		b.fail(operator, "store %q was already declared at %s: give each store its own name", spec.Name, first.position)
		return nil
	}
	if spec.TTL != (store.TTL{}) && spec.Type == store.TypeKeyValue {
		spec.Type = store.TypeTTLKeyValue
	}
	def := &storeDef{spec: spec, operator: operator, position: callerPosition()}
	b.storeByName[spec.Name] = def
	return def
}

// addNode adds a node below its parents. A name that is taken is a mistake; the node is then added all the same, so
// that what follows can be declared.
func (b *Builder) addNode(operator string, n *graphNode, parents ...*graphNode) *graphNode {
	b.nameNode(operator, n)
	b.nodes = append(b.nodes, n)
	for _, p := range parents {
		p.children = append(p.children, n)
		n.parents = append(n.parents, p)
	}
	return n
}

// nameNode gives a node its place and its name in the topology.
func (b *Builder) nameNode(operator string, n *graphNode) {
	n.position, n.operator = callerPosition(), operator
	if first, ok := b.byName[n.name]; ok {
		b.fail(operator, "the name %q is already taken by the node declared at %s", n.name, first.position)
	} else {
		b.byName[n.name] = n
	}
}

// nodeName returns the given name of a node, or else a generated one. The number is used up in both cases, as in Kafka
// Streams: naming a node does not rename those behind it.
func (b *Builder) nodeName(name, prefix string) string {
	generated := b.generate(prefix)
	if name != "" {
		return name
	}
	return generated
}

// suffixedName returns a name made of the operator's, for one of its several nodes, stores or topics, or else a
// generated one. The number is used up in both cases.
func (b *Builder) suffixedName(name, suffix, prefix string) string {
	generated := b.generate(prefix)
	if name != "" {
		return name + suffix
	}
	return generated
}

// storeName returns the given name of a store (or of an internal topic), or else a generated one. Kafka Streams uses no
// number up for a name that is given.
func (b *Builder) storeName(name, prefix string) string {
	if name != "" {
		return name
	}
	return b.generate(prefix)
}

// generate returns Kafka Streams' next generated name: the prefix and ten digits.
func (b *Builder) generate(prefix string) string {
	name := fmt.Sprintf("%s%010d", prefix, b.index)
	b.index++
	b.generated[name] = true
	return name
}

// fail notes a mistake of the caller.
func (b *Builder) fail(operator, format string, args ...any) {
	b.errs = append(b.errs, &BuildError{
		Position: callerPosition(), Operator: operator, Problem: fmt.Sprintf(format, args...),
	})
}

// same reports, as a mistake, that two inputs of an operator were made by different builders.
func (b *Builder) same(operator string, other *Builder) bool {
	if b != other {
		b.fail(operator, "the two inputs belong to different builders")
		return false
	}
	return true
}

// needFunc reports a nil function as a mistake.
func (b *Builder) needFunc(operator string, isNil bool) {
	if isNil {
		b.fail(operator, "the function is nil")
	}
}
