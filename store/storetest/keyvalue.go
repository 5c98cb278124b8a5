package storetest

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/store"
)

// OpenSet opens a set with these stores on the same data as the last one.
type OpenSet func(t *testing.T, specs []store.Spec, context *store.Context) *store.Set

// KeyValueStore is what RunKeyValue drives: a store from strings to strings.
type KeyValueStore = store.KeyValue[string, string]

// RunKeyValue compares a key-value store under random operations with a map, including changelog batches, rollbacks,
// flushes and, if the data survives, clean reopening. spec makes a store of type [KeyValueStore].
func RunKeyValue(t *testing.T, open OpenSet, spec store.Spec, survives bool, seed uint64) {
	t.Helper()
	t.Logf("seed %d", seed)
	m := &kvModel{
		t: t, open: open, spec: spec, survives: survives,
		rng:       rand.New(rand.NewPCG(seed, 1)), //nolint:gosec // repeatable
		committed: map[string]stamped{}, current: map[string]stamped{}, mirror: map[string]stamped{},
		keys: 40,
	}
	if seed%2 == 0 {
		m.keys = 2000
	}
	m.start()
	randomly(m.rng, 4000, []step{
		{40, m.put},
		{10, m.remove},
		{30, m.get},
		{10, m.update},
		{5, m.putIfAbsent},
		{6, m.scan},
		{2, m.scanAndWrite},
		{6, m.seal},
		{6, m.commit},
		{2, m.rollback},
		{1, m.flush},
		{1, m.reopen},
	})
	m.scanAll()
	require.NoError(t, m.set.Close(true))
}

type stamped struct {
	value     string
	timestamp int64
}

type kvModel struct {
	t        *testing.T
	open     OpenSet
	spec     store.Spec
	survives bool
	rng      *rand.Rand
	keys     int

	set     *store.Set
	kv      *KeyValueStore
	context store.Context
	epoch   record.Epoch
	batch   record.Batch

	committed map[string]stamped // as of the last commit
	sealed    map[string]stamped // with the sealed epoch; nil if there is none
	current   map[string]stamped // with everything
	mirror    map[string]stamped // what the changelog batches of committed epochs make
}

func (m *kvModel) start() {
	m.set = m.open(m.t, []store.Spec{m.spec}, &m.context)
	s, ok := m.set.Store(m.spec.Name)
	require.True(m.t, ok)
	m.kv, ok = s.(*KeyValueStore)
	require.True(m.t, ok, "spec must make a *KeyValueStore, not a %T", s)
}

func (m *kvModel) key() string { return fmt.Sprintf("key-%05d", m.rng.IntN(m.keys)) }

func (m *kvModel) value() stamped {
	m.context.Timestamp = m.rng.Int64N(1 << 40)
	v := fmt.Sprintf("%d.%0*d", m.epoch, m.rng.IntN(30), m.rng.IntN(1000))
	if m.rng.IntN(20) == 0 {
		v = ""
	}
	return stamped{value: v, timestamp: m.context.Timestamp}
}

func (m *kvModel) put() {
	k, v := m.key(), m.value()
	require.NoError(m.t, m.kv.Put(k, v.value))
	m.current[k] = v
}

func (m *kvModel) remove() {
	k := m.key()
	require.NoError(m.t, m.kv.Delete(k))
	delete(m.current, k)
}

func (m *kvModel) get() {
	k := m.key()
	v, ts, found, err := m.kv.GetWithTimestamp(k)
	require.NoError(m.t, err)
	want, ok := m.current[k]
	require.Equal(m.t, ok, found, "key %s", k)
	require.Equal(m.t, want, stamped{v, ts}, "key %s", k)
}

func (m *kvModel) update() {
	k, v := m.key(), m.value()
	want, ok := m.current[k]
	drop := m.rng.IntN(5) == 0
	other := ""
	require.NoError(m.t, m.kv.Update(k, nil, func(old string, ts int64, exists bool) (string, int64, bool) {
		require.Equal(m.t, ok, exists)
		require.Equal(m.t, want, stamped{old, ts})
		if m.rng.IntN(3) == 0 { // using the store inside is allowed
			other = m.key()
			require.NoError(m.t, m.kv.Put(other, "inner"))
		}
		return v.value, v.timestamp, !drop
	}))
	if other != "" {
		m.current[other] = stamped{"inner", m.context.Timestamp}
	}
	m.current[k] = v
	if drop {
		delete(m.current, k)
	}
}

func (m *kvModel) putIfAbsent() {
	k, v := m.key(), m.value()
	old, found, err := m.kv.PutIfAbsent(k, v.value)
	require.NoError(m.t, err)
	want, ok := m.current[k]
	require.Equal(m.t, ok, found)
	if ok {
		require.Equal(m.t, want.value, old)
		return
	}
	m.current[k] = v
}

func (m *kvModel) scan() {
	lo, hi := m.key(), m.key()
	reverse := m.rng.IntN(2) == 0
	limit := -1
	if m.rng.IntN(3) == 0 {
		limit = m.rng.IntN(10) // leaving the loop must release everything
	}
	var want []string
	for _, k := range slices.Sorted(maps.Keys(m.current)) {
		if k >= lo && k <= hi {
			want = append(want, k+"="+m.current[k].value)
		}
	}
	seq := m.kv.Range(lo, hi)
	if reverse {
		slices.Reverse(want)
		seq = m.kv.ReverseRange(lo, hi)
	}
	var got []string
	for e, err := range seq {
		if limit >= 0 && len(got) == limit {
			break
		}
		require.NoError(m.t, err)
		require.Equal(m.t, m.current[e.Key].timestamp, e.Timestamp)
		got = append(got, e.Key+"="+e.Value)
	}
	if limit >= 0 && len(want) > limit {
		want = want[:limit]
	}
	require.Len(m.t, got, len(want), "range %s %s reverse=%t: %v / %v", lo, hi, reverse, want, got)
	for i := range want {
		require.Equal(m.t, want[i], got[i])
	}
}

// scanAndWrite modifies the store in the loop: writes ahead of the position are seen.
func (m *kvModel) scanAndWrite() {
	last := ""
	for e, err := range m.kv.All() {
		require.NoError(m.t, err)
		require.Greater(m.t, e.Key, last)
		got := stamped{e.Value, e.Timestamp}
		require.Equal(m.t, m.current[e.Key], got, "key %s", e.Key)
		for k := range m.current {
			require.False(m.t, k > last && k < e.Key, "scan went from %q to %q over %q", last, e.Key, k)
			if m.keys > 100 {
				break
			}
		}
		last = e.Key
		switch m.rng.IntN(8) {
		case 0:
			m.put()
		case 1:
			m.remove()
		case 2:
			m.get()
		}
	}
}

func (m *kvModel) scanAll() {
	got := map[string]stamped{}
	for e, err := range m.kv.All() {
		require.NoError(m.t, err)
		got[e.Key] = stamped{e.Value, e.Timestamp}
	}
	require.Equal(m.t, m.current, got)
}

func (m *kvModel) seal() {
	if m.sealed != nil {
		return
	}
	m.epoch++
	require.NoError(m.t, m.set.FlushCaches())
	require.NoError(m.t, m.set.Seal(m.epoch, func(string) *record.Batch { return &m.batch }))
	m.sealed = maps.Clone(m.current)
}

func (m *kvModel) commit() {
	if m.sealed == nil {
		return
	}
	for i := range m.batch.Len() {
		r := m.batch.At(i)
		if r.Value == nil {
			delete(m.mirror, string(r.Key))
		} else {
			m.mirror[string(r.Key)] = stamped{string(r.Value), r.Timestamp}
		}
	}
	require.Equal(m.t, m.sealed, m.mirror, "the changelog makes the committed state")
	require.NoError(m.t, m.set.Commit(store.Checkpoint{
		Epoch: m.epoch, Changelog: map[string]int64{m.spec.Name: int64(m.epoch)},
	}))
	m.batch.Reset()
	m.committed, m.sealed = m.sealed, nil
}

func (m *kvModel) rollback() {
	require.NoError(m.t, m.set.Rollback())
	m.batch.Reset()
	m.sealed, m.current = nil, maps.Clone(m.committed)
}

func (m *kvModel) flush() {
	require.NoError(m.t, m.set.Flush(m.t.Context()))
	m.scanAll()
}

// reopen loses what is not committed, and, with a set that survives, nothing else.
func (m *kvModel) reopen() {
	if !m.survives {
		return
	}
	require.NoError(m.t, m.set.Close(true))
	m.batch.Reset()
	m.start()
	m.sealed, m.current = nil, maps.Clone(m.committed)
	if c, ok := m.set.Checkpoint(); ok {
		require.LessOrEqual(m.t, c.Epoch, m.epoch)
	}
	m.epoch = max(m.epoch, 1)
	m.scanAll()
}
