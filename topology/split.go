package topology

import (
	"slices"
	"strconv"

	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/record"
)

// BranchedKStream is a stream that is being split (Kafka Streams' BranchedKStream). Branches are tried in the order of
// their declaration.
type BranchedKStream[K, V any] struct {
	stream   *KStream[K, V]
	node     *graphNode
	branches *branches[K, V]
	results  map[string]*KStream[K, V]
}

// branches is what the node of a split is made from. Later declarations change it; it is read when a plan is built.
type branches[K, V any] struct {
	predicates []func(K, V) bool
	// ended is where DefaultBranch or NoDefaultBranch was called, "" before.
	ended      string
	hasDefault bool
}

// Split begins to divide a stream (Kafka Streams' split): each record goes to the first branch whose predicate holds,
// else to the default branch, else nowhere. The names of its branches begin with the name of the split.
func (s *KStream[K, V]) Split(opts ...NodeOption) *BranchedKStream[K, V] {
	all := &branches[K, V]{}
	var c nodeConfig
	for _, o := range opts {
		o.applyNode(&c)
	}
	name := s.b.nodeName(c.name, "KSTREAM-BRANCH-")
	node := s.b.addNode("Split", &graphNode{
		name: name, kind: processor.ProcessorNode,
		bind: func() func(ctx processor.TaskContext) (any, error) {
			predicates, hasDefault := slices.Clone(all.predicates), all.hasDefault
			return func(ctx processor.TaskContext) (any, error) {
				return &splitNode[K, V]{
					userNode: userNode{ctx, name}, predicates: predicates, hasDefault: hasDefault,
				}, nil
			}
		},
	}, s.node)
	return &BranchedKStream[K, V]{stream: s, node: node, branches: all, results: make(map[string]*KStream[K, V])}
}

// Branch adds a branch for the records for which predicate is true and that no earlier branch took. Null keys and
// values are passed as zero values. Its name is the split's followed by that of [Named], or else by its position among
// the branches, from 1.
func (s *BranchedKStream[K, V]) Branch(
	predicate func(key K, value V) bool, opts ...BranchOption,
) *BranchedKStream[K, V] {
	const operator = "Branch"
	s.stream.b.needFunc(operator, predicate == nil)
	if s.open(operator) {
		s.branches.predicates = append(s.branches.predicates, predicate)
		s.add(operator, len(s.branches.predicates), opts)
	}
	return s
}

// DefaultBranch adds the branch for the records that no other took; its name is the split's followed by that of
// [Named], or else by 0. It returns all branches by their whole names, but for those with a [WithConsumer], or whose
// [WithFunction] returned nil. Under any other name there is no stream to go on with, but nil.
func (s *BranchedKStream[K, V]) DefaultBranch(opts ...BranchOption) map[string]*KStream[K, V] {
	const operator = "DefaultBranch"
	if s.open(operator) {
		s.branches.ended, s.branches.hasDefault = callerPosition(), true
		s.add(operator, 0, opts)
	}
	return s.results
}

// NoDefaultBranch drops the records that no branch took, and returns the branches as DefaultBranch does.
func (s *BranchedKStream[K, V]) NoDefaultBranch() map[string]*KStream[K, V] {
	if s.open("NoDefaultBranch") {
		s.branches.ended = callerPosition()
	}
	return s.results
}

// open reports, as a mistake, that the split has ended.
func (s *BranchedKStream[K, V]) open(operator string) bool {
	if s.branches.ended != "" {
		s.stream.b.fail(operator, "the split was ended at %s: add branches before that", s.branches.ended)
	}
	return s.branches.ended == ""
}

// add declares the node of a branch, and hands its stream on.
func (s *BranchedKStream[K, V]) add(operator string, position int, opts []BranchOption) {
	var c branchConfig
	for _, o := range opts {
		o.applyBranch(&c)
	}
	if c.name == "" {
		c.name = strconv.Itoa(position)
	}
	b, name := s.stream.b, s.node.name+c.name
	b.generate("KSTREAM-BRANCH-") // a number is used up, as in Kafka Streams
	node := b.addNode(operator, &graphNode{
		name: name, kind: processor.ProcessorNode,
		make: func(processor.TaskContext) (any, error) { return &passNode[K, V]{}, nil },
	}, s.node)
	out := &KStream[K, V]{
		b: b, node: node, keySerde: s.stream.keySerde, valueSerde: s.stream.valueSerde, rekeyed: s.stream.rekeyed,
	}
	switch chain := c.chain.(type) {
	case nil:
	case BranchFunction[K, V]:
		b.needFunc(operator, chain == nil)
		if chain != nil {
			out = chain(out)
		}
	case BranchConsumer[K, V]:
		b.needFunc(operator, chain == nil)
		if chain != nil {
			chain(out)
		}
		out = nil
	default:
		b.fail(operator, "%T is not for a stream of keys of type %s and values of type %s", chain,
			typeName[K](), typeName[V]())
	}
	if out != nil {
		s.results[name] = out
	}
}

// splitNode hands a record to one of its children, which stand in the order of the branches. Owned by the task
// goroutine.
type splitNode[K, V any] struct {
	userNode

	predicates []func(K, V) bool
	hasDefault bool // the last child takes what no predicate does
	branches   []processor.Outputs[K, V]
}

var _ processor.Attacher = (*splitNode[string, string])(nil)

// Attach implements processor.Attacher.
func (n *splitNode[K, V]) Attach(name string, child any) error {
	var branch processor.Outputs[K, V]
	if err := branch.Attach(name, child); err != nil {
		return err
	}
	n.branches = append(n.branches, branch)
	return nil
}

// Receive implements processor.Receiver.
func (n *splitNode[K, V]) Receive(r record.Record[K, V]) error {
	for i, holds := range n.predicates {
		n.enter()
		if holds(r.Key, r.Value) {
			return n.branches[i].Forward(r)
		}
	}
	if n.hasDefault {
		return n.branches[len(n.predicates)].Forward(r)
	}
	return nil
}
