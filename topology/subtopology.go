package topology

import (
	"slices"

	"github.com/tidemarkio/tidemark/processor"
)

// subtopologies divides a plan into its connected parts: nodes are connected by edges and by stores, not by topics.
// They are numbered in the order in which their first nodes were declared, so that an operator added at the end of a
// program does not renumber the tasks of what stands before it. A global store takes a number, as in Kafka Streams, but
// is no sub-topology; behind is how many nodes were declared before each.
func subtopologies(p *processor.Plan, behind []int) []*processor.Subtopology {
	index := make(map[string]int, len(p.Nodes))
	for i, n := range p.Nodes {
		index[n.Name] = i
	}
	sets := newDisjointSets(len(p.Nodes))
	firstUser := make(map[string]int)
	for i, n := range p.Nodes {
		for _, child := range n.Children {
			sets.union(i, index[child])
		}
		for _, s := range n.Stores {
			if j, ok := firstUser[s]; ok {
				sets.union(i, j)
			} else {
				firstUser[s] = i
			}
		}
	}
	var (
		all    []*processor.Subtopology
		byRoot = make(map[int]*processor.Subtopology)
		number int32
		global int // the next one
	)
	numberGlobals := func(declared int) {
		for ; global < len(behind) && behind[global] <= declared; global++ {
			p.Globals[global].ID = number
			number++
		}
	}
	for i, n := range p.Nodes {
		numberGlobals(i)
		root := sets.find(i)
		sub := byRoot[root]
		if sub == nil {
			sub = &processor.Subtopology{ID: number}
			number++
			byRoot[root] = sub
			all = append(all, sub)
		}
		sub.Nodes = append(sub.Nodes, n)
		switch n.Kind {
		case processor.SourceNode:
			sub.SourceTopics = appendNew(sub.SourceTopics, n.Topics)
		case processor.SinkNode:
			sub.SinkTopics = appendNew(sub.SinkTopics, n.Topics)
		case processor.ProcessorNode:
		}
	}
	numberGlobals(len(p.Nodes))
	for _, s := range p.Stores {
		if i, ok := firstUser[s.Name]; ok {
			sub := byRoot[sets.find(i)]
			sub.Stores = append(sub.Stores, s)
		}
	}
	return all
}

func appendNew(to, values []string) []string {
	for _, v := range values {
		if !slices.Contains(to, v) {
			to = append(to, v)
		}
	}
	return to
}

// disjointSets is union-find; the least member of a set represents it.
type disjointSets []int

func newDisjointSets(n int) disjointSets {
	s := make(disjointSets, n)
	for i := range s {
		s[i] = i
	}
	return s
}

func (s disjointSets) find(i int) int {
	for s[i] != i {
		s[i] = s[s[i]]
		i = s[i]
	}
	return i
}

func (s disjointSets) union(i, j int) {
	i, j = s.find(i), s.find(j)
	s[max(i, j)] = min(i, j)
}
