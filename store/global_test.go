package store_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/store"
)

func globalSpec(inMemory bool) store.Spec {
	spec := store.KeyValueSpec("prices", serde.String, serde.Int64)
	spec.LoggingDisabled, spec.InMemory = true, inMemory
	return spec
}

func view(t *testing.T, b *bench) *store.Global[string, int64] {
	t.Helper()
	s, err := b.View("prices")
	require.NoError(t, err)
	g, ok := s.(*store.Global[string, int64])
	require.True(t, ok)
	return g
}

// show makes what was written visible to views.
func (b *bench) show() {
	b.t.Helper()
	b.commit()
	require.NoError(b.t, b.Flush(b.t.Context()))
}

// A view shows what was flushed, and forgets what it remembered when that changes.
func TestGlobalView(t *testing.T) {
	t.Parallel()
	for _, inMemory := range []bool{true, false} {
		t.Run(fmt.Sprintf("in memory %v", inMemory), func(t *testing.T) {
			t.Parallel()
			b := newBench(t, globalSpec(inMemory))
			kv, g := kv[string, int64](t, b, "prices"), view(t, b)
			get := func(key string) string {
				v, ts, found, err := g.GetWithTimestamp(key)
				require.NoError(t, err)
				return fmt.Sprint(v, ts, found)
			}
			require.Equal(t, "0 0 false", get("a"))
			require.Empty(t, keysOf(t, g))

			require.NoError(t, kv.PutWithTimestamp("a", 1, 10))
			require.NoError(t, kv.PutWithTimestamp("b", 2, 11))
			require.NoError(t, kv.PutWithTimestamp("c", 3, 12))
			require.Equal(t, "0 0 false", get("a"), "not flushed")
			b.show()
			require.Equal(t, "1 10 true", get("a"))
			require.Equal(t, "0 0 false", get("d"))

			require.NoError(t, kv.PutWithTimestamp("a", 4, 13))
			require.NoError(t, kv.PutWithTimestamp("d", 5, 14))
			require.NoError(t, kv.DeleteWithTimestamp("b", 15))
			require.Equal(t, "1 10 true", get("a"), "not flushed")
			b.show()
			require.Equal(t, "4 13 true", get("a"))
			require.Equal(t, "5 14 true", get("d"))
			require.Equal(t, "0 0 false", get("b"))
			require.Equal(t, []string{"a", "c", "d"}, keysOf(t, g))

			var some []string
			for e, err := range g.ReverseRange("b", "c") {
				require.NoError(t, err)
				v, _, err := g.Get(e.Key) // in the middle of a scan
				require.NoError(t, err)
				require.Equal(t, e.Value, v)
				some = append(some, e.Key)
			}
			require.Equal(t, []string{"c"}, some)
			for e, err := range g.PrefixScan([]byte("d")) {
				require.NoError(t, err)
				require.Equal(t, store.KeyValueEntry[string, int64]{Key: "d", Value: 5, Timestamp: 14}, e)
			}
			n, err := g.ApproximateCount()
			require.NoError(t, err)
			require.Equal(t, int64(3), n)

			require.ErrorContains(t, g.Seal(1, nil), "can only be read")
			require.ErrorContains(t, g.Replay(&record.Raw{}), "can only be read")
			_, err = b.View("other")
			require.ErrorContains(t, err, `no store "other"`)
			require.NoError(t, b.Close(true))
			_, _, err = g.Get("never asked for")
			require.ErrorIs(t, err, store.ErrClosed)
		})
	}
}

func keysOf(t *testing.T, g *store.Global[string, int64]) (keys []string) {
	t.Helper()
	for e, err := range g.All() {
		require.NoError(t, err)
		keys = append(keys, e.Key)
	}
	return keys
}

// Many views are read while the store is written: each key's value only grows, and ends where the writer ended. The
// first flush, of an empty database, is large enough to replace its files.
func TestGlobalViewsBesideWriter(t *testing.T) {
	t.Parallel()
	const keys, rounds = 5000, 30
	for _, inMemory := range []bool{true, false} {
		t.Run(fmt.Sprintf("in memory %v", inMemory), func(t *testing.T) {
			t.Parallel()
			b := newBench(t, globalSpec(inMemory))
			kv := kv[string, int64](t, b, "prices")
			done := make(chan struct{})
			var readers sync.WaitGroup
			for range 4 {
				g := view(t, b)
				readers.Go(func() { readGrowing(t, g, keys, rounds, done) })
			}
			for round := int64(1); round <= rounds; round++ {
				for k := range keys {
					if round == 1 || k%97 == int(round) {
						require.NoError(t, kv.Put(keyName(k), round))
					}
				}
				require.NoError(t, kv.Put("last", round))
				b.show()
			}
			close(done)
			readers.Wait()
		})
	}
}

func keyName(k int) string { return fmt.Sprintf("key-%04d", k) }

// readGrowing reads in turn until it has seen the last round.
func readGrowing(t *testing.T, g *store.Global[string, int64], keys int, last int64, done <-chan struct{}) {
	seen := make(map[string]int64)
	check := func(key string, v int64) bool {
		if v < seen[key] {
			t.Errorf("%s went back from %d to %d", key, seen[key], v)
			return false
		}
		seen[key] = v
		return true
	}
	ended := false
	for k := 0; ; k = (k + 7) % keys {
		key := keyName(k)
		if k%50 == 0 {
			key = "last"
		}
		v, _, err := g.Get(key)
		if err != nil {
			t.Error(err)
			return
		}
		if !check(key, v) || key == "last" && v == last {
			return
		}
		if k == 0 {
			for e, err := range g.Range(keyName(100), keyName(200)) {
				if err != nil || !check(e.Key, e.Value) {
					t.Error(e.Key, err)
					return
				}
			}
		}
		if ended && key == "last" {
			t.Errorf("the last round is %d, want %d", v, last)
			return
		}
		select {
		case <-done:
			ended = true
		default:
		}
	}
}

func BenchmarkGlobalGet(b *testing.B) {
	set, err := store.OpenSet(b.Context(), store.SetConfig{Dir: b.TempDir(), Specs: []store.Spec{globalSpec(false)}})
	require.NoError(b, err)
	b.Cleanup(func() { _ = set.Close(false) })
	st, _ := set.Store("prices")
	kv, ok := st.(*store.KeyValue[string, int64])
	require.True(b, ok)
	for k := range 10_000 {
		require.NoError(b, kv.Put(keyName(k), int64(k)))
	}
	require.NoError(b, set.Seal(1, func(string) *record.Batch { return nil }))
	require.NoError(b, set.Commit(store.Checkpoint{Epoch: 1}))
	require.NoError(b, set.Flush(b.Context()))
	for _, hot := range []int{100, 10_000} {
		b.Run(fmt.Sprintf("%d keys", hot), func(b *testing.B) {
			names := make([]string, hot)
			for k := range names {
				names[k] = keyName(k)
			}
			v, err := set.View("prices")
			require.NoError(b, err)
			g, ok := v.(*store.Global[string, int64])
			require.True(b, ok)
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				if _, _, err := g.Get(names[i%hot]); err != nil {
					b.Fatal(err)
				}
				i++
			}
		})
	}
}
