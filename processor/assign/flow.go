package assign

import (
	"math"

	"github.com/tidemarkio/tidemark/record"
)

// Costs of the flow, lexicographic: first meet every member's lower bound, then keep running tasks where they are,
// then use local state. Each exceeds the sum of everything below it for up to a million tasks.
const (
	costBound    = -(1 << 42)
	costRunning  = -(1 << 21)
	costPrevious = -1
)

// balance decides how many tasks of each sub-topology each member gets: counts[s][i].
//
// The fair share of member i of sub-topology s is n(s)·w(i)/W. Everybody gets it rounded down; what remains, at most
// one more per member and sub-topology, is a flow from the sub-topologies to the members, in which a member takes no
// more and no less than its fair share of everything, rounded. An integral solution always exists since the fractions
// themselves are one. Edges over which a running task could stay have a negative cost, so the cheapest flow moves the
// fewest. A greedy choice per sub-topology was rejected: it either misses the total or moves tasks back and forth.
func balance(ms []Member, bySub [][]record.TaskID, cl claims) [][]int {
	var weights, all int64
	for i := range ms {
		weights += ms[i].weight()
	}
	for _, sub := range bySub {
		all += int64(len(sub))
	}
	counts := make([][]int, len(bySub))
	floors := make([]int64, len(ms)) // what a member has got over all sub-topologies so far
	g := newGraph(len(bySub) + len(ms) + 2)
	source, sink := len(bySub)+len(ms), len(bySub)+len(ms)+1
	type extra struct{ s, i, edge int }
	var extras []extra
	for s, sub := range bySub {
		running, previous := have(sub, len(ms), cl)
		counts[s] = make([]int, len(ms))
		left := int64(len(sub))
		for i := range ms {
			share := int64(len(sub)) * ms[i].weight()
			floor := share / weights
			counts[s][i] = int(floor)
			floors[i] += floor
			left -= floor
			if share%weights == 0 {
				continue
			}
			var cost int64
			if int64(running[i]) > floor {
				cost = costRunning
			} else if int64(running[i]+previous[i]) > floor {
				cost = costPrevious
			}
			extras = append(extras, extra{s, i, g.edge(s, len(bySub)+i, 1, cost)})
		}
		g.edge(source, s, left, 0)
	}
	for i := range ms {
		share := all * ms[i].weight()
		lower := share/weights - floors[i]
		g.edge(len(bySub)+i, sink, lower, costBound)
		if share%weights != 0 {
			g.edge(len(bySub)+i, sink, 1, 0)
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

// have counts what each member runs of a sub-topology, and of how many idle tasks it has state.
func have(sub []record.TaskID, members int, cl claims) (running, previous []int) {
	running, previous = make([]int, members), make([]int, members)
	for _, t := range sub {
		if i, ok := cl.owner[t]; ok {
			running[i]++
			continue
		}
		for _, i := range cl.previous[t] {
			previous[i]++
		}
	}
	return running, previous
}

// graph is a small min-cost max-flow by successive shortest paths. The flows here are at most members × sub-topologies.
type graph struct {
	edges []flowEdge // an edge and its reverse lie side by side: e and e^1
	out   [][]int
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
	dist := make([]int64, len(g.out))
	via := make([]int, len(g.out))
	queued := make([]bool, len(g.out))
	for {
		for n := range dist {
			dist[n], via[n] = math.MaxInt64, -1
		}
		dist[source] = 0
		queue := []int{source}
		for len(queue) > 0 {
			n := queue[0]
			queue = queue[1:]
			queued[n] = false
			for _, e := range g.out[n] {
				to, d := g.edges[e].to, dist[n]+g.edges[e].cost
				if g.edges[e].capacity == 0 || d >= dist[to] {
					continue
				}
				dist[to], via[to] = d, e
				if !queued[to] {
					queued[to] = true
					queue = append(queue, to)
				}
			}
		}
		if via[sink] < 0 {
			return
		}
		for n := sink; n != source; n = g.edges[via[n]^1].to {
			g.edges[via[n]].capacity--
			g.edges[via[n]^1].capacity++
		}
	}
}
