package store_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/store"
)

func openCounts(tb testing.TB, dir string, budget int64) (*store.Set, *store.KeyValue[string, int64], *store.Context) {
	tb.Helper()
	context := &store.Context{}
	set, err := store.OpenSet(tb.Context(), store.SetConfig{
		Dir: dir, Context: context, CachingEnabled: true, Budget: store.NewBudget(budget),
		Specs: []store.Spec{store.KeyValueSpec("counts", serde.String, serde.Int64)},
	})
	require.NoError(tb, err)
	s, _ := set.Store("counts")
	kv, ok := s.(*store.KeyValue[string, int64])
	require.True(tb, ok)
	return set, kv, context
}

// BenchmarkCountUpdate is the hot path of a count: 100,000 keys, uniform, epochs of 100,000 updates. An operation is
// one update with its share of sealing and committing.
func BenchmarkCountUpdate(b *testing.B) {
	for _, keys := range []int{1000, 100_000} { // in the processor's cache and out of it
		b.Run(fmt.Sprintf("keys=%d", keys), func(b *testing.B) { benchmarkCountUpdate(b, keys) })
	}
}

func benchmarkCountUpdate(b *testing.B, keys int) {
	b.Helper()
	const epochUpdates = 100_000
	names := make([]string, keys)
	for i := range names {
		names[i] = fmt.Sprintf("key-%08d", i)
	}
	run := func(b *testing.B, update func(kv *store.KeyValue[string, int64], context *store.Context, k string) error) {
		b.Helper()
		set, kv, context := openCounts(b, b.TempDir(), 0)
		rng := rand.New(rand.NewPCG(1, 2))
		var batch record.Batch
		epoch, n := record.Epoch(0), 0
		b.ReportAllocs()
		for b.Loop() {
			context.Timestamp++
			if err := update(kv, context, names[rng.IntN(keys)]); err != nil {
				b.Fatal(err)
			}
			if n++; n%epochUpdates == 0 {
				epoch++
				require.NoError(b, set.Seal(epoch, func(string) *record.Batch { return &batch }))
				require.NoError(b, set.Commit(store.Checkpoint{Epoch: epoch}))
				batch.Reset()
			}
		}
		b.StopTimer()
		require.NoError(b, set.Close(false))
	}
	b.Run("GetPut", func(b *testing.B) {
		run(b, func(kv *store.KeyValue[string, int64], _ *store.Context, k string) error {
			n, _, err := kv.Get(k)
			if err != nil {
				return err
			}
			return kv.Put(k, n+1)
		})
	})
	b.Run("Update", func(b *testing.B) {
		run(b, func(kv *store.KeyValue[string, int64], context *store.Context, k string) error {
			return kv.Update(k, nil, func(n, _ int64, _ bool) (int64, int64, bool) { return n + 1, context.Timestamp, true })
		})
	})
}

// BenchmarkUpdateBeyondTables updates 500,000 keys of 110 bytes, uniform, where the tables hold an eighth of them: most
// reads go to disk. An operation is one update with its share of commits, flushes and compaction.
func BenchmarkUpdateBeyondTables(b *testing.B) {
	const keys, epochUpdates, budget = 500_000, 20_000, 64 << 20
	context := &store.Context{}
	set, err := store.OpenSet(b.Context(), store.SetConfig{
		Dir: b.TempDir(), Context: context, CachingEnabled: true, Budget: store.NewBudget(budget),
		Specs: []store.Spec{store.KeyValueSpec("state", serde.String, serde.Bytes)},
	})
	require.NoError(b, err)
	s, _ := set.Store("state")
	kv, ok := s.(*store.KeyValue[string, []byte])
	require.True(b, ok)
	names := make([]string, keys)
	for i := range names {
		names[i] = fmt.Sprintf("k%08d", i)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	var batch record.Batch
	epoch := record.Epoch(0)
	commit := func() {
		epoch++
		require.NoError(b, set.Seal(epoch, func(string) *record.Batch { return &batch }))
		require.NoError(b, set.Commit(store.Checkpoint{Epoch: epoch}))
		batch.Reset()
	}
	update := func(k string) {
		old, _, err := kv.Get(k)
		require.NoError(b, err)
		v := make([]byte, 100)
		copy(v, old)
		binary.BigEndian.PutUint64(v, binary.BigEndian.Uint64(v)+1)
		require.NoError(b, kv.Put(k, v))
	}
	for i, k := range names {
		update(k)
		if i%epochUpdates == 0 {
			commit()
		}
	}
	n := 0
	for b.Loop() {
		update(names[rng.IntN(keys)])
		if n++; n%epochUpdates == 0 {
			commit()
		}
	}
	b.StopTimer()
	require.NoError(b, set.Close(false))
}

// BenchmarkReplay restores 500,000 keys of 110 bytes into an empty directory. An operation is a whole restore.
func BenchmarkReplay(b *testing.B) {
	const keys, batchRecords = 500_000, 5000
	records := make([]record.Raw, keys)
	rng := rand.New(rand.NewPCG(1, 2))
	for i, at := range rng.Perm(keys) {
		value := make([]byte, 94)
		for j := 0; j < len(value); j += 8 {
			binary.LittleEndian.PutUint32(value[j:], rng.Uint32())
		}
		records[i] = record.Raw{Key: fmt.Appendf(nil, "key-%012d", at), Value: value, Timestamp: int64(i), Offset: int64(i)}
	}
	b.ReportAllocs()
	for b.Loop() {
		set, err := store.OpenSet(b.Context(), store.SetConfig{
			Dir: b.TempDir(), Specs: []store.Spec{store.KeyValueSpec("s", serde.String, serde.Bytes)},
		})
		require.NoError(b, err)
		for i := 0; i < keys; i += batchRecords {
			require.NoError(b, set.Replay("s", records[i:i+batchRecords]))
			require.NoError(b, set.Replayed(store.Checkpoint{Changelog: map[string]int64{"s": int64(i + batchRecords)}}))
		}
		require.NoError(b, set.Close(true))
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/keys, "ns/record")
}
