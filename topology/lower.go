package topology

import (
	"errors"
	"fmt"
	"slices"

	"github.com/tidemarkio/tidemark/processor"
)

// Build lowers what was declared to a plan. Its error joins all mistakes, each a *[BuildError], in order of
// declaration. The builder may be used further; a later Build gives a new plan.
func (b *Builder) Build() (*processor.Plan, error) {
	errs := make([]error, 0, len(b.errs))
	for _, e := range b.errs {
		errs = append(errs, e)
	}
	errs = append(errs, b.check()...)
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return b.lower(), nil
}

// MustBuild is Build for examples and tests: it panics on a mistake.
func (b *Builder) MustBuild() *processor.Plan {
	p, err := b.Build()
	if err != nil {
		panic(err)
	}
	return p
}

// check finds the mistakes that show only when everything is declared.
func (b *Builder) check() []error {
	var errs []error
	if len(b.nodes) == 0 {
		what := "nothing was declared: begin with Stream or Table"
		if len(b.globals) > 0 {
			what = "only global stores were declared, and nothing that reads them: add a Stream or a Table"
		}
		errs = append(errs, &BuildError{callerPosition(), "Build", what})
	}
	used := make(map[string]bool)
	for _, n := range b.nodes {
		for _, name := range n.stores {
			used[name] = true
			what := ""
			switch def := b.storeByName[name]; {
			case def == nil:
				what = fmt.Sprintf("there is no store %q: declare it with AddStore, or As on a table", name)
			case def.global:
				what = fmt.Sprintf("the store %q is global: every processor can read it without being connected to it", name)
			}
			if what != "" {
				errs = append(errs, &BuildError{n.position, "WithStores", what})
			}
		}
	}
	for _, s := range b.stores {
		if !used[s.spec.Name] {
			errs = append(errs, &BuildError{
				s.position, "AddStore", fmt.Sprintf("no processor uses the store %q: connect it with WithStores", s.spec.Name),
			})
		}
	}
	return append(errs, b.checkPatterns()...)
}

// internal reports whether a source reads a repartition topic.
func (b *Builder) internal(n *graphNode) bool {
	return slices.ContainsFunc(b.repartitions, func(r *processor.RepartitionTopic) bool {
		return slices.Contains(n.topics, r.Name)
	})
}

// lower makes the plan of a topology without mistakes.
func (b *Builder) lower() *processor.Plan {
	p, shape := &processor.Plan{}, b.mergeRepartitions()
	for _, r := range b.repartitions {
		if topic := *r; !shape.topics[r.Name] {
			p.Repartitions = append(p.Repartitions, &topic)
		}
	}
	// In the order of their users, so that a flush of the caches, in this order, reaches each store after what feeds it:
	// a table may have got its store only by what was declared below it.
	added := make(map[string]bool)
	for _, n := range b.nodes {
		for _, name := range n.stores {
			if s := b.storeByName[name]; !added[name] {
				added[name] = true
				spec := &processor.StoreSpec{Spec: s.spec, Position: s.position, FromSource: s.fromSource}
				spec.KeyWindows = b.storeWindows(name, spec.KeyWindows)
				p.Stores = append(p.Stores, spec)
			}
		}
	}
	for _, n := range b.nodes {
		if !shape.gone[n] {
			lowered := n.lower(shape.childrenOf(n))
			lowered.Internal = n.kind == processor.SourceNode && b.internal(n)
			p.Nodes = append(p.Nodes, lowered)
		}
	}
	behind := make([]int, len(b.globals))
	for i, g := range b.globals {
		behind[i] = g.behind
		p.Globals = append(p.Globals, &processor.GlobalStore{
			Source: g.source.lower(g.source.children), Processor: g.processor.lower(nil),
			Store: &processor.StoreSpec{Spec: g.store.spec, Position: g.store.position},
		})
	}
	for _, d := range b.foreignKeys {
		p.ForeignKeyJoins = append(p.ForeignKeyJoins, d.lower(b))
	}
	p.Subtopologies = subtopologies(p, behind)
	p.Unnamed = b.unnamed(p)
	return p
}

// lower makes the node of a plan.
func (n *graphNode) lower(below []*graphNode) *processor.Node {
	var children []string
	for _, c := range below {
		children = append(children, c.name)
	}
	newNode := n.make
	if n.bind != nil {
		newNode = n.bind()
	}
	return &processor.Node{
		Name: n.name, Kind: n.kind, Operator: n.operator, Topics: slices.Clone(n.topics), Pattern: n.pattern,
		Chooser: n.chooser, External: n.external, TwoPhase: n.twoPhase, Stores: slices.Clone(n.stores), Children: children,
		New: newNode, Position: n.position, OffsetReset: n.reset,
	}
}
