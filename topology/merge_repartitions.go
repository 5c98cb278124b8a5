package topology

import "slices"

// shape is the graph as it is lowered: the declared one, but for what an optimisation changed. The declared graph stays
// as it is, since more may be declared and built later.
type shape struct {
	children map[*graphNode][]*graphNode // where they differ
	gone     map[*graphNode]bool
	topics   map[string]bool // that are gone
}

func (s *shape) childrenOf(n *graphNode) []*graphNode {
	if c, ok := s.children[n]; ok {
		return c
	}
	return n.children
}

// changesKeys reports whether repartition topics are merged behind an operator: behind each that gives new keys and
// before each that gives new values, as in Kafka Streams.
func changesKeys(operator string) bool {
	switch operator {
	case "SelectKey", "GroupBy", "Map", "FlatMap", "Process", "ToStreamBy", "Merge":
		return true
	}
	return false
}

// rekeying is a repartition topic that an operator needs behind a changed key.
type rekeying struct {
	guard, sink, source *graphNode
	// path are the filters between the change and the topic, from the topic upwards.
	path []*graphNode
}

// top is the child of the key change that leads to the topic.
func (r *rekeying) top() *graphNode {
	if len(r.path) == 0 {
		return r.guard
	}
	return r.path[len(r.path)-1]
}

// mergeRepartitions lets the repartition topics behind each change of keys be one.
func (b *Builder) mergeRepartitions() *shape {
	s := &shape{
		children: make(map[*graphNode][]*graphNode), gone: make(map[*graphNode]bool), topics: make(map[string]bool),
	}
	b.merged = make(map[*graphNode][]*graphNode)
	if !b.rules[MergeRepartitions] {
		return s
	}
	groups := make(map[*graphNode][]*rekeying)
	var changes []*graphNode
	for _, n := range b.nodes {
		// A topic that the user asked for stays: it may have partitions of its own.
		if n.guards == "" || n.operator == "Repartition" || b.sources[n.guards] == nil || len(n.children) != 1 {
			continue
		}
		r := &rekeying{guard: n, sink: n.children[0], source: b.sources[n.guards].node}
		above := n.parents[0]
		for (above.operator == "Filter" || above.operator == "FilterNot") && len(above.parents) == 1 {
			r.path = append(r.path, above)
			above = above.parents[0]
		}
		if !changesKeys(above.operator) {
			continue
		}
		if groups[above] == nil {
			changes = append(changes, above)
		}
		groups[above] = append(groups[above], r)
	}
	for _, change := range changes {
		if members := movable(groups[change]); len(members) > 1 {
			b.merge(s, change, members)
		}
	}
	return s
}

// movable leaves out topics behind a filter that somebody else reads as well: behind the topic the filter would not see
// records with null keys.
func movable(all []*rekeying) []*rekeying {
	var (
		leads func(n *graphNode) bool
		guard = make(map[*graphNode]bool)
		inner = make(map[*graphNode]bool)
	)
	for _, r := range all {
		guard[r.guard] = true
		for _, n := range r.path {
			inner[n] = true
		}
	}
	leads = func(n *graphNode) bool {
		return guard[n] || inner[n] && !slices.ContainsFunc(n.children, func(c *graphNode) bool { return !leads(c) })
	}
	var out []*rekeying
	for _, r := range all {
		if leads(r.top()) {
			out = append(out, r)
		}
	}
	return out
}

// merge puts the first topic directly behind the change of keys, and everything that was behind any of them behind it.
func (b *Builder) merge(s *shape, change *graphNode, members []*rekeying) {
	first := members[0]
	tops := make(map[*graphNode]bool)
	behind := make(map[*graphNode][]*graphNode) // by guard
	for _, r := range members {
		tops[r.top()] = true
		behind[r.guard] = s.childrenOf(r.source)
	}
	var children []*graphNode
	for _, c := range s.childrenOf(change) {
		switch {
		case !tops[c]:
			children = append(children, c)
		case c == first.top():
			children = append(children, first.guard)
		}
	}
	s.children[change] = children

	var below []*graphNode
	done := make(map[*graphNode]bool)
	for _, r := range members {
		switch top := r.top(); {
		case top == r.guard:
			below = append(below, behind[r.guard]...)
		case !done[top]:
			done[top] = true
			below = append(below, top)
		}
		for _, n := range r.path {
			if done[n] && n != r.top() {
				continue
			}
			done[n] = true
			var kept []*graphNode
			for _, c := range n.children {
				if direct, ok := behind[c]; ok {
					kept = append(kept, direct...)
				} else {
					kept = append(kept, c)
				}
			}
			s.children[n] = kept
		}
	}
	s.children[first.source] = below
	for _, r := range members[1:] {
		s.gone[r.guard], s.gone[r.sink], s.gone[r.source] = true, true, true
		s.topics[r.guard.guards] = true
		b.merged[first.guard] = append(b.merged[first.guard], r.guard)
	}
}

// withMerged returns the guards whose topics were merged into that of n, and n.
func (b *Builder) withMerged(n *graphNode) []*graphNode {
	return append([]*graphNode{n}, b.merged[n]...)
}
