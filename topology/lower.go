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
		errs = append(errs, &BuildError{callerPosition(), "Build", "nothing was declared: begin with Stream or Table"})
	}
	used := make(map[string]bool)
	for _, n := range b.nodes {
		for _, name := range n.stores {
			used[name] = true
			if b.storeByName[name] == nil {
				errs = append(errs, &BuildError{
					n.position, "WithStores", fmt.Sprintf("there is no store %q: declare it with AddStore, or As on a table", name),
				})
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
	return errs
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
				p.Stores = append(p.Stores, &processor.StoreSpec{Spec: s.spec, Position: s.position, FromSource: s.fromSource})
			}
		}
	}
	for _, n := range b.nodes {
		if shape.gone[n] {
			continue
		}
		var children []string
		for _, c := range shape.childrenOf(n) {
			children = append(children, c.name)
		}
		newNode := n.make
		if n.bind != nil {
			newNode = n.bind()
		}
		p.Nodes = append(p.Nodes, &processor.Node{
			Name: n.name, Kind: n.kind, Operator: n.operator, Topics: slices.Clone(n.topics), Chooser: n.chooser,
			Stores: slices.Clone(n.stores), Children: children,
			New: newNode, Position: n.position, OffsetReset: n.reset,
		})
	}
	p.Subtopologies = subtopologies(p)
	p.Unnamed = b.unnamed(p)
	return p
}
