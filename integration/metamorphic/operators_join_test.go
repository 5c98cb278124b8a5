package metamorphic

import (
	"maps"

	"github.com/tidemarkio/tidemark/integration/conformance/cases"
)

func (g *generator) joinStreams() {
	a, b := g.pick(stream), g.pick(stream)
	s := cases.Step{
		Op: "streamStreamJoin", ID: g.name("n"), Kind: g.oneOf("inner", "left", "outer"), Left: a.id, Right: b.id,
		Fn: g.joiner(), BeforeMs: int64(g.IntN(50)), AfterMs: int64(g.IntN(50)), GraceMs: new(g.grace()),
	}
	// In partitions, what found no partner is told by the records that end the test, which must reach all of them.
	if g.class == matched && (!a.direct || !b.direct) {
		s.Kind = "inner"
	}
	if g.class == matched && s.Kind != "inner" {
		// A record whose window has already ended is given up at once, so when the others come would count.
		s.BeforeMs, s.AfterMs = 2*graceOfAllMs, 2*graceOfAllMs
	}
	a.used, b.used = true, true
	// What the join makes has other timestamps, so that a second one might find it outside of its grace.
	n := g.add(s, stream, false)
	if g.class == matched {
		n.kind = windowedStream // goes to a sink only
	}
}

// joinTable joins a stream with a table. In partitions the table is there before the stream.
func (g *generator) joinTable() {
	a, b := g.pick(stream), g.pick(table, early)
	if g.class == ordered {
		b = nil
		if len(g.nodes) > 1 && g.nodes[1].kind == table {
			b = g.nodes[1]
		}
	}
	if b == nil {
		return
	}
	a.used, b.used = true, true
	g.add(cases.Step{
		Op: "streamTableJoin", ID: g.name("n"), Kind: g.oneOf("inner", "left"), Left: a.id, Right: b.id, Fn: g.joiner(),
	}, stream, a.direct)
}

func (g *generator) joinGlobal() {
	if g.global == "" {
		return
	}
	a := g.pick(stream)
	a.used = true
	g.add(cases.Step{
		Op: "streamGlobalJoin", ID: g.name("n"), Kind: g.oneOf("inner", "left"), Left: a.id, Right: g.global,
		KeyFn: g.oneOf("key", "key_mod:4"), Fn: g.joiner(),
	}, stream, a.direct)
}

func (g *generator) joinTables() {
	a, b := g.pick(table, early), g.pick(table, early)
	if a == nil || b == a || g.class != anything && !g.apart(a, b) {
		return
	}
	a.used, b.used = true, true
	s := cases.Step{
		Op: "tableTableJoin", ID: g.name("t"), Kind: g.oneOf("inner", "left", "outer"), Left: a.id, Right: b.id,
		Fn: g.oneOf("pair:|", "keyed", "sum"),
	}
	if g.IntN(2) == 0 {
		s.Store = g.name("store")
	}
	// With caches a side's row may be there before its update is forwarded. The join's old values are then none that it
	// ever forwarded, as in Kafka Streams, so that nothing below may subtract them.
	g.add(s, table, false).late = g.class != anything
}

func (g *generator) joinForeign() {
	a, b := g.pick(table, early), g.pick(table, early)
	if a == nil || b == a || g.class != anything && !g.apart(a, b) {
		return
	}
	a.used, b.used = true, true
	s := cases.Step{
		Op: "foreignKeyJoin", ID: g.name("t"), Kind: g.oneOf("inner", "left"), Left: a.id, Right: b.id,
		Fn: g.oneOf("pair:|", "keyed"), FKFn: g.oneOf("key_mod:4", "key_null_if_contains:7"),
	}
	if g.class != anything {
		// An inner join is not asked again when a left row that has just lost its partner changes before that was
		// answered, and the answer is then out of date and ignored: what was there last depends on the moment.
		s.Kind = "left"
	}
	if g.IntN(2) == 0 {
		s.Store = g.name("store")
	}
	g.add(s, table, false)
}

// process adds a processor. Those with timers follow a topic: a crash moves the moment at which the next punctuation is
// due, which no record sees whose stream time just moved.
func (g *generator) process() {
	store := cases.Step{Op: "addStore", Store: g.name("kv"), Type: "kv"}
	names := []string{"running_sum", "running_count", "multi", "stamp", "put"}
	if g.class == anything {
		names = append(names, "dedup", "timer", "wallclock_dump", "retime", "window_recent", "stream_time")
	}
	s := cases.Step{Op: "process", ID: g.name("n"), Processor: g.oneOf(names...), Store: store.Store}
	n := g.pick(stream)
	s.Args.IntervalMs = 1
	switch s.Processor {
	case "running_count":
		s.Op = "processValues"
	case "stamp":
		s.Op, s.Store = "processValues", ""
	case "multi", "stream_time":
		s.Args.N, s.Store = 2, ""
	case "retime":
		s.Args.DeltaMs, s.Store = -int64(g.IntN(30)), ""
	case "dedup":
		n = g.pick(stream, direct)
		s.Args.TTLMs, s.Args.Announce = lateMaxMs+40, true
	case "timer":
		n = g.pick(stream, direct)
		s.Args.DelayMs = lateMaxMs + 20
	case "wallclock_dump":
		s.Args.Clear = g.IntN(2) == 0
	case "window_recent":
		store.Type = "window"
		store.Retention, s.Args.BackMs = 100, int64(g.IntN(60))
	}
	n.used, s.From = true, n.id
	if s.Store != "" {
		g.steps = append(g.steps, store)
	}
	made := g.add(s, stream, n.direct && s.Op == "processValues")
	if g.class == ordered && s.Op == "process" {
		// It may have changed the key, so what follows goes through a repartition topic: two ways, two orders.
		made.kind = windowedStream
	}
}

// apart reports whether two tables have no topic in common. Where one update reaches both sides of a join, the second
// side sees the first one's, and what the join says was there before never was: as in Kafka Streams.
func (g *generator) apart(a, b *node) bool {
	topics := g.topicsOf(a.id)
	for topic := range g.topicsOf(b.id) {
		if topics[topic] {
			return false
		}
	}
	return true
}

// topicsOf returns the topics that a step's records come from.
func (g *generator) topicsOf(id string) map[string]bool {
	topics := make(map[string]bool)
	for _, s := range g.steps {
		if s.ID != id && s.Default != id && (len(s.Branches) == 0 || s.Branches[0].ID != id) || id == "" {
			continue
		}
		if s.Topic != "" {
			topics[s.Topic] = true
		}
		from := []string{s.From, s.Left, s.Right}
		for _, in := range s.Inputs {
			from = append(from, in.From)
		}
		for _, id := range from {
			maps.Copy(topics, g.topicsOf(id))
		}
	}
	return topics
}
