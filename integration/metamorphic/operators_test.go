package metamorphic

import "github.com/tidemarkio/tidemark/integration/conformance/cases"

func (g *generator) predicate() string {
	return g.oneOf("int_even", "int_gt:3", "value_not_null", "key_in:m0,m1,m2", "value_contains:1", "true",
		"value_len_gt:1")
}

func (g *generator) valueFunc() string {
	return g.oneOf("int_add:3", "int_mul:2", "append:x", "with_key:-", "null_if_contains:7", "len", "null_to:5",
		"prefix:2", "reverse", "identity")
}

func (g *generator) keyFunc() string {
	return g.oneOf("key_mod:4", "key_mod:2", "key_const:m1", "key_value_prefix:1", "key_null_if_contains:9",
		"key_append:z")
}

func (g *generator) joiner() string {
	return g.oneOf("pair:|", "keyed", "sum", "left", "right", "null_if_right_contains:3")
}

// stateless adds an operator that keeps the keys of a stream.
func (g *generator) stateless() {
	n := g.pick(stream)
	s := cases.Step{ID: g.name("n"), From: n.id, Op: g.oneOf("filter", "filterNot", "mapValues", "flatMapValues", "peek")}
	switch s.Op {
	case "filter", "filterNot":
		s.Fn = g.predicate()
	case "mapValues":
		s.Fn = g.valueFunc()
	case "flatMapValues":
		s.Fn = g.oneOf("split:,", "repeat:2")
	}
	n.used = true
	g.add(s, stream, n.direct)
}

func (g *generator) rekey() {
	n := g.pick(stream)
	s := cases.Step{ID: g.name("n"), From: n.id, Op: g.oneOf("map", "selectKey", "flatMap", "repartition")}
	switch s.Op {
	case "map":
		s.KeyFn, s.ValueFn = g.keyFunc(), g.valueFunc()
	case "selectKey":
		s.KeyFn = g.keyFunc()
	case "flatMap":
		s.Fn = g.oneOf("explode:,", "split_rekey:,", "fan:2")
	}
	n.used = true
	g.add(s, stream, false)
}

func (g *generator) branch() {
	n := g.pick(stream)
	n.used = true
	a, b := g.name("n"), g.name("n")
	g.steps = append(g.steps, cases.Step{
		Op: "branch", ID: g.name("n"), From: n.id, Branches: []cases.Branch{{ID: a, Fn: g.predicate()}}, Default: b,
	})
	g.nodes = append(g.nodes, &node{id: a, direct: n.direct}, &node{id: b, direct: n.direct})
}

func (g *generator) merge() {
	a, b := g.pick(stream), g.pick(stream)
	if a == b {
		return
	}
	a.used, b.used = true, true
	g.add(cases.Step{Op: "merge", ID: g.name("n"), Left: a.id, Right: b.id}, stream, a.direct && b.direct)
}

// group adds a groupByKey or groupBy of a stream and returns its id.
func (g *generator) group() (id string, direct bool) {
	n := g.pick(stream)
	n.used = true
	s := cases.Step{Op: "groupByKey", ID: g.name("g"), From: n.id}
	if g.class != ordered && g.IntN(3) == 0 {
		s.Op, s.KeyFn = "groupBy", g.keyFunc()
	}
	g.steps = append(g.steps, s)
	return s.ID, n.direct && s.Op == "groupByKey"
}

// fold adds the aggregation of a group. merges says that it is one of sessions.
func (g *generator) fold(group string, k kind, merges bool) *node {
	s := cases.Step{ID: g.name("t"), From: group, Op: g.oneOf("count", "reduce", "aggregate", "aggregate")}
	if g.IntN(2) == 0 {
		s.Store = g.name("store")
	}
	switch {
	case s.Op == "reduce" && g.class == commutative && k == windowedTable:
		s.Op = "count" // the first value of a reduce may be null, and is then replaced
	case s.Op == "reduce" && g.class == commutative:
		s.Fn = "sum"
	case s.Op == "reduce":
		s.Fn = g.oneOf("concat:,", "sum", "max", "first", "last", "null_if_contains:5")
	case s.Op == "aggregate" && merges:
		s.Fn, s.Merger = "bag:;", "bag:;"
		if g.IntN(2) == 0 {
			s.Fn, s.Merger = "sum", "sum"
		}
	case s.Op == "aggregate" && g.class == commutative:
		s.Fn = g.oneOf("sum", "bag:;", "max", "inc")
	case s.Op == "aggregate":
		s.Fn = g.oneOf("concat:,", "sum", "bag:;", "last", "max", "concat_null_if:,:6", "concat_keyed:,")
	}
	return g.add(s, k, false)
}

func (g *generator) aggregate() {
	group, direct := g.group()
	g.fold(group, table, false).direct = direct
}

func (g *generator) grace() int64 {
	if g.spread {
		return graceOfAllMs
	}
	return int64(g.IntN(60))
}

// windows draws windows. Sliding ones look at what came before and so depend on the order of arrival.
func (g *generator) windows() cases.Windows {
	w := cases.Windows{Type: g.oneOf("tumbling", "hopping", "session", "sliding"), GraceMs: g.grace()}
	if g.class == commutative && w.Type == "sliding" {
		w.Type = "tumbling"
	}
	size := int64(10 + g.IntN(50))
	switch w.Type {
	case "tumbling":
		w.SizeMs = size
	case "hopping":
		w.SizeMs, w.AdvanceMs = size, 1+size/int64(1+g.IntN(4))
		w.AdvanceMs = min(w.AdvanceMs, size)
	case "session":
		w.GapMs = size / 2
	case "sliding":
		w.DifferenceMs = size
	}
	return w
}

func (g *generator) window() {
	group, _ := g.group()
	w := cases.Step{Op: "windowedBy", ID: g.name("w"), From: group, Windows: g.windows()}
	final := g.class != tables && g.class != commutative && g.IntN(3) == 0
	if final {
		w.Emit = "onWindowClose"
	}
	g.steps = append(g.steps, w)
	g.fold(w.ID, windowedTable, w.Windows.Type == "session").late = final
}

func (g *generator) cogroup() {
	a, _ := g.group()
	b, _ := g.group()
	functions := []string{"sum", "inc", "max"}
	if g.class == commutative {
		functions = functions[:2]
	} else {
		functions = append(functions, "concat:,", "label:b:,")
	}
	c := cases.Step{Op: "cogroup", ID: g.name("c"), Inputs: []cases.Input{
		{From: a, Fn: g.oneOf(functions...)}, {From: b, Fn: g.oneOf(functions...)},
	}}
	g.steps = append(g.steps, c)
	s := cases.Step{Op: "aggregate", ID: g.name("t"), From: c.ID}
	if g.IntN(2) == 0 {
		g.add(s, table, false)
		return
	}
	w := cases.Step{Op: "windowedBy", ID: g.name("w"), From: c.ID, Windows: g.windows()}
	g.steps = append(g.steps, w)
	if s.From = w.ID; w.Windows.Type == "session" {
		s.Merger = "sum"
	}
	g.add(s, windowedTable, false)
}
