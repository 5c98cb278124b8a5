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
	stores   []string
	children []*graphNode
	parents  []*graphNode
	position string
	reset    processor.OffsetReset
	extract  func(r *record.Raw, partitionTime int64) int64
	make     func(ctx processor.TaskContext) (any, error)
}

// useStore connects the node to a store, once.
func (n *graphNode) useStore(name string) {
	if name != "" && !slices.Contains(n.stores, name) {
		n.stores = append(n.stores, name)
	}
}

// storeDef is a declared store.
type storeDef struct {
	spec     store.Spec
	position string
}

// sourceDef is what is known about a topic that is read.
type sourceDef struct {
	node  *graphNode
	types string // of key and value and their serdes: the same topic may be read twice only with the same
}
