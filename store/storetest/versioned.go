package storetest

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/store"
)

// VersionedStore is what RunVersioned drives: a store from strings to strings.
type VersionedStore = store.Versioned[string, string]

// RunVersioned compares a versioned store under random operations with maps of all versions ever put: reads as of any
// time, rollbacks, flushes, restores from the changelog, and reopening on data from before or behind the position that
// the changelog is read from, as a crash leaves them. spec makes a store of type [VersionedStore]; survives says that
// data do.
func RunVersioned(t *testing.T, open OpenSet, spec store.Spec, survives bool, seed uint64) {
	t.Helper()
	t.Logf("seed %d", seed)
	m := &versionedModel{
		t: t, open: open, spec: spec, survives: survives,
		rng:     rand.New(rand.NewPCG(seed, 2)), //nolint:gosec // repeatable
		history: spec.HistoryRetention.Milliseconds(), current: newVersions(), committed: newVersions(),
	}
	m.start(0)
	randomly(m.rng, 1500, []step{
		{60, m.put},
		{40, m.read},
		{1, m.all},
		{8, m.seal},
		{8, m.commit},
		{2, m.rollback},
		{2, m.flush},
		{1, m.reopen},
	})
	m.all()
	require.NoError(t, m.set.Close(true))
}

// versions is the state of the model: everything ever put; nil is a deletion.
type versions struct {
	observed int64
	byKey    map[string]map[int64]*string
}

func newVersions() versions { return versions{observed: -1, byKey: map[string]map[int64]*string{}} }

func (v versions) clone() versions {
	c := versions{observed: v.observed, byKey: make(map[string]map[int64]*string, len(v.byKey))}
	for k, at := range v.byKey {
		c.byKey[k] = maps.Clone(at)
	}
	return c
}

// around returns the times of the versions of k at or before t and behind it; -1 and ValidToOpen if there are none.
func (v versions) around(k string, t int64) (from, to int64) {
	from, to = -1, store.ValidToOpen
	for ts := range v.byKey[k] {
		if ts <= t {
			from = max(from, ts)
		} else {
			to = min(to, ts)
		}
	}
	return from, to
}

type versionedModel struct {
	t        *testing.T
	open     OpenSet
	spec     store.Spec
	survives bool
	rng      *rand.Rand
	history  int64

	set     *store.Set
	store   *VersionedStore
	context store.Context
	epoch   record.Epoch
	batch   record.Batch

	committed versions
	sealed    *versions
	current   versions
	log       []record.Raw // the changelog
	flushed   [2]int       // what of it the last flush had, and the one before
}

// start opens the store and replays the changelog from an offset.
func (m *versionedModel) start(from int) {
	m.set = m.open(m.t, []store.Spec{m.spec}, &m.context)
	m.store = m.find(m.set)
	m.replay(m.set, m.log[from:])
}

func (m *versionedModel) find(set *store.Set) *VersionedStore {
	s, ok := set.Store(m.spec.Name)
	require.True(m.t, ok)
	v, ok := s.(*VersionedStore)
	require.True(m.t, ok, "spec must make a *VersionedStore, not a %T", s)
	return v
}

func (m *versionedModel) replay(set *store.Set, log []record.Raw) {
	require.NoError(m.t, set.Replay(m.spec.Name, log))
	require.NoError(m.t, set.Replayed(m.checkpoint()))
}

func (m *versionedModel) checkpoint() store.Checkpoint {
	return store.Checkpoint{Epoch: m.epoch, Changelog: map[string]int64{m.spec.Name: int64(len(m.log))}}
}

// key returns one of a few keys, some of which begin with others.
func (m *versionedModel) key() string {
	return []string{"a", "a\x00", "a\x00\x00\x00\x00\x00\x00\x00\x00\x00", "aa", "b", "c", ""}[m.rng.IntN(7)]
}

// time returns one a little ahead of the observed time, or behind it by up to more than the history retention.
func (m *versionedModel) time() int64 {
	const ahead, behind = 8, 5
	t := m.current.observed + m.rng.Int64N(ahead)
	if m.rng.IntN(2) == 0 {
		t = m.current.observed - m.rng.Int64N(m.history+behind)
	}
	return max(0, t)
}

func (m *versionedModel) put() {
	k, ts := m.key(), m.time()
	var result store.PutResult
	var err error
	var value *string
	if m.rng.IntN(4) > 0 {
		v := fmt.Sprintf("%s@%d.%d", k, ts, m.rng.IntN(1000))
		value = &v
		result, err = m.store.Put(k, v, ts)
	} else {
		result, err = m.store.Delete(k, ts)
	}
	require.NoError(m.t, err)
	if ts < m.current.observed-m.history {
		require.Equal(m.t, store.PutResult{}, result)
		return
	}
	_, to := m.current.around(k, ts)
	require.Equal(m.t, store.PutResult{Stored: true, ValidTo: to}, result, "key %q at %d", k, ts)
	require.Equal(m.t, to != store.ValidToOpen, result.OutOfOrder())
	m.current.observed = max(m.current.observed, ts)
	if m.current.byKey[k] == nil {
		m.current.byKey[k] = map[int64]*string{}
	}
	m.current.byKey[k][ts] = value
}

func (m *versionedModel) read() { m.compare(m.store, m.key(), m.time()) }

func (m *versionedModel) compare(s *VersionedStore, k string, at int64) {
	v, found, err := s.GetAsOf(k, at)
	require.NoError(m.t, err)
	from, to := m.current.around(k, at)
	value := m.current.byKey[k][from]
	if value == nil || at < m.current.observed-m.history && to != store.ValidToOpen {
		require.False(m.t, found, "key %q at %d: %v, observed %d", k, at, v, m.current.observed)
		return
	}
	require.True(m.t, found, "key %q at %d, observed %d", k, at, m.current.observed)
	require.Equal(m.t, store.Version[string]{Value: *value, ValidFrom: from, ValidTo: to}, v, "key %q at %d", k, at)
}

func (m *versionedModel) all() { m.compareAll(m.store) }

// compareAll compares the latest values, and all times that can be asked for.
func (m *versionedModel) compareAll(s *VersionedStore) {
	want := map[string]stamped{}
	for k, at := range m.current.byKey {
		last := slices.Max(slices.Collect(maps.Keys(at)))
		v, ts, found, err := s.GetWithTimestamp(k)
		require.NoError(m.t, err)
		require.Equal(m.t, at[last] != nil, found)
		if found {
			want[k] = stamped{*at[last], last}
			got := stamped{v, ts}
			require.Equal(m.t, want[k], got)
		}
		for t := max(0, m.current.observed-m.history-2); t <= m.current.observed+1; t++ {
			m.compare(s, k, t)
		}
	}
	got := map[string]stamped{}
	for e, err := range s.All() {
		require.NoError(m.t, err)
		got[e.Key] = stamped{e.Value, e.Timestamp}
	}
	require.Equal(m.t, want, got)
}

func (m *versionedModel) seal() {
	if m.sealed != nil {
		return
	}
	m.epoch++
	require.NoError(m.t, m.set.Seal(m.epoch, func(string) *record.Batch { return &m.batch }))
	sealed := m.current.clone()
	m.sealed = &sealed
}

func (m *versionedModel) commit() {
	if m.sealed == nil {
		return
	}
	m.log = appendBatch(m.log, &m.batch)
	require.NoError(m.t, m.set.Commit(m.checkpoint()))
	m.batch.Reset()
	m.committed, m.sealed = *m.sealed, nil
}

func (m *versionedModel) rollback() {
	require.NoError(m.t, m.set.Rollback())
	m.batch.Reset()
	m.sealed, m.current = nil, m.committed.clone()
}

func (m *versionedModel) flush() {
	require.NoError(m.t, m.set.Flush(m.t.Context()))
	if m.flushed[0] != len(m.log) {
		m.flushed = [2]int{len(m.log), m.flushed[0]}
	}
	m.all()
}

// reopen loses what is not committed. With data that survive, the changelog is read from where a flush before ended:
// the last one wrote everything but its checkpoint.
func (m *versionedModel) reopen() {
	m.rollback()
	from := 0
	if m.survives {
		m.flush()
		require.NoError(m.t, m.set.Close(false))
		from = m.flushed[m.rng.IntN(2)]
	} else {
		require.NoError(m.t, m.set.Close(true))
	}
	m.start(from)
	m.all()
	m.compacted()
}

// compacted restores from what compaction leaves of a changelog at the least: the latest version of each key.
func (m *versionedModel) compacted() {
	last := map[string]record.Raw{}
	for _, r := range m.log {
		last[string(r.Key)] = r
	}
	log := slices.SortedFunc(maps.Values(last), func(a, b record.Raw) int { return int(a.Offset - b.Offset) })
	spec := m.spec
	spec.InMemory = true
	set, err := store.OpenSet(m.t.Context(), store.SetConfig{Specs: []store.Spec{spec}})
	require.NoError(m.t, err)
	defer func() { require.NoError(m.t, set.Close(false)) }()
	m.replay(set, log)
	restored := m.find(set)
	for k, at := range m.current.byKey {
		ts := slices.Max(slices.Collect(maps.Keys(at)))
		v, got, found, err := restored.GetWithTimestamp(k)
		require.NoError(m.t, err)
		require.Equal(m.t, at[ts] != nil, found, "key %q", k)
		if found {
			require.Equal(m.t, stamped{strings.Clone(*at[ts]), ts}, stamped{v, got})
		}
	}
}
