package topology_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/topology"
)

// modelRecord is a record that a model of a join keeps.
type modelRecord struct {
	side       int // 0 right, 1 left
	key, value string
	ts         int64
}

// joinModel is the join as it is specified, over plain slices.
type joinModel struct {
	before, after, grace int64
	outer                [2]bool // by side
	kept                 [2][]modelRecord
	greatest             [2]int64
	waiting              []modelRecord
	now, least           int64
}

const noLeast = int64(1) << 40

func (m *joinModel) reach(side int) (before, after int64) {
	if side == 1 {
		return m.before, m.after
	}
	return m.after, m.before
}

func (m *joinModel) process(r modelRecord) (out []string) {
	emit := func(r modelRecord, other string, ts int64) {
		l, right := r.value, other
		if r.side == 0 {
			l, right = other, r.value
		}
		out = append(out, fmt.Sprintf("%s=%s|%s@%d", r.key, l, right, ts))
	}
	m.now = max(m.now, r.ts)
	switch {
	case r.key == "-" && r.value != "-" && m.outer[r.side]:
		emit(r, "null", r.ts)
		return out
	case r.key == "-" || r.value == "-":
		return nil
	}
	before, after := m.reach(r.side)
	if r.ts == m.now && m.least+after+m.grace < m.now {
		m.walk(func(w modelRecord) { emit(w, "null", w.ts) })
	}
	others := slices.Clone(m.kept[1-r.side])
	slices.SortStableFunc(others, func(a, b modelRecord) int { return cmp.Compare(a.ts, b.ts) })
	matched := false
	for _, o := range others {
		if o.key != r.key || o.ts < max(0, r.ts-before) || o.ts > max(0, r.ts+after) ||
			o.ts <= m.greatest[o.side]-m.before-m.after-m.grace {
			continue
		}
		matched = true
		m.waiting = slices.DeleteFunc(m.waiting, func(w modelRecord) bool {
			return w.side == o.side && w.key == o.key && w.ts == o.ts
		})
		emit(r, o.value, max(r.ts, o.ts))
	}
	if !matched && m.outer[r.side] {
		if max(0, r.ts+after) < m.now {
			emit(r, "null", r.ts)
		} else {
			m.waiting = append(m.waiting, r)
			m.least = min(m.least, r.ts)
		}
	}
	m.greatest[r.side] = max(m.greatest[r.side], r.ts)
	m.kept[r.side] = append(m.kept[r.side], r)
	m.kept[r.side] = slices.DeleteFunc(m.kept[r.side], func(k modelRecord) bool {
		return k.ts <= m.greatest[r.side]-m.before-m.after-m.grace
	})
	return out
}

func (m *joinModel) walk(emit func(modelRecord)) {
	slices.SortStableFunc(m.waiting, func(a, b modelRecord) int {
		return cmp.Or(cmp.Compare(a.ts, b.ts), cmp.Compare(a.side, b.side), strings.Compare(a.key, b.key))
	})
	m.least = noLeast
	var left []modelRecord
	var done [2]bool
	for i, w := range m.waiting {
		m.least = w.ts
		if done[0] && done[1] {
			left = append(left, m.waiting[i:]...)
			break
		}
		if _, after := m.reach(w.side); w.ts+after+m.grace < m.now {
			emit(w)
			continue
		}
		done[w.side] = true
		left = append(left, w)
	}
	m.waiting = left
}

// joinOfOneTopic declares a join whose sides come through one topic, so that a crash repeats records in the same order:
// values begin with their side, and "-" behind it stands for null.
func joinOfOneTopic(kind string, self bool, w topology.JoinWindows) *topology.Builder {
	b := topology.NewBuilder()
	in := topology.Stream(b, "in", serde.String, serde.String)
	side := func(name string) *topology.KStream[string, *string] {
		s := in.Filter(func(_, v string) bool { return self || strings.HasPrefix(v, name) })
		return topology.MapValues(s, func(v string) *string {
			if v = v[1:]; v == "-" {
				return nil
			}
			return &v
		}, serde.Nullable(serde.String))
	}
	left := side("1")
	right := left
	if !self {
		right = side("0")
	}
	pair := func(l, r topology.Optional[*string]) *string {
		joined := "null|"
		if l.Present {
			joined = *l.Value + "|"
		}
		if joined += "null"; r.Present {
			joined = strings.TrimSuffix(joined, "null") + *r.Value
		}
		return &joined
	}
	some := topology.Some[*string]
	switch kind {
	case "inner":
		topology.Join(left, right, func(l, r *string) *string { return pair(some(l), some(r)) }, w, nil).To("out")
	case "left":
		topology.LeftJoin(left, right,
			func(l *string, r topology.Optional[*string]) *string { return pair(some(l), r) }, w, nil).To("out")
	default:
		topology.OuterJoin(left, right, pair, w, nil).To("out")
	}
	return b
}

// randomModel returns a model with random windows.
func randomModel(rnd *rand.Rand, kind string) *joinModel {
	m := &joinModel{
		before: rnd.Int64N(40), after: rnd.Int64N(40), grace: rnd.Int64N(3) * 10, least: noLeast,
		greatest: [2]int64{-1, -1}, now: -1, outer: [2]bool{kind == "outer", kind != "inner"},
	}
	switch rnd.IntN(4) {
	case 0:
		m.after = -rnd.Int64N(m.before + 1)
	case 1:
		m.before = -rnd.Int64N(m.after + 1)
	}
	return m
}

// TestJoinsAgainstAModel compares random joins of random records with the model, with commits and crashes in between.
func TestJoinsAgainstAModel(t *testing.T) {
	t.Parallel()
	for seed := range uint64(120) {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			t.Parallel()
			rnd := rand.New(rand.NewPCG(seed, 1))
			kind := []string{"inner", "left", "outer"}[seed%3]
			m := randomModel(rnd, kind)
			self := rnd.IntN(4) == 0
			d := newJoinDriver(t, joinOfOneTopic(kind, self, topology.Within(0).
				Before(time.Duration(m.before)*ms).After(time.Duration(m.after)*ms).Grace(time.Duration(m.grace)*ms)))
			now := int64(0)
			var uncommitted []string
			for i := range 300 {
				now = max(0, now+rnd.Int64N(14)-4)
				if rnd.IntN(60) == 0 {
					now += 200
				}
				r := randomRecord(rnd, now, i)
				in := strconv.Itoa(r.side) + r.value
				var want []string
				if self {
					r.side = 1
					want = m.process(r)
					r.side = 0
				}
				want = append(want, m.process(r)...)
				require.Equal(t, want, d.pipe("in", r.key, in, r.ts), "record %d: %+v", i, r)
				uncommitted = append(uncommitted, want...)
				switch rnd.IntN(12) {
				case 0:
					d.Commit()
					uncommitted = nil
				case 1: // what was not committed is processed again
					d.Crash()
					require.Equal(t, uncommitted, d.take())
				case 2:
					d.Commit()
					d.Crash()
					uncommitted = nil
				}
			}
		})
	}
}

func randomRecord(rnd *rand.Rand, now int64, i int) modelRecord {
	r := modelRecord{
		side: rnd.IntN(2), key: string(rune('a' + rnd.IntN(3))), value: strconv.Itoa(i), ts: max(0, now-rnd.Int64N(20)),
	}
	if rnd.IntN(20) == 0 {
		r.key = "-"
	}
	if rnd.IntN(20) == 0 {
		r.value = "-"
	}
	return r
}
