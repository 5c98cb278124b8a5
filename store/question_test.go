package store_test

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/store"
)

// asked gathers all pages of an answer as text.
func asked(t *testing.T, b *bench, name string, q store.Question) (rows []string, count int64) {
	t.Helper()
	s, ok := b.Store(name)
	require.True(t, ok)
	queryable, ok := s.(store.Queryable)
	require.True(t, ok)
	q.Limit = max(q.Limit, 1)
	for pages := 0; ; pages++ {
		require.Less(t, pages, 10_000)
		p, err := queryable.Query(&q)
		require.NoError(t, err)
		require.LessOrEqual(t, len(p.Rows), q.Limit)
		count += p.Count
		for _, r := range p.Rows {
			rows = append(rows, fmt.Sprintf("%s %d..%d %d @%d", r.Key, r.Start, r.End, binary.BigEndian.Uint64(r.Value),
				r.Timestamp))
		}
		if p.Next == nil {
			return rows, count
		}
		q.After = p.Next
	}
}

const committedToo, uncommitted = false, true

// modelRow is a row of a model: what is committed of it, and what is not.
type modelRow struct {
	key                string
	start, end, v, at  int64
	committed, present bool
	cv, cat            int64
}

// questions puts every question to a store and to a model of it.
type questions struct {
	t     *testing.T
	b     *bench
	rows  map[string]*modelRow
	order func(a, b *modelRow) int
	rnd   *rand.Rand
}

func (q *questions) put(key string, start, end, v, at int64, exists bool) {
	id := fmt.Sprint(key, "/", start, "/", end)
	if q.rows[id] == nil {
		q.rows[id] = &modelRow{key: key, start: start, end: end}
	}
	r := q.rows[id]
	r.v, r.at, r.present = v, at, exists
}

func (q *questions) commit() {
	q.b.commit()
	for _, r := range q.rows {
		r.committed, r.cv, r.cat = r.present, r.v, r.at
	}
}

// expect returns the rows that a question should find.
func (q *questions) expect(dirty bool, wants func(r *modelRow) bool) []string {
	var found []*modelRow
	for _, r := range q.rows {
		if (dirty && r.present || !dirty && r.committed) && wants(r) {
			found = append(found, r)
		}
	}
	slices.SortFunc(found, q.order)
	var text []string
	for _, r := range found {
		v, at := r.cv, r.cat
		if dirty {
			v, at = r.v, r.at
		}
		text = append(text, fmt.Sprintf("%s %d..%d %d @%d", r.key, r.start, r.end, v, at))
	}
	return text
}

func byKeyThenTime(a, b *modelRow) int {
	return cmp.Or(cmp.Compare(a.key, b.key), cmp.Compare(a.start, b.start))
}

func TestQuestionsOfKeys(t *testing.T) {
	t.Parallel()
	for seed := range uint64(4) {
		b := newBench(t, counts("s"))
		s := kv[string, int64](t, b, "s")
		q := questions{
			t: t, b: b, rows: map[string]*modelRow{}, order: byKeyThenTime, rnd: rand.New(rand.NewPCG(seed, 1)),
		}
		for round := range 40 {
			for range q.rnd.IntN(20) {
				key, v := fmt.Sprintf("k%02d", q.rnd.IntN(40)), q.rnd.Int64N(1000)
				exists := q.rnd.IntN(4) > 0
				if exists {
					require.NoError(t, s.PutWithTimestamp(key, v, int64(round)))
				} else {
					require.NoError(t, s.Delete(key))
				}
				q.put(key, 0, 0, v, int64(round), exists)
			}
			if q.rnd.IntN(3) > 0 {
				q.commit()
			}
			if q.rnd.IntN(4) == 0 {
				require.NoError(t, b.Flush(t.Context()))
			}
			for _, dirty := range []bool{committedToo, uncommitted} {
				limit := 1 + q.rnd.IntN(10)
				lo, hi := fmt.Sprintf("k%02d", q.rnd.IntN(40)), fmt.Sprintf("k%02d", q.rnd.IntN(40))
				in := func(r *modelRow) bool { return r.key >= lo && r.key <= hi }
				w := store.Question{Kind: store.AskKeys, Lo: []byte(lo), Hi: []byte(hi), Limit: limit, Uncommitted: dirty}
				got, n := asked(t, b, "s", w)
				want := q.expect(dirty, in)
				require.Equal(t, want, got, "seed %d round %d", seed, round)
				require.Len(t, want, int(n))
				w.Reverse = true
				got, _ = asked(t, b, "s", w)
				slices.Reverse(got)
				require.Equal(t, want, got)
				w.Kind = store.AskCount
				got, n = asked(t, b, "s", w)
				require.Empty(t, got)
				require.Len(t, want, int(n))
				got, _ = asked(t, b, "s", store.Question{
					Kind: store.AskKeys, Prefix: true, Lo: []byte(lo[:2]), Limit: limit, Uncommitted: dirty,
				})
				require.Equal(t, q.expect(dirty, func(r *modelRow) bool { return r.key[:2] == lo[:2] }), got)
				got, _ = asked(t, b, "s", store.Question{Kind: store.AskKey, Key: []byte(lo), Uncommitted: dirty})
				require.Equal(t, q.expect(dirty, func(r *modelRow) bool { return r.key == lo }), got)
			}
		}
	}
}

func TestQuestionsOfWindowsAndSessions(t *testing.T) {
	t.Parallel()
	segments := store.WindowConfig{Retention: time.Hour}
	grid := store.WindowConfig{Retention: time.Hour, Grid: 10 * time.Second}
	for name, spec := range map[string]store.Spec{
		"segments": store.WindowSpec("s", serde.String, serde.Int64, segments),
		"grid":     store.WindowSpec("s", serde.String, serde.Int64, grid),
		"sessions": store.SessionSpec("s", serde.String, serde.Int64, store.SessionConfig{Retention: time.Hour}),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, spec)
			q := questions{
				t: t, b: b, rows: map[string]*modelRow{}, order: byKeyThenTime, rnd: rand.New(rand.NewPCG(7, 7)),
			}
			for range 30 {
				for range q.rnd.IntN(20) {
					key, v := fmt.Sprintf("k%d", q.rnd.IntN(12)), q.rnd.Int64N(1000)
					start, end := q.rnd.Int64N(200)*10_000, int64(0)
					if name == "sessions" {
						end = start + q.rnd.Int64N(4)*1000
						w := record.Window{Start: start, End: end}
						require.NoError(t, ofStore[*store.Session[string, int64]](t, b, "s").PutWithTimestamp(key, w, v, v))
					} else {
						require.NoError(t, ofStore[*store.Window[string, int64]](t, b, "s").PutWithTimestamp(key, v, start, v))
					}
					q.put(key, start, end, v, v, true)
				}
				if q.rnd.IntN(3) > 0 {
					q.commit()
				}
				if q.rnd.IntN(4) == 0 {
					require.NoError(t, b.Flush(t.Context()))
				}
				for _, dirty := range []bool{committedToo, uncommitted} {
					q.askTimes(name == "sessions", dirty)
				}
			}
		})
	}
}

// askTimes asks for rows by time. The model knows no retention: no row is old enough.
func (q *questions) askTimes(sessions, dirty bool) {
	t, limit := q.t, 1+q.rnd.IntN(10)
	key, from := fmt.Sprintf("k%d", q.rnd.IntN(12)), q.rnd.Int64N(200)*10_000
	to := from + q.rnd.Int64N(500_000)
	got, _ := asked(t, q.b, "s", store.Question{
		Kind: store.AskTimes, Key: []byte(key), From: from, To: to, Limit: limit, Uncommitted: dirty,
	})
	require.Equal(t, q.expect(dirty, func(r *modelRow) bool {
		if sessions {
			return r.key == key && r.end >= from && r.start <= to
		}
		return r.key == key && r.start >= from && r.start <= to
	}), got)
	got, n := asked(t, q.b, "s", store.Question{
		Kind: store.AskAll, Lo: []byte("k1"), Hi: []byte(key), From: from, To: to, Limit: limit, Uncommitted: dirty,
	})
	want := q.expect(dirty, func(r *modelRow) bool {
		at := r.start
		if sessions {
			at = r.end
		}
		return r.key >= "k1" && r.key <= key && at >= from && at <= to
	})
	require.ElementsMatch(t, want, got)
	require.Len(t, want, int(n))
	for _, r := range q.rows {
		w := store.Question{Kind: store.AskKey, Key: []byte(r.key), From: r.start, To: r.end, Uncommitted: dirty}
		got, _ = asked(t, q.b, "s", w)
		require.Equal(t, q.expect(dirty, func(o *modelRow) bool { return o == r }), got)
		break
	}
}

func TestQuestionsOfVersions(t *testing.T) {
	t.Parallel()
	b := newBench(t, store.VersionedSpec("v", serde.String, serde.Int64, 50*time.Millisecond))
	s := ofStore[*store.Versioned[string, int64]](t, b, "v")
	put := func(key string, v, ts int64) {
		t.Helper()
		_, err := s.Put(key, v, ts)
		require.NoError(t, err)
	}
	history := func(dirty bool, from, to int64) []string {
		t.Helper()
		got, _ := asked(t, b, "v", store.Question{
			Kind: store.AskTimes, Key: []byte("a"), From: from, To: to, Uncommitted: dirty,
		})
		return got
	}
	put("a", 1, 100)
	put("ab", 9, 100)
	put("a", 2, 110)
	_, err := s.Delete("a", 120)
	require.NoError(t, err)
	put("a", 3, 130)
	b.commit()
	put("a", 4, 140)
	open := strconv.FormatInt(store.ValidToOpen, 10)
	require.Equal(t, []string{"a 100..110 1 @100", "a 110..120 2 @110", "a 130.." + open + " 3 @130"},
		history(committedToo, 0, 1000))
	require.Equal(t, []string{"a 100..110 1 @100", "a 110..120 2 @110", "a 130..140 3 @130", "a 140.." + open + " 4 @140"},
		history(uncommitted, 0, 1000))
	for at, want := range map[int64][]string{
		99: nil, 100: {"a 100..110 1 @100"}, 109: {"a 100..110 1 @100"}, 110: {"a 110..120 2 @110"}, 120: nil, 129: nil,
		131: {"a 130.." + open + " 3 @130"},
	} {
		require.Equal(t, want, history(committedToo, at, at), "as of %d", at)
	}
	require.Equal(t, []string{"a 110..120 2 @110"}, history(committedToo, 115, 125))
	require.Empty(t, history(committedToo, 200, 100))
	got, _ := asked(t, b, "v", store.Question{Kind: store.AskKey, Key: []byte("a")})
	require.Equal(t, []string{"a 130.." + open + " 3 @130"}, got)
	got, n := asked(t, b, "v", store.Question{Kind: store.AskKeys})
	require.Equal(t, []string{"a 130.." + open + " 3 @130", "ab 100.." + open + " 9 @100"}, got)
	require.Equal(t, int64(2), n)
	put("b", 5, 175) // 100 to 124 lies before the history now
	b.commit()
	require.Equal(t, []string{"a 130..140 3 @130", "a 140.." + open + " 4 @140"}, history(committedToo, 0, 1000))
	require.Empty(t, history(committedToo, 0, 110))
}

func TestQuestionsThatDoNotFit(t *testing.T) {
	t.Parallel()
	b := newBench(t, counts("s"),
		store.WindowSpec("w", serde.String, serde.Int64, store.WindowConfig{Retention: time.Hour}),
		store.SessionSpec("n", serde.String, serde.Int64, store.SessionConfig{Retention: time.Hour}),
		store.VersionedSpec("v", serde.String, serde.Int64, time.Hour))
	for name, kind := range map[string]store.QuestionKind{
		"s": store.AskTimes, "w": store.AskKeys, "n": store.AskCount, "v": store.AskAll,
	} {
		_, err := ofStore[store.Queryable](t, b, name).Query(&store.Question{Kind: kind, Limit: 1})
		var unfit *store.QuestionError
		require.ErrorAs(t, err, &unfit)
		require.Equal(t, name, unfit.Store)
	}
	for name, after := range map[string]int{"w": 3, "n": 8, "v": 16} {
		require.NoError(t, b.putOne(name))
		_, err := ofStore[store.Queryable](t, b, name).Query(&store.Question{
			Kind: store.AskTimes, Key: []byte("k"), To: 1000, After: make([]byte, after), Limit: 1,
		})
		require.ErrorContains(t, err, "which are no time")
	}
	require.NoError(t, b.Close(true))
	_, err := ofStore[store.Queryable](t, b, "s").Query(&store.Question{Kind: store.AskKey, Limit: 1})
	require.ErrorIs(t, err, store.ErrClosed)
}

func (b *bench) putOne(name string) (err error) {
	b.t.Helper()
	switch s, _ := b.Store(name); s := s.(type) {
	case *store.Window[string, int64]:
		err = s.Put("k", 1, 10)
	case *store.Session[string, int64]:
		err = s.Put("k", record.Window{Start: 10, End: 20}, 1)
	case *store.Versioned[string, int64]:
		_, err = s.Put("k", 1, 10)
	}
	return err
}
