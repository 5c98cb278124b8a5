package metamorphic

import (
	"fmt"
	"math/rand/v2"

	"github.com/tidemarkio/tidemark/integration/conformance/cases"
)

// class is what may be demanded of a topology, and so what it may be made of.
type class int

const (
	// anything is made of all operators. One partition, no caches: the same sequence of outputs.
	anything class = iota
	// tables are made of tables and aggregates only. With caches: the same last value of each key.
	tables
	// ordered topologies keep the keys of one topic. With partitions: the same sequence for each key.
	ordered
	// commutative topologies move records between partitions, into functions that do not care about their order.
	commutative
	// matched topologies join two topics. With partitions: the same results, in any order.
	matched
)

func (c class) String() string {
	return [...]string{"anything", "tables", "ordered", "commutative", "matched"}[c]
}

type kind int

const (
	stream kind = iota
	windowedStream
	table
	windowedTable
)

// node is what a step has made.
type node struct {
	id   string
	kind kind
	// direct streams have the keys and timestamps of their topic.
	direct bool
	// late updates, those of suppress and of final windows, are not read by other tables.
	late bool
	used bool
}

// generator makes up a topology.
type generator struct {
	*rand.Rand

	class class
	steps []cases.Step
	nodes []*node
	named int
	// spread demands that all records of a window are within its grace, whatever the order of arrival.
	spread  bool
	global  string
	topics  []string // that fill streams
	preload []string // that must be complete before those
}

const (
	graceOfAllMs = 10_000
	// operatorsMin and operatorsMax bound the operators between sources and sinks.
	operatorsMin = 3
	operatorsMax = 10
)

// generate makes up a topology of a class.
func generate(r *rand.Rand, c class) *generator {
	g := &generator{Rand: r, class: c, spread: c == ordered || c == commutative || c == matched}
	g.sources()
	// Some operators are several steps, and some draws do not fit.
	for want := operatorsMin + g.IntN(operatorsMax-operatorsMin); want > 0; want-- {
		for range 20 {
			before := len(g.steps)
			g.operator()
			if len(g.steps) > before {
				break
			}
		}
	}
	sinks := 0
	for _, n := range g.nodes {
		if n.used && (g.IntN(5) > 0 || g.class == commutative) || g.class == commutative && n.kind == stream {
			continue
		}
		sinks++
		g.steps = append(g.steps, cases.Step{Op: "to", From: n.id, Topic: fmt.Sprintf("out%d", sinks)})
	}
	return g
}

func (g *generator) sources() {
	g.source("stream", "in1", stream)
	g.topics = []string{"in1"}
	switch g.class {
	case ordered:
		if g.IntN(2) == 0 {
			g.source("table", "in3", table)
			g.preload = append(g.preload, "in3")
		}
	case matched:
		g.source("stream", "in2", stream)
		g.topics = append(g.topics, "in2")
	case anything, tables, commutative:
		if g.IntN(2) == 0 {
			g.source("stream", "in2", stream)
			g.topics = append(g.topics, "in2")
		}
		if g.IntN(2) == 0 {
			g.source("table", "in3", table)
			g.topics = append(g.topics, "in3")
		}
		if g.IntN(3) == 0 {
			g.source("table", "in4", table)
			g.topics = append(g.topics, "in4")
		}
	}
	if g.class != tables && g.class != matched && g.IntN(4) == 0 {
		g.global = "global"
		g.steps = append(g.steps, cases.Step{Op: "globalTable", ID: g.global, Topic: "in5", Store: g.name("store")})
		g.preload = append(g.preload, "in5")
	}
}

func (g *generator) source(op, topic string, k kind) {
	s := cases.Step{Op: op, ID: g.name("s"), Topic: topic}
	if op == "table" && g.IntN(2) == 0 {
		s.Store = g.name("store")
	}
	if op == "table" && g.class == anything && g.IntN(4) == 0 {
		s.Store, s.HistoryMs = g.name("store"), new(int64(20+g.IntN(100)))
	}
	g.add(s, k, true)
}

func (g *generator) name(prefix string) string {
	g.named++
	return fmt.Sprintf("%s%d", prefix, g.named)
}

// add adds a step that makes a node.
func (g *generator) add(s cases.Step, k kind, direct bool) *node {
	g.steps = append(g.steps, s)
	n := &node{id: s.ID, kind: k, direct: direct}
	g.nodes = append(g.nodes, n)
	return n
}

// pick draws a node of a kind, nil if there is none.
func (g *generator) pick(k kind, fits ...func(n *node) bool) *node {
	var all []*node
next:
	for _, n := range g.nodes {
		if n.kind != k {
			continue
		}
		for _, f := range fits {
			if !f(n) {
				continue next
			}
		}
		all = append(all, n)
	}
	if len(all) == 0 {
		return nil
	}
	return all[max(g.IntN(len(all)), g.IntN(len(all)))] // rather the later ones: chains
}

func direct(n *node) bool { return n.direct }
func early(n *node) bool  { return !n.late }

func (g *generator) oneOf(all ...string) string { return all[g.IntN(len(all))] }

// operator adds one operator, or nothing if the draw does not fit.
func (g *generator) operator() {
	families := map[class][]func(){
		anything: {
			g.stateless, g.stateless, g.rekey, g.branch, g.merge, g.aggregate, g.aggregate, g.window, g.window, g.cogroup,
			g.tableOp, g.tableGroup, g.suppress, g.joinStreams, g.joinStreams, g.joinTable, g.joinGlobal, g.joinTables,
			g.joinForeign, g.process, g.toTable, g.toStream,
		},
		tables: {
			g.stateless, g.aggregate, g.aggregate, g.window, g.cogroup, g.tableOp, g.tableGroup, g.joinTables, g.joinForeign,
		},
		ordered: {
			g.stateless, g.stateless, g.branch, g.merge, g.aggregate, g.window, g.window, g.tableOp, g.suppress, g.joinTable,
			g.joinGlobal, g.process, g.toStream,
		},
		commutative: {
			g.stateless, g.rekey, g.rekey, g.merge, g.aggregate, g.aggregate, g.window, g.cogroup, g.tableOp, g.tableGroup,
			g.joinTables, g.joinForeign, g.joinGlobal,
		},
		matched: {g.stateless, g.rekey, g.joinStreams, g.joinStreams},
	}
	all := families[g.class]
	all[g.IntN(len(all))]()
}
