package store_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/store"
)

type (
	textBuffer = store.TimeOrdered[string, string]
	textEntry  = store.TimeOrderedEntry[string, string]
)

func ordered(c store.TimeOrderedConfig) store.Spec {
	return store.TimeOrderedSpec("o", serde.String, serde.String, c)
}

// evict returns what leaves the buffer up to a time, and no more than most entries.
func evict(t *testing.T, s *textBuffer, upTo int64, most int) (got []string) {
	t.Helper()
	require.NoError(t, s.EvictWhile(func(at int64) bool { return at <= upTo && len(got) < most }, func(e textEntry) error {
		got = append(got, shownEntry(e))
		return nil
	}))
	return got
}

func shownEntry(e textEntry) string {
	return fmt.Sprintf("%d:%s=%s@%d", e.Time, e.Key, e.Value, e.Timestamp)
}

func TestTimeOrderedKeepsPlaces(t *testing.T) {
	t.Parallel()
	b := newBench(t, ordered(store.TimeOrderedConfig{CountBytes: true}))
	s := ofStore[*textBuffer](t, b, "o")
	put := func(k string, at int64, v string) { require.NoError(t, s.Put(k, at, v, 100+at)) }
	put("b", 5, "1")
	put("a", 5, "22")
	put("c", 3, "3")
	put("b", 9, "444") // stays at 5
	put("d", 7, "")
	require.Equal(t, int64(4), s.Len())
	require.Equal(t, int64(4+2+3+1), s.Bytes())
	v, timestamp, found, err := s.Get("b", 0)
	require.NoError(t, err)
	require.True(t, found)
	require.Equal(t, "444@109", fmt.Sprintf("%s@%d", v, timestamp))
	first, found, err := s.FirstTime()
	require.NoError(t, err)
	require.True(t, found)
	require.Equal(t, int64(3), first)
	require.Equal(t, []string{"3:c=3@103", "5:a=22@105"}, evict(t, s, 6, 2))
	require.Equal(t, []string{"5:b=444@109"}, evict(t, s, 6, 9))
	put("b", 1, "again") // at a new place
	require.Equal(t, []string{"1:b=again@101", "7:d=@107"}, evict(t, s, 100, 9))
	_, found, err = s.FirstTime()
	require.NoError(t, err)
	require.False(t, found)
	require.Zero(t, s.Len()+s.Bytes())
	_, _, found, err = s.Get("b", 0)
	require.NoError(t, err)
	require.False(t, found)

	require.ErrorContains(t, s.Put("x", -1, "", 0), "negative time -1")
	_, err = s.Clock("bytes")
	require.ErrorContains(t, err, "the store's own")
}

func TestTimeOrderedEvictionsThatFail(t *testing.T) {
	t.Parallel()
	b := newBench(t, ordered(store.TimeOrderedConfig{}))
	s := ofStore[*textBuffer](t, b, "o")
	for i, k := range []string{"a", "b", "c"} {
		require.NoError(t, s.Put(k, int64(i), k, 0))
	}
	always := func(int64) bool { return true }
	err := s.EvictWhile(always, func(e textEntry) error { return fmt.Errorf("cannot emit %s", e.Key) })
	require.EqualError(t, err, "cannot emit a")
	require.Equal(t, int64(2), s.Len(), "it is gone all the same")
	require.Equal(t, []string{"1:b=b@0", "2:c=c@0"}, evict(t, s, 9, 9))
}

// TestTimeOrderedModel compares with a slice, through commits, rollbacks, flushes, restarts and restores.
func TestTimeOrderedModel(t *testing.T) {
	t.Parallel()
	for seed := range uint64(6) {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			t.Parallel()
			m := &orderedModel{t: t, rnd: rand.New(rand.NewPCG(seed, 1)), spec: ordered(store.TimeOrderedConfig{
				TimeFromKey: seed%2 == 1, CountBytes: true,
			}), timeFromKey: seed%2 == 1}
			m.bench = newBench(t, m.spec)
			for range 300 {
				m.step()
				m.compare()
			}
		})
	}
}

type orderedModel struct {
	t           *testing.T
	rnd         *rand.Rand
	spec        store.Spec
	timeFromKey bool
	bench       *bench
	now         []textEntry // by time and key
	committed   []textEntry
	changelog   []record.Raw
}

func (m *orderedModel) step() {
	s := ofStore[*textBuffer](m.t, m.bench, "o")
	switch n := m.rnd.IntN(20); {
	case n < 11:
		e := textEntry{Key: fmt.Sprint("k", m.rnd.IntN(12)), Time: m.rnd.Int64N(20), Timestamp: m.rnd.Int64N(99)}
		e.Value = strings.Repeat("v", m.rnd.IntN(9))
		if m.timeFromKey {
			e.Time = int64(e.Key[1])
		}
		require.NoError(m.t, s.Put(e.Key, e.Time, e.Value, e.Timestamp))
		m.put(e)
	case n < 15:
		most := m.rnd.IntN(4)
		var want []string
		for range min(most, len(m.now)) {
			want = append(want, shownEntry(m.now[0]))
			m.now = m.now[1:]
		}
		require.Equal(m.t, want, evict(m.t, s, 1000, most))
	case n < 17:
		m.bench.commit()
		m.committed = slices.Clone(m.now)
		rows := m.bench.batches["o"]
		for i := range rows.Len() {
			r := rows.At(i)
			m.changelog = append(m.changelog, record.Raw{
				Key: slices.Clone(r.Key), Value: cloneOrNil(r.Value), Timestamp: r.Timestamp,
			})
		}
	case n < 18:
		require.NoError(m.t, m.bench.Rollback())
		m.now = slices.Clone(m.committed)
	case n < 19:
		require.NoError(m.t, m.bench.Flush(m.t.Context()))
	default:
		m.restart()
	}
}

// restart goes on with what is on disk, or with nothing but the changelog.
func (m *orderedModel) restart() {
	m.now = slices.Clone(m.committed)
	if m.rnd.IntN(2) == 0 {
		require.NoError(m.t, m.bench.Rollback())
		require.NoError(m.t, m.bench.Close(true))
		m.bench.reopen(m.spec)
		return
	}
	m.bench = newBench(m.t, m.spec)
	require.NoError(m.t, m.bench.Replay("o", m.changelog))
	require.NoError(m.t, m.bench.Replayed(store.Checkpoint{}))
}

func (m *orderedModel) put(e textEntry) {
	if i := slices.IndexFunc(m.now, func(o textEntry) bool { return o.Key == e.Key }); i >= 0 {
		e.Time = m.now[i].Time
		m.now[i] = e
		return
	}
	m.now = append(slices.Clone(m.now), e)
	slices.SortFunc(m.now, func(a, b textEntry) int {
		return strings.Compare(fmt.Sprintf("%08d%s", a.Time, a.Key), fmt.Sprintf("%08d%s", b.Time, b.Key))
	})
}

func (m *orderedModel) compare() {
	s := ofStore[*textBuffer](m.t, m.bench, "o")
	size := 0
	for _, e := range m.now {
		size += len(e.Key) + len(e.Value)
	}
	require.Equal(m.t, int64(len(m.now)), s.Len())
	require.Equal(m.t, int64(size), s.Bytes())
	first, found, err := s.FirstTime()
	require.NoError(m.t, err)
	require.Equal(m.t, len(m.now) > 0, found)
	if found {
		require.Equal(m.t, m.now[0].Time, first)
	}
}

func cloneOrNil(b []byte) []byte {
	if b == nil {
		return nil
	}
	return append([]byte{}, b...)
}

// TestTimeOrderedGolden pins the rows in the changelog (docs/format/suppress-buffer.md).
func TestTimeOrderedGolden(t *testing.T) {
	t.Parallel()
	b := newBench(t, ordered(store.TimeOrderedConfig{CountBytes: true}))
	require.NoError(t, ofStore[*textBuffer](t, b, "o").Put("k", 258, "vw", 7))
	b.seal()
	var rows []string
	for i := range b.batches["o"].Len() {
		r := b.batches["o"].At(i)
		rows = append(rows, fmt.Sprintf("%s → %x @%d", fmt.Sprintf("%q", r.Key), r.Value, r.Timestamp))
	}
	require.Equal(t, []string{
		`"\x00bytes" → 0000000000000003 @3`,
		`"\x00records" → 0000000000000001 @1`,
		`"\x01\x00\x00\x00\x00\x00\x00\x01\x02k" → 037677 @7`,
		`"\x02k" → 0000000000000102 @7`,
	}, rows)
}
