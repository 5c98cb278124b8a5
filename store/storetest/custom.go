package storetest

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/store"
)

// Custom is a store of yours for RunCustom.
type Custom struct {
	Spec store.Spec
	// Write makes a random change.
	Write func(s store.Store, rng *rand.Rand) error
	// Dump shows the whole content: equal for stores that answer all reads alike.
	Dump func(s store.Store) string
	Seed uint64
}

// RunCustom checks what store.CustomSpec asks of a store: that epochs commit and roll back as a whole, and that the
// changelog, also a compacted one, makes the committed state.
func RunCustom(t *testing.T, c Custom) {
	t.Helper()
	t.Logf("seed %d", c.Seed)
	m := &customModel{t: t, Custom: c, rng: rand.New(rand.NewPCG(c.Seed, 4))} //nolint:gosec // repeatable
	m.set, m.st = m.open()
	m.committed = c.Dump(m.st)
	randomly(m.rng, 400, []step{{12, m.write}, {3, m.seal}, {3, m.commit}, {2, m.rollback}})
	m.seal()
	m.commit()
	m.rollback()
	require.NoError(t, m.set.Close(true))
}

type customModel struct {
	Custom

	t         *testing.T
	rng       *rand.Rand
	set       *store.Set
	st        store.Store
	epoch     record.Epoch
	batch     record.Batch
	isSealed  bool
	sealed    string // dump of the sealed epoch
	committed string
	log       []record.Raw
}

func (m *customModel) open() (*store.Set, store.Store) {
	set, err := store.OpenSet(m.t.Context(), store.SetConfig{Specs: []store.Spec{m.Spec}, CachingEnabled: true})
	require.NoError(m.t, err)
	s, ok := set.Store(m.Spec.Name)
	require.True(m.t, ok)
	require.Equal(m.t, m.Spec.Name, s.Name())
	return set, s
}

func (m *customModel) write() { require.NoError(m.t, m.Write(m.st, m.rng)) }

func (m *customModel) seal() {
	if m.isSealed {
		return
	}
	m.epoch++
	require.NoError(m.t, m.set.FlushCaches())
	m.sealed = m.Dump(m.st)
	require.NoError(m.t, m.set.Seal(m.epoch, func(string) *record.Batch { return &m.batch }))
	require.Equal(m.t, m.sealed, m.Dump(m.st), "sealing changes nothing that can be read")
	m.isSealed = true
}

func (m *customModel) commit() {
	if !m.isSealed {
		return
	}
	for i := range m.batch.Len() {
		require.NotNil(m.t, m.batch.At(i).Key, "a changelog is compacted by key")
	}
	m.log = appendBatch(m.log, &m.batch)
	now := m.Dump(m.st)
	require.NoError(m.t, m.set.Commit(store.Checkpoint{Epoch: m.epoch}))
	require.Equal(m.t, now, m.Dump(m.st), "a commit takes nothing from the next epoch")
	m.batch.Reset()
	m.committed, m.isSealed = m.sealed, false
	m.restored(m.log, "the changelog makes the committed state")
	m.restored(compacted(m.log), "a compacted changelog makes the committed state")
}

// compacted keeps the last record of each key.
func compacted(log []record.Raw) (rest []record.Raw) {
	last := make(map[string]int)
	for i := range log {
		last[string(log[i].Key)] = i
	}
	for i := range log {
		if last[string(log[i].Key)] == i {
			rest = append(rest, log[i])
		}
	}
	return rest
}

func (m *customModel) restored(log []record.Raw, what string) {
	set, s := m.open()
	require.NoError(m.t, set.Replay(m.Spec.Name, log))
	require.Equal(m.t, m.committed, m.Dump(s), what)
	require.NoError(m.t, set.Rollback())
	require.Equal(m.t, m.committed, m.Dump(s), "what was replayed is committed")
	require.NoError(m.t, set.Close(false))
}

func (m *customModel) rollback() {
	require.NoError(m.t, m.set.Rollback())
	m.batch.Reset()
	m.isSealed = false
	require.Equal(m.t, m.committed, m.Dump(m.st), "a rollback goes back to the last commit")
	require.Zero(m.t, m.st.UncommittedBytes(), "after a rollback nothing is uncommitted")
}
