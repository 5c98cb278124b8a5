package store_test

import (
	"fmt"
	"iter"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/store"
	"github.com/tidemarkio/tidemark/store/storetest"
)

// timedWith is where a model's stores lie.
func timedWith(t *testing.T, inMemory bool, seed uint64) storetest.Timed {
	t.Helper()
	dir := t.TempDir()
	open := func(dir func(t *testing.T) string) storetest.OpenSet {
		return func(t *testing.T, specs []store.Spec, context *store.Context) *store.Set {
			t.Helper()
			set, err := store.OpenSet(t.Context(), store.SetConfig{
				Dir: dir(t), Specs: specs, Context: context, CachingEnabled: true, Budget: smallBudget(),
			})
			require.NoError(t, err)
			return set
		}
	}
	with := storetest.Timed{
		Open:  open(func(*testing.T) string { return dir }),
		Fresh: open(func(t *testing.T) string { t.Helper(); return t.TempDir() }), InMemory: inMemory, Seed: seed,
	}
	if !inMemory {
		with.Crash = func(t *testing.T) { t.Helper(); dir = store.CrashedForTest(t, dir) }
	}
	return with
}

func TestTimedModels(t *testing.T) {
	t.Parallel()
	for _, inMemory := range []bool{true, false} {
		for seed := range uint64(2) {
			name := func(kind string) string { return fmt.Sprintf("%s/memory=%t/%d", kind, inMemory, seed) }
			for _, layout := range []string{
				storetest.Grid, storetest.Segments, storetest.Indexed, storetest.Duplicates,
			} {
				t.Run(name(layout), func(t *testing.T) {
					t.Parallel()
					storetest.RunWindow(t, layout, timedWith(t, inMemory, seed))
				})
			}
			t.Run(name("session"), func(t *testing.T) {
				t.Parallel()
				storetest.RunSession(t, timedWith(t, inMemory, seed))
			})
		}
	}
}

// A new retention means other segments: rows from before are found all the same, on disk and in the changelog.
func TestRetentionMayChange(t *testing.T) {
	t.Parallel()
	spec := func(retention time.Duration) store.Spec {
		return store.WindowSpec("w", serde.String, serde.Int64, store.WindowConfig{Retention: retention, TimeIndex: true})
	}
	b := newBench(t, spec(time.Hour))
	var log []record.Raw
	put := func(start int64) {
		t.Helper()
		require.NoError(t, ofStore[*store.Window[string, int64]](t, b, "w").Put("k", start/1000, start))
		b.commit()
		for i := range b.batches["w"].Len() {
			log = append(log, b.batches["w"].At(i))
		}
	}
	check := func(b *bench, want ...int64) {
		t.Helper()
		w := ofStore[*store.Window[string, int64]](t, b, "w")
		var got, byStart []int64
		for e, err := range w.FetchRange("k", 0, 10_000_000) {
			require.NoError(t, err)
			got = append(got, e.Start)
		}
		for e, err := range w.FetchByStart(0, 10_000_000) {
			require.NoError(t, err)
			byStart = append(byStart, e.Start)
			_, found, err := w.Fetch("k", e.Start)
			require.NoError(t, err)
			require.True(t, found)
		}
		require.Equal(t, want, got)
		require.Equal(t, want, byStart)
	}
	for i, retention := range []time.Duration{time.Hour, 2 * time.Hour, 40 * time.Minute, 40 * time.Minute} {
		if i > 0 {
			require.NoError(t, b.Close(true))
			b.reopen(spec(retention))
		}
		put(int64(i) * 1_000_000)
	}
	check(b, 1_000_000, 2_000_000, 3_000_000)

	restored := newBench(t, spec(5*time.Hour))
	require.NoError(t, restored.Replay("w", log))
	check(restored, 0, 1_000_000, 2_000_000, 3_000_000)
}

// The times at the end of time do not make a look-up endless.
func TestGridAtTheEndOfTime(t *testing.T) {
	t.Parallel()
	b := newBench(t, store.WindowSpec("w", serde.String, serde.Int64,
		store.WindowConfig{Retention: time.Minute, Grid: 10 * time.Second}))
	w := ofStore[*store.Window[string, int64]](t, b, "w")
	const last = (1<<63 - 1) / 10_000 * 10_000
	require.NoError(t, w.Put("k", 1, last))
	n := 0
	for _, err := range w.FetchRange("k", 0, 1<<63-1) {
		require.NoError(t, err)
		n++
	}
	require.Equal(t, 1, n)
}

// counting counts what scans of an engine yield.
type counting struct {
	store.Engine

	yielded *int
}

func (c counting) Scan(lo, hi []byte, reverse bool) iter.Seq2[store.Entry, error] {
	return func(yield func(store.Entry, error) bool) {
		for e, err := range c.Engine.Scan(lo, hi, reverse) {
			*c.yielded++
			if !yield(e, err) {
				return
			}
		}
	}
}

// Expired rows leave Badger with the next flush, which reads them and no live row.
func TestExpiryReadsOnlyWhatExpired(t *testing.T) {
	t.Parallel()
	const windows, keys = 40, 50
	for name, c := range map[string]store.WindowConfig{
		"grid":     {Retention: 20 * time.Minute, Grid: time.Minute},
		"segments": {Retention: 20 * time.Minute},
		"indexed":  {Retention: 20 * time.Minute, TimeIndex: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			spec, yielded := store.WindowSpec("w", serde.String, serde.Int64, c), 0
			var env store.Env
			inner := spec.New
			spec.New = func(e store.Env) (store.Store, error) {
				env = e
				e.Engine = counting{e.Engine, &yielded}
				return inner(e)
			}
			b := newBench(t, spec)
			w := ofStore[*store.Window[string, int64]](t, b, "w")
			minute := time.Minute.Milliseconds()
			rows := func() (n int) {
				for e, err := range env.Engine.Scan(env.Prefix, append(env.Prefix[:1:1], env.Prefix[1]+1), false) {
					require.NoError(t, err)
					if e.Key[len(env.Prefix)] > 0 { // not a clock
						n++
					}
				}
				return n
			}
			perRow := 1
			if c.TimeIndex {
				perRow = 2
			}
			deleted, before := 0, 0
			for start := range int64(windows) {
				for k := range keys {
					require.NoError(t, w.Put(fmt.Sprintf("key-%d", k), start, start*minute))
				}
				b.commit()
				require.NoError(t, b.Flush(t.Context()))
				now := rows()
				deleted += before + keys*perRow - now
				before = now
			}
			require.Equal(t, windows*keys*perRow, deleted+before)
			require.Equal(t, deleted, yielded, "every row that was read was deleted")
			const alive = 20
			require.GreaterOrEqual(t, before, alive*keys*perRow)
			require.LessOrEqual(t, before, (alive+10)*keys*perRow, "at most the segment that has not expired as a whole")
		})
	}
}
