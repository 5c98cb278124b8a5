package assign

// Costs of the flow, lexicographic: first as few tasks as possible move, then those under way get where they are bound,
// then of a task that runs and one that could start in its place the first stays, then state is used, the nearest
// first. Each exceeds what all edges of a path can cost that are below it, be there 2^14 nodes on it.
const (
	costMove  = 1 << 44
	costUnder = 1 << 28
	costStay  = 1 << 13
)

// worth is what state of this standing counts for in the flow: a good deal more than the next.
func (s standing) worth() int64 { return 1 << (2 * s) }

// shares is how many tasks of a sub-topology each member gets, and what else the flow has decided.
type shares struct {
	counts []int
	stays  []int       // how many of those that a member runs stay, but for those in fixed
	fixed  map[int]int // where a task goes that is under way, or that nobody runs but somebody could start at once
}

// network is the flow from the tasks to the members.
//
//	run at i ────────────┬──────── stay ─────────┐
//	                     ▼                       ▼       ┌──► share rounded down ──► sink
//	all others ──► pool of the ──────────► cell: sub-   ─┤
//	               sub-topology            topology at i └──► one more ──► member i ──► share rounded down ──► sink
//	                     ▲                       ▲                                 └──► one more ────────────► sink
//	under way, or ───────┴── go where they ──────┘
//	could start at once      shall
//
// Everybody gets the fair share n·w/W of each sub-topology, rounded down or up, and of all tasks. An integral solution
// always exists since the fractions themselves are one. A greedy choice per sub-topology was rejected: it either misses
// the total or moves tasks back and forth. What a member runs and what fits its share rounded down stays in any case,
// and is left out, unless a task under way could start in its place.
type network struct {
	*graph
	c            *cluster
	source, sink int
	bound        []int  // see underWay
	apart        []bool // the tasks that have nodes of their own
	subs         []cells
}

// cells are the nodes and edges of a sub-topology, by member.
type cells struct {
	span
	pool    int
	nodes   []int
	floors  []int  // the shares, rounded down
	running []int  // but for those under way
	kept    []int  // those of running that are left out
	wanted  []bool // somebody hands a task over to the member, and it can start it at once
	stays   []int  // the edge of those that stay besides kept; -1: none
	more    []int  // the edge of one more than the share rounded down; -1: none
	choices []choice
}

// choice is an edge that leads a task to a member.
type choice struct{ task, member, edge int }

// balance decides how many tasks of each sub-topology each member gets.
func (c *cluster) balance() []shares {
	n := network{
		c: c, graph: newGraph(len(c.members) + 3), bound: c.underWay(), apart: make([]bool, len(c.tasks)),
	}
	n.source, n.sink = len(c.members), len(c.members)+1
	more := len(c.members) + 2
	floors := make([]int64, len(c.members)) // what a member has got over all sub-topologies so far
	for _, sub := range c.subs {
		f := n.newCells(sub)
		n.connect(&f)
		for i, floor := range f.floors {
			floors[i] += int64(floor)
		}
		n.subs = append(n.subs, f)
	}
	left := int64(len(c.tasks))
	for i := range c.members {
		share := int64(len(c.tasks)) * c.members[i].weight()
		n.edge(i, n.sink, share/c.weights-floors[i], 0)
		left -= share / c.weights
		if share%c.weights != 0 {
			n.edge(i, more, 1, 0)
		}
	}
	// No more than this: so a maximum flow fills every share that is rounded down.
	n.edge(more, n.sink, left, 0)
	n.run(n.source, n.sink)
	return n.shares()
}

// newCells adds the nodes of a sub-topology, and of its tasks those that have edges of their own.
func (n *network) newCells(sub span) cells {
	c, members := n.c, len(n.c.members)
	f := cells{
		span: sub, pool: n.node(), nodes: make([]int, members), floors: make([]int, members), running: make([]int, members),
		kept: make([]int, members), wanted: make([]bool, members), stays: make([]int, members), more: make([]int, members),
	}
	for i := range f.nodes {
		f.nodes[i], f.floors[i] = n.node(), int(int64(sub.len())*c.members[i].weight()/c.weights)
	}
	var idle int64
	for t := sub.from; t < sub.to; t++ {
		switch i := c.owner[t]; {
		case n.bound[t] != i || i < 0 && c.soonAt(t, nil):
			n.choose(&f, t)
		case i >= 0:
			f.running[i]++
		default:
			idle++
		}
	}
	n.edge(n.source, f.pool, idle, 0)
	return f
}

// choose adds a task that is under way, or that nobody runs and that could start at once somewhere.
func (n *network) choose(f *cells, t int) {
	n.apart[t] = true
	from := n.node()
	n.edge(n.source, from, 1, 0)
	n.edge(from, f.pool, 1, 0)
	owner := n.c.owner[t]
	if owner >= 0 {
		e := n.edge(from, f.nodes[owner], 1, -costMove-costStay)
		f.choices = append(f.choices, choice{t, owner, e})
	}
	for k := range n.c.holders[t] {
		h := &n.c.holders[t][k]
		var gain int64
		if h.member == n.bound[t] {
			gain += costUnder
		}
		if owner < 0 && n.c.soonAt(t, h) {
			gain += costMove
		}
		if gain > costMove {
			f.wanted[h.member] = true
		}
		if gain > 0 {
			e := n.edge(from, f.nodes[h.member], 1, -gain-h.standing.worth())
			f.choices = append(f.choices, choice{t, h.member, e})
		}
	}
}

// connect adds the edges between the nodes of a sub-topology, the members and the sink.
func (n *network) connect(f *cells) {
	for i, floor := range f.floors {
		if !f.wanted[i] {
			f.kept[i] = min(f.running[i], floor)
		}
	}
	near, elsewhere := n.near(f)
	for i, floor := range f.floors {
		f.stays[i], f.more[i] = -1, -1
		n.edge(f.nodes[i], n.sink, int64(floor-f.kept[i]), 0)
		if int64(f.len())*n.c.members[i].weight()%n.c.weights != 0 {
			f.more[i] = n.edge(f.nodes[i], i, 1, 0)
		}
		n.edge(f.pool, f.nodes[i], int64(f.len()), 0)
		for at := stale; at < standings; at++ {
			if near[i][at] > 0 {
				n.edge(f.pool, f.nodes[i], int64(near[i][at]), -at.worth())
			}
		}
		if beyond := int64(f.running[i] - f.kept[i]); beyond > 0 {
			from := n.node()
			n.edge(n.source, from, beyond, 0)
			f.stays[i] = n.edge(from, f.nodes[i], beyond, -costMove-costStay)
			n.edge(from, f.pool, beyond, -elsewhere[i].worth()) // rather from where others are near
		}
	}
}

// near counts for each member the tasks that it could take over from the pool, by its standing. elsewhere is the
// nearest that others are to the tasks that a member may have to give up.
func (n *network) near(f *cells) (near [][standings]int, elsewhere []standing) {
	near, elsewhere = make([][standings]int, len(f.nodes)), make([]standing, len(f.nodes))
	for t := f.from; t < f.to; t++ {
		i := n.c.owner[t]
		if n.apart[t] || i >= 0 && f.running[i] == f.kept[i] {
			continue
		}
		for _, h := range n.c.holders[t] {
			near[h.member][h.standing]++
			if i >= 0 {
				elsewhere[i] = max(elsewhere[i], h.standing)
			}
		}
	}
	return near, elsewhere
}

// shares reads what has flowed.
func (n *network) shares() []shares {
	all := make([]shares, len(n.subs))
	for s := range n.subs {
		f := &n.subs[s]
		stays, fixed := make([]int, len(f.nodes)), make(map[int]int)
		for i := range f.floors {
			stays[i] = f.kept[i]
			if f.stays[i] >= 0 {
				stays[i] += int(n.sent(f.stays[i]))
			}
			if f.more[i] >= 0 {
				f.floors[i] += int(n.sent(f.more[i]))
			}
		}
		for _, ch := range f.choices {
			if n.sent(ch.edge) > 0 {
				fixed[ch.task] = ch.member
			}
		}
		all[s] = shares{f.floors, stays, fixed}
	}
	return all
}
