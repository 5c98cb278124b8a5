package storetest

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/store"
)

// Timed is what RunWindow and RunSession work with.
type Timed struct {
	// Open opens a set with these stores on the data of the last one, if that survives.
	Open OpenSet
	// Fresh opens a set with these stores on no data.
	Fresh OpenSet
	// Crash makes the next Open find the data as a killed process would leave it now. Nil: nothing survives.
	Crash func(t *testing.T)
	// InMemory and CachingEnabled are those of the spec.
	InMemory, CachingEnabled bool
	Seed                     uint64
}

// timedKey names a row: the start of a window, or the end of a session, and what tells rows of one time apart.
type timedKey struct {
	key        string
	time, more int64
}

type timedRow struct {
	timedKey
	stamped
}

// timedStore is a window or session store behind the operations that they have in common.
type timedStore struct {
	put    func(at timedKey, v string) error
	remove func(at timedKey) error
	get    func(at timedKey) (stamped, bool, error)
	// update is nil for sessions and duplicates.
	update func(at timedKey, v stamped, drop bool) (old stamped, found, stored bool, err error)
	ofKey  func(key string, from, to int64, reverse bool) ([]timedRow, error)
	all    func(from, to int64, reverse bool) ([]timedRow, error)
	byTime func(from, to int64) ([]timedRow, error)
	// observed is the greatest time ever put.
	observed func() int64
}

// timedKind is what the model knows of a kind of store.
type timedKind struct {
	spec       store.Spec
	retention  int64
	grid       int64 // 0: any time
	more       bool  // in the order by time
	duplicates bool
	bind       func(s store.Store) timedStore
	// moreOf chooses what tells rows of one time apart.
	moreOf func(m *timedModel, time int64) int64
}

// timedState is what an epoch changes.
type timedState struct {
	rows     map[timedKey]stamped
	observed int64
	number   int64
}

func (s timedState) clone() timedState {
	s.rows = maps.Clone(s.rows)
	return s
}

// timedModel compares a store of rows that expire with a map.
type timedModel struct {
	t    *testing.T
	with Timed
	kind timedKind
	rng  *rand.Rand
	now  int64 // around which times are drawn

	set     *store.Set
	st      timedStore
	context store.Context
	epoch   record.Epoch
	batch   record.Batch
	log     []record.Raw // of committed epochs

	committed, current timedState
	sealed             *timedState
}

// timedKeys begin with one another, and one looks as if a time followed the other.
func timedKeys() []string {
	return []string{
		"", "a", "ab", "a\x00", "b", "a\x00\x00\x00\x00\x00\x01\x86\xa0", "a\x00\x00\x00\x00\x00\x00\x00\x00",
		"longer than sixteen bytes",
	}
}

const timedSteps = 1500

func runTimed(t *testing.T, with Timed, kind timedKind) {
	t.Helper()
	t.Logf("seed %d", with.Seed)
	kind.spec.InMemory, kind.spec.CachingEnabled = with.InMemory, with.CachingEnabled
	m := &timedModel{
		t: t, with: with, kind: kind, rng: rand.New(rand.NewPCG(with.Seed, 2)), //nolint:gosec // repeatable
		current: timedState{rows: map[timedKey]stamped{}, observed: -1, number: -1},
	}
	m.committed = m.current.clone()
	m.open(with.Open)
	m.run(timedSteps)
	m.compareAll()
	m.restored()
	require.NoError(t, m.set.Close(true))
}

func (m *timedModel) run(steps int) {
	randomly(m.rng, steps, []step{
		{40, m.put},
		{8, m.remove},
		{20, m.get},
		{10, m.update},
		{8, m.ofKey},
		{5, m.all},
		{5, m.byTime},
		{3, m.pass},
		{6, m.seal},
		{6, m.commit},
		{2, m.rollback},
		{1, m.flush},
		{1, m.reopen},
	})
}

// open opens the store and replays what the set does not have.
func (m *timedModel) open(with OpenSet) {
	m.set = with(m.t, []store.Spec{m.kind.spec}, &m.context)
	name := m.kind.spec.Name
	c, _ := m.set.Checkpoint()
	if at := c.Changelog[name]; at < int64(len(m.log)) {
		require.NoError(m.t, m.set.Replay(name, m.log[at:]))
		require.NoError(m.t, m.set.Replayed(m.checkpoint()))
	}
	s, ok := m.set.Store(name)
	require.True(m.t, ok)
	m.st = m.kind.bind(s)
}

func (m *timedModel) checkpoint() store.Checkpoint {
	return store.Checkpoint{Epoch: m.epoch, Changelog: map[string]int64{m.kind.spec.Name: int64(len(m.log))}}
}

// time draws one near now, sometimes one that has expired, or one at its edge.
func (m *timedModel) time() int64 {
	t := m.now - m.rng.Int64N(m.kind.retention+m.kind.retention/8)
	if m.rng.IntN(8) == 0 {
		t = m.current.observed - m.kind.retention + m.rng.Int64N(3) - 1
	}
	if m.kind.grid > 0 {
		t = t / m.kind.grid * m.kind.grid
	}
	return max(0, t)
}

func (m *timedModel) at() timedKey {
	keys := timedKeys()
	at := timedKey{key: keys[m.rng.IntN(len(keys))], time: m.time()}
	at.more = m.kind.moreOf(m, at.time)
	return at
}

// known draws a row that was put, most of the time.
func (m *timedModel) known() timedKey {
	if m.rng.IntN(4) > 0 {
		for at := range m.current.rows { // any will do: what follows does not depend on which
			return at
		}
	}
	return m.at()
}

func (m *timedModel) value() string {
	m.context.Timestamp = m.rng.Int64N(1 << 40)
	return fmt.Sprintf("%d.%d", m.epoch, m.rng.IntN(1000))
}

func (m *timedModel) expired(t int64) bool { return t <= m.current.observed-m.kind.retention }

func (m *timedModel) put() {
	at, v := m.at(), m.value()
	require.NoError(m.t, m.st.put(at, v))
	if m.kind.duplicates {
		m.current.number++
		at.more = m.current.number
	}
	m.current.observed = max(m.current.observed, at.time)
	if !m.expired(at.time) {
		m.current.rows[at] = stamped{v, m.context.Timestamp}
	}
}

func (m *timedModel) remove() {
	at := m.known()
	require.NoError(m.t, m.st.remove(at))
	if m.kind.duplicates {
		return
	}
	m.current.observed = max(m.current.observed, at.time)
	if !m.expired(at.time) {
		delete(m.current.rows, at)
	}
}

// visible returns a row if it is there and has not expired.
func (m *timedModel) visible(at timedKey) (stamped, bool) {
	v, ok := m.current.rows[at]
	if !ok || m.expired(at.time) {
		return stamped{}, false
	}
	return v, true
}

func (m *timedModel) get() {
	if m.kind.duplicates {
		return
	}
	at := m.known()
	v, found, err := m.st.get(at)
	require.NoError(m.t, err)
	want, ok := m.visible(at)
	require.Equal(m.t, ok, found, "%+v", at)
	require.Equal(m.t, want, v, "%+v", at)
}

func (m *timedModel) update() {
	if m.st.update == nil {
		return
	}
	at, v, drop := m.known(), m.value(), m.rng.IntN(5) == 0
	m.current.observed = max(m.current.observed, at.time)
	want, ok := m.visible(at)
	next := stamped{v, m.context.Timestamp}
	old, found, stored, err := m.st.update(at, next, drop)
	require.NoError(m.t, err)
	require.Equal(m.t, !m.expired(at.time), stored, "%+v", at)
	if !stored {
		return
	}
	require.Equal(m.t, ok, found)
	require.Equal(m.t, want, old)
	m.current.rows[at] = next
	if drop {
		delete(m.current.rows, at)
	}
}

// rows are those that hold, in an order.
func (m *timedModel) rows(order func(a, b timedRow) int, holds func(at timedKey) bool) []timedRow {
	var rows []timedRow
	for at := range m.current.rows {
		if v, ok := m.visible(at); ok && holds(at) {
			rows = append(rows, timedRow{at, v})
		}
	}
	slices.SortFunc(rows, order)
	return rows
}

func byTimeAndMore(a, b timedRow) int {
	if a.time != b.time {
		return int(a.time - b.time)
	}
	return int(a.more - b.more)
}

// byTimeAndKey is the order of FetchByStart and its like: by the bytes behind the time.
func (m *timedModel) byTimeAndKey(a, b timedRow) int {
	if a.time != b.time {
		return int(a.time - b.time)
	}
	behind := func(r timedRow) string {
		if !m.kind.more {
			return r.key
		}
		return string(binary.BigEndian.AppendUint64([]byte(r.key), uint64(r.more)))
	}
	switch x, y := behind(a), behind(b); {
	case x < y:
		return -1
	case x > y:
		return 1
	}
	return 0
}

func (m *timedModel) bounds() (from, to int64) {
	from, to = m.time(), m.time()
	if m.rng.IntN(4) == 0 {
		from, to = -1, 1<<50
	}
	return min(from, to), max(from, to)
}

func (m *timedModel) equal(want, got []timedRow, err error, what string, from, to int64) {
	m.t.Helper()
	require.NoError(m.t, err)
	if m.kind.duplicates { // the store does not show its numbers
		for i := range want {
			want[i].more = 0
		}
	}
	require.Len(m.t, got, len(want), "%s from %d to %d: %v / %v", what, from, to, want, got)
	for i := range want {
		require.Equal(m.t, want[i], got[i], "%s from %d to %d, row %d", what, from, to, i)
	}
}

func (m *timedModel) ofKey() {
	key, reverse := m.at().key, m.rng.IntN(2) == 0
	from, to := m.bounds()
	want := m.rows(byTimeAndMore, func(at timedKey) bool { return at.key == key && at.time >= from && at.time <= to })
	if reverse {
		slices.Reverse(want)
	}
	got, err := m.st.ofKey(key, from, to, reverse)
	m.equal(want, got, err, "key", from, to)
}

func (m *timedModel) all() {
	from, to := m.bounds()
	reverse := m.rng.IntN(2) == 0
	want := m.rows(m.byTimeAndKey, func(at timedKey) bool { return at.time >= from && at.time <= to })
	got, err := m.st.all(from, to, reverse)
	switch {
	case m.kind.grid == 0: // rows lie by segments: what matters is that they are all there
		if m.kind.duplicates {
			slices.SortFunc(want, m.byTimeKeyAndValue)
			slices.SortFunc(got, m.byTimeKeyAndValue)
		} else {
			slices.SortFunc(got, m.byTimeAndKey)
		}
	case reverse:
		slices.Reverse(want)
	}
	m.equal(want, got, err, "all", from, to)
}

func (m *timedModel) byTimeKeyAndValue(a, b timedRow) int {
	a.key, b.key = fmt.Sprint(a.key, "|", a.value, a.timestamp), fmt.Sprint(b.key, "|", b.value, b.timestamp)
	a.more, b.more = 0, 0
	return m.byTimeAndKey(a, b)
}

func (m *timedModel) byTime() {
	if m.st.byTime == nil {
		return
	}
	from, to := m.bounds()
	want := m.rows(m.byTimeAndKey, func(at timedKey) bool { return at.time >= from && at.time <= to })
	got, err := m.st.byTime(from, to)
	m.equal(want, got, err, "by time", from, to)
}

// pass lets time pass, now and then so much that all rows expire.
func (m *timedModel) pass() {
	m.now += m.rng.Int64N(m.kind.retention / 10)
	if m.rng.IntN(20) == 0 {
		m.now += 3 * m.kind.retention
	}
}

func (m *timedModel) seal() {
	if m.sealed != nil {
		return
	}
	m.epoch++
	require.NoError(m.t, m.set.FlushCaches())
	require.NoError(m.t, m.set.Seal(m.epoch, func(string) *record.Batch { return &m.batch }))
	state := m.current.clone()
	m.sealed = &state
}

func (m *timedModel) commit() {
	if m.sealed == nil {
		return
	}
	m.log = appendBatch(m.log, &m.batch)
	require.NoError(m.t, m.set.Commit(m.checkpoint()))
	m.batch.Reset()
	m.committed, m.sealed = *m.sealed, nil
}

func (m *timedModel) rollback() {
	require.NoError(m.t, m.set.Rollback())
	m.dropped()
}

func (m *timedModel) dropped() {
	m.batch.Reset()
	m.sealed, m.current = nil, m.committed.clone()
	require.Equal(m.t, m.current.observed, m.st.observed())
}

func (m *timedModel) flush() {
	require.NoError(m.t, m.set.Flush(m.t.Context()))
	m.compareAll()
}

// reopen closes the store, or kills it, and restores it.
func (m *timedModel) reopen() {
	clean := m.rng.IntN(2) == 0
	if !clean && m.with.Crash != nil {
		m.with.Crash(m.t)
	}
	require.NoError(m.t, m.set.Close(clean))
	_, _, err := m.st.get(timedKey{key: "a", time: m.now})
	require.ErrorIs(m.t, err, store.ErrClosed)
	require.ErrorIs(m.t, m.st.put(timedKey{key: "a"}, "v"), store.ErrClosed)
	m.open(m.with.Open)
	m.dropped()
	m.compareAll()
}

// restored makes the store from its changelog alone.
func (m *timedModel) restored() {
	before, st := m.set, m.st
	m.open(m.with.Fresh)
	now := m.current
	m.current = m.committed.clone()
	m.compareAll()
	require.NoError(m.t, m.set.Close(false))
	m.set, m.st, m.current = before, st, now
}

func (m *timedModel) compareAll() {
	for _, key := range timedKeys() {
		want := m.rows(byTimeAndMore, func(at timedKey) bool { return at.key == key })
		got, err := m.st.ofKey(key, 0, 1<<50, false)
		m.equal(want, got, err, "key", 0, 1<<50)
	}
	m.all()
	m.byTime()
}

const timedRetention = 5 * time.Minute
