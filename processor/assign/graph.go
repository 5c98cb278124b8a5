package assign

import "math"

// graph is a small min-cost max-flow: along all shortest paths at a time, since there are few different costs. The
// tasks are not many either: most are counted, not nodes of their own.
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

func (g *graph) node() int {
	g.out = append(g.out, nil)
	return len(g.out) - 1
}

// sent is what flows over an edge.
func (g *graph) sent(e int) int64 { return g.edges[e^1].capacity }

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
