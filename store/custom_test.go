package store_test

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/store"
	"github.com/tidemarkio/tidemark/store/storetest"
)

// sums is the least custom store: one number, as of each of the three epochs.
type sums struct {
	active, sealed, committed uint64
	broken, closed            bool
}

func (s *sums) Name() string      { return "sum" }
func (s *sums) FlushCache() error { return nil }

func (s *sums) Seal(_ record.Epoch, changelog *record.Batch) error {
	if changelog != nil && s.active != s.committed {
		changelog.Append([]byte{1}, binary.BigEndian.AppendUint64(nil, s.active), 0, nil)
	}
	s.sealed = s.active
	return nil
}

func (s *sums) Commit(record.Epoch) { s.committed = s.sealed }

func (s *sums) Rollback() error {
	if !s.broken {
		s.active, s.sealed = s.committed, s.committed
	}
	return nil
}

func (s *sums) Replay(r *record.Raw) error {
	if len(r.Value) != 8 {
		return errors.New("a sum has 8 bytes")
	}
	s.active = binary.BigEndian.Uint64(r.Value)
	s.sealed, s.committed = s.active, s.active
	return nil
}

func (s *sums) UncommittedBytes() int {
	if s.active != s.committed {
		return 8
	}
	return 0
}

func (s *sums) Close() error {
	s.closed = true
	return nil
}

func sum() store.Spec {
	return store.CustomSpec("sum", func(store.Env) (store.Store, error) { return &sums{}, nil })
}

func TestCustomStoreConforms(t *testing.T) {
	t.Parallel()
	for seed := range uint64(3) {
		storetest.RunCustom(t, storetest.Custom{
			Spec: sum(), Seed: seed,
			Write: func(s store.Store, rng *rand.Rand) error {
				s.(*sums).active += rng.Uint64N(10) //nolint:forcetypeassert,errcheck // made above
				return nil
			},
			Dump: func(s store.Store) string {
				return strconv.FormatUint(s.(*sums).active, 10) //nolint:forcetypeassert,errcheck // ditto
			},
		})
	}
}

// A custom store commits, rolls back and is restored beside one on disk, whose local state stays usable.
func TestCustomStoreInASet(t *testing.T) {
	t.Parallel()
	b := newBench(t, counts("c"), sum())
	s := ofStore[*sums](t, b, "sum")
	s.active = 5
	require.NoError(t, kv[string, int64](t, b, "c").Put("a", 1))
	require.Equal(t, 8, ofStore[*sums](t, b, "sum").UncommittedBytes())
	b.commit()
	log := b.batches["sum"].At(0)
	require.NoError(t, b.Flush(t.Context()))
	require.NoError(t, b.Close(true))
	require.True(t, s.closed)

	b.reopen(counts("c"), sum())
	c, ok := b.Checkpoint()
	require.True(t, ok)
	require.Equal(t, map[string]int64{"c": 1}, c.Changelog, "the custom store is restored from the beginning")
	require.NoError(t, b.Replay("sum", []record.Raw{log}))
	require.Equal(t, uint64(5), ofStore[*sums](t, b, "sum").active)
	v, _ := get(t, kv[string, int64](t, b, "c"), "a")
	require.Equal(t, int64(1), v)
}

func TestCustomStoreMistakes(t *testing.T) {
	t.Parallel()
	open := func(change func(s *store.Spec)) error {
		spec := sum()
		change(&spec)
		_, err := store.OpenSet(t.Context(), store.SetConfig{Dir: t.TempDir(), Specs: []store.Spec{spec}})
		return err
	}
	require.NoError(t, open(func(*store.Spec) {}))
	require.ErrorContains(t, open(func(s *store.Spec) { s.InMemory = false }), "which has no place on disk")
	require.ErrorContains(t, open(func(s *store.Spec) { s.Name = "other" }), `is named "sum"`)
	require.ErrorContains(t, open(func(s *store.Spec) {
		s.New = func(store.Env) (store.Store, error) { return nil, nil } //nolint:nilnil // the mistake
	}), "returned no store")
}

// Without a changelog a store on disk survives a clean restart, and nothing else.
func TestWithoutLogging(t *testing.T) {
	t.Parallel()
	specs := func() []store.Spec {
		all := []store.Spec{
			counts("kv"),
			store.WindowSpec("w", serde.String, serde.Int64, store.WindowConfig{Retention: 1 << 40}),
			store.SessionSpec("s", serde.String, serde.Int64, store.SessionConfig{Retention: 1 << 40}),
			store.TimerSpec("t", serde.String),
			mortal(store.TTL{After: 1 << 40}),
		}
		for i := range all {
			all[i].LoggingDisabled = true
		}
		return all
	}
	b := newBench(t, specs()...)
	found := func() (all []string) {
		if _, ok := get(t, kv[string, int64](t, b, "kv"), "k"); ok {
			all = append(all, "kv")
		}
		if _, ok, err := ofStore[*store.Window[string, int64]](t, b, "w").Fetch("k", 1); err == nil && ok {
			all = append(all, "w")
		}
		for _, err := range ofStore[*store.Session[string, int64]](t, b, "s").All() {
			require.NoError(t, err)
			all = append(all, "s")
		}
		for _, err := range ofStore[*store.Timers[string]](t, b, "t").From(store.EventTimer, 0) {
			require.NoError(t, err)
			all = append(all, "t")
		}
		if _, ok := get(t, kv[string, int64](t, b, "m"), "k"); ok {
			all = append(all, "m")
		}
		return all
	}
	require.NoError(t, kv[string, int64](t, b, "kv").Put("k", 1))
	require.NoError(t, ofStore[*store.Window[string, int64]](t, b, "w").Put("k", 1, 1))
	require.NoError(t, ofStore[*store.Session[string, int64]](t, b, "s").Put("k", record.Window{Start: 1, End: 2}, 1))
	require.NoError(t, ofStore[*store.Timers[string]](t, b, "t").Put(store.Timer[string]{Key: "k", At: 1}))
	require.NoError(t, kv[string, int64](t, b, "m").Put("k", 1))
	b.commit()
	require.Empty(t, b.batches, "nothing is logged")
	require.NoError(t, b.Close(true))
	b.reopen(specs()...)
	require.Equal(t, []string{"kv", "w", "s", "t", "m"}, found())
	require.NoError(t, b.Close(true))
	b.dir = t.TempDir()
	b.reopen(specs()...)
	require.Empty(t, found())
}
