package store_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/store"
)

const benchKeys = 500_000

// filled opens a set with that many keys of 110 bytes, committed.
func filled(b *testing.B, keys int) (*store.Set, func()) {
	b.Helper()
	set, err := store.OpenSet(b.Context(), store.SetConfig{
		Dir: b.TempDir(), Specs: []store.Spec{store.KeyValueSpec("s", serde.String, serde.Bytes)}, TrackChanges: true,
	})
	require.NoError(b, err)
	b.Cleanup(func() { _ = set.Close(false) })
	s, _ := set.Store("s")
	kv, ok := s.(*store.KeyValue[string, []byte])
	require.True(b, ok)
	rng := rand.New(rand.NewPCG(1, 2))
	epoch := record.Epoch(0)
	write := func() {
		for range keys {
			value := make([]byte, 94)
			for j := 0; j < len(value)-8; j += 8 {
				binary.LittleEndian.PutUint32(value[j:], rng.Uint32())
			}
			require.NoError(b, kv.Put(fmt.Sprintf("key-%012d", rng.IntN(keys)), value))
		}
		epoch++
		var batch record.Batch
		require.NoError(b, set.FlushCaches())
		require.NoError(b, set.Seal(epoch, func(string) *record.Batch { return &batch }))
		require.NoError(b, set.Commit(store.Checkpoint{Epoch: epoch}))
	}
	write()
	return set, write
}

// BenchmarkSnapshot is what a cut waits for: so many keys were written since the last flush.
func BenchmarkSnapshot(b *testing.B) {
	for _, keys := range []int{1000, 100_000, 1_000_000} {
		b.Run(strconv.Itoa(keys), func(b *testing.B) {
			set, write := filled(b, keys)
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				set.HoldFlushes(true)
				write()
				set.HoldFlushes(true)             // a checkpoint is triggered,
				time.Sleep(50 * time.Millisecond) // and cut at the end of an epoch
				b.StartTimer()
				s, err := set.Snapshot()
				b.StopTimer()
				require.NoError(b, err)
				require.NoError(b, set.Flush(b.Context()))
				s.Release()
				b.StartTimer()
			}
		})
	}
}

// BenchmarkSnapshotFile writes a snapshot of some 300,000 entries of 110 bytes to a file, reads and installs it.
func BenchmarkSnapshotFile(b *testing.B) {
	set, _ := filled(b, benchKeys)
	s, err := set.Snapshot()
	require.NoError(b, err)
	defer s.Release()
	require.NoError(b, set.Flush(b.Context()))
	var file bytes.Buffer
	var entries int64
	perEntry := func(b *testing.B) {
		b.Helper()
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(entries), "ns/entry")
	}
	b.Run("write", func(b *testing.B) {
		for b.Loop() {
			file.Reset()
			entries, err = store.WriteEntries(&file, s.Full(b.Context()))
			require.NoError(b, err)
		}
		b.ReportMetric(float64(file.Len())/1e6, "MB")
		perEntry(b)
	})
	b.Run("read", func(b *testing.B) {
		for b.Loop() {
			for _, err := range store.ReadEntries(bytes.NewReader(file.Bytes())) {
				require.NoError(b, err)
			}
		}
		perEntry(b)
	})
	b.Run("install", func(b *testing.B) {
		for b.Loop() {
			dir := filepath.Join(b.TempDir(), "task")
			all := store.MergeFull(store.ReadEntries(bytes.NewReader(file.Bytes())))
			require.NoError(b, store.Install(b.Context(), dir, all, store.Checkpoint{Epoch: 1}, nil, nil))
		}
		perEntry(b)
	})
}
