package assign

import "math"

// Costs of the flow, lexicographic: first meet every member's lower bound, then keep running tasks where they are,
// then use state, the nearest first. Each exceeds what all edges of a path can cost that are below it: a path has no
// more edges than there are members and sub-topologies.
const (
	costBound   = -(1 << 56)
	costRunning = -(1 << 34)
)

// worth is what state of this standing counts for in the flow: a good deal more than the next.
func (s standing) worth() int64 { return 1 << (2 * s) }

// balance decides how many tasks of each sub-topology each member gets: counts[s][i].
//
// The fair share of member i of sub-topology s is n(s)·w(i)/W. Everybody gets it rounded down; what remains, at most
// one more per member and sub-topology, is a flow from the sub-topologies to the members, in which a member takes no
// more and no less than its fair share of everything, rounded. An integral solution always exists since the fractions
// themselves are one. Edges over which a running task could stay have a negative cost, so the cheapest flow moves the
// fewest. A greedy choice per sub-topology was rejected: it either misses the total or moves tasks back and forth.
func (c *cluster) balance() [][]int {
	counts := make([][]int, len(c.subs))
	floors := make([]int64, len(c.members)) // what a member has got over all sub-topologies so far
	g := newGraph(len(c.subs) + len(c.members) + 2)
	source, sink := len(c.subs)+len(c.members), len(c.subs)+len(c.members)+1
	type extra struct{ s, i, edge int }
	var extras []extra
	for s, sub := range c.subs {
		counts[s] = make([]int, len(c.members))
		left := int64(sub.len())
		for i := range c.members {
			floor := int64(sub.len()) * c.members[i].weight() / c.weights
			counts[s][i] = int(floor)
			floors[i] += floor
			left -= floor
		}
		costs := c.costs(sub, counts[s])
		for i := range c.members {
			if int64(sub.len())*c.members[i].weight()%c.weights != 0 {
				extras = append(extras, extra{s, i, g.edge(s, len(c.subs)+i, 1, costs[i])})
			}
		}
		g.edge(source, s, left, 0)
	}
	for i := range c.members {
		share := int64(len(c.tasks)) * c.members[i].weight()
		lower := share/c.weights - floors[i]
		g.edge(len(c.subs)+i, sink, lower, costBound)
		if share%c.weights != 0 {
			g.edge(len(c.subs)+i, sink, 1, 0)
		}
	}
	g.run(source, sink)
	for _, e := range extras {
		if g.edges[e.edge].capacity == 0 {
			counts[e.s][e.i]++
		}
	}
	return counts
}

// costs says for each member what it would be worth to give it one task more of a sub-topology than floors: a task
// that it runs could stay, or one that nobody runs, or whose owner has to give up some, could go to where its state is.
func (c *cluster) costs(sub span, floors []int) []int64 {
	running := make([]int, len(c.members))
	near := make([][standings]int, len(c.members))
	elsewhere := make([]standing, len(c.members)) // the nearest that others are to a member's tasks
	for t := sub.from; t < sub.to; t++ {
		if i := c.owner[t]; i >= 0 {
			running[i]++
		}
	}
	for t := sub.from; t < sub.to; t++ {
		if i := c.owner[t]; i >= 0 && running[i] <= floors[i] {
			continue
		}
		for _, h := range c.holders[t] {
			near[h.member][h.standing]++
			if i := c.owner[t]; i >= 0 {
				elsewhere[i] = max(elsewhere[i], h.standing)
			}
		}
	}
	costs := make([]int64, len(c.members))
	for i := range c.members {
		have := running[i]
		if have > floors[i] {
			costs[i] = costRunning + elsewhere[i].worth() // of two that could give a task up, it is who has begun to
			continue
		}
		for at := standings - 1; at > without; at-- {
			if have += near[i][at]; have > floors[i] {
				costs[i] = -at.worth()
				break
			}
		}
	}
	return costs
}

// graph is a small min-cost max-flow: along all shortest paths at a time, since there are few different costs. The
// flows here are at most members × sub-topologies.
type graph struct {
	edges []flowEdge // an edge and its reverse lie side by side: e and e^1
	out   [][]int
	dist  []int64
	next  []int  // the edge of a node that is tried next, while paths of one length are looked for
	on    []bool // the node is queued, or on the path
}

type flowEdge struct {
	to       int
	capacity int64
	cost     int64
}

func newGraph(nodes int) *graph { return &graph{out: make([][]int, nodes)} }

func (g *graph) edge(from, to int, capacity, cost int64) int {
	g.edges = append(g.edges, flowEdge{to, capacity, cost}, flowEdge{from, 0, -cost})
	e := len(g.edges) - 2
	g.out[from] = append(g.out[from], e)
	g.out[to] = append(g.out[to], e+1)
	return e
}

// run sends as much as possible from source to sink, at the least cost. Costs are negative but the graph has no cycles
// at the start, so there is no negative cycle, and cheapest paths never create one.
func (g *graph) run(source, sink int) {
	g.dist, g.next, g.on = make([]int64, len(g.out)), make([]int, len(g.out)), make([]bool, len(g.out))
	for g.measure(source); g.dist[sink] < math.MaxInt64; g.measure(source) {
		clear(g.next)
		for sent := int64(1); sent > 0; {
			sent = g.push(source, sink, math.MaxInt64)
		}
	}
}

// measure finds the cheapest way to every node.
func (g *graph) measure(source int) {
	for n := range g.dist {
		g.dist[n] = math.MaxInt64
	}
	g.dist[source] = 0
	queue := []int{source}
	for len(queue) > 0 {
		n := queue[0]
		queue = queue[1:]
		g.on[n] = false
		for _, e := range g.out[n] {
			to, d := g.edges[e].to, g.dist[n]+g.edges[e].cost
			if g.edges[e].capacity == 0 || d >= g.dist[to] {
				continue
			}
			g.dist[to] = d
			if !g.on[to] {
				g.on[to] = true
				queue = append(queue, to)
			}
		}
	}
}

// push sends up to limit from n to the sink over cheapest ways, and returns how much arrived. Ways without cost lead
// forth and back, so a node that is on the path is left out; what that misses, the next measure finds.
func (g *graph) push(n, sink int, limit int64) int64 {
	if n == sink {
		return limit
	}
	g.on[n] = true
	var sent int64
	for ; g.next[n] < len(g.out[n]); g.next[n]++ {
		e := g.out[n][g.next[n]]
		edge := &g.edges[e]
		if edge.capacity == 0 || g.on[edge.to] || g.dist[edge.to] != g.dist[n]+edge.cost {
			continue
		}
		got := g.push(edge.to, sink, min(limit-sent, edge.capacity))
		edge.capacity -= got
		g.edges[e^1].capacity += got
		if sent += got; sent == limit {
			break
		}
	}
	g.on[n] = false
	return sent
}
