package metamorphic

import "github.com/tidemarkio/tidemark/integration/conformance/cases"

// tableOp adds a filter or mapValues of a table.
func (g *generator) tableOp() {
	n := g.pick(kind(int(table)+g.IntN(2)), early)
	if n == nil {
		return
	}
	n.used = true
	s := cases.Step{Op: g.oneOf("filter", "filterNot", "mapValues"), ID: g.name("t"), From: n.id, Fn: g.predicate()}
	if s.Op == "mapValues" {
		s.Fn = g.valueFunc()
	}
	if n.kind == table && g.IntN(3) == 0 {
		s.Store = g.name("store")
	}
	g.add(s, n.kind, n.direct)
}

// tableGroup groups a table by other keys. What is left after everything was subtracted depends on what caches leave
// out ("0", or nothing), so nothing follows it there.
func (g *generator) tableGroup() {
	n := g.pick(table, early)
	if n == nil {
		return
	}
	n.used = true
	group := cases.Step{
		Op: "groupBy", ID: g.name("g"), From: n.id, KeyFn: g.oneOf("key_mod:3", "key_const:m0"),
		ValueFn: g.oneOf("len", "int_add:1"),
	}
	s := cases.Step{ID: g.name("t"), From: group.ID, Op: g.oneOf("count", "aggregate", "aggregate")}
	if s.Op == "aggregate" {
		s.Adder, s.Subtract = "sum", "sub"
		if g.IntN(2) == 0 {
			s.Adder, s.Subtract = "bag:;", "bag_remove:;"
		}
	}
	g.steps = append(g.steps, group)
	g.add(s, table, false).late = g.class != anything
}

func (g *generator) suppress() {
	s := cases.Step{Op: "suppress", ID: g.name("t"), Until: "timeLimit", WaitMs: int64(g.IntN(80))}
	k := table
	if g.class == ordered || g.IntN(2) == 0 { // a limit of time depends on what else is in the partition
		s.Until, s.WaitMs, k = "windowClose", 0, windowedTable
	}
	n := g.pick(k, early, func(n *node) bool { return k == table || g.isWindow(n.id) })
	if n == nil {
		return
	}
	n.used = true
	s.From = n.id
	if s.Until == "timeLimit" && g.IntN(3) == 0 {
		s.MaxRecords, s.OnFull = new(int64(1+g.IntN(3))), "emitEarly"
	}
	g.add(s, k, false).late = true
}

// isWindow reports whether a step is an aggregation in windows itself, of which suppress knows the grace.
func (g *generator) isWindow(id string) bool {
	for _, s := range g.steps {
		if s.ID == id {
			return s.Op == "count" || s.Op == "reduce" || s.Op == "aggregate"
		}
	}
	return false
}

func (g *generator) toTable() {
	n := g.pick(stream)
	n.used = true
	s := cases.Step{Op: "toTable", ID: g.name("t"), From: n.id}
	if g.IntN(2) == 0 {
		s.Store = g.name("store")
	}
	g.add(s, table, n.direct)
}

func (g *generator) toStream() {
	n := g.pick(kind(int(table) + g.IntN(2)))
	if n == nil {
		return
	}
	n.used = true
	s := cases.Step{Op: "toStream", ID: g.name("n"), From: n.id}
	if n.kind == table {
		g.add(s, stream, n.direct)
		return
	}
	g.add(s, windowedStream, false)
	if g.class == anything && g.IntN(2) == 0 {
		g.nodes[len(g.nodes)-1].used = true
		g.add(cases.Step{Op: "selectKey", ID: g.name("n"), From: s.ID, KeyFn: "window_key"}, stream, false)
	}
}
