package store_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/store"
)

// snapshot takes a snapshot that the test releases at its end.
func (b *bench) snapshot() *store.Snapshot {
	b.t.Helper()
	s, err := b.Snapshot()
	require.NoError(b.t, err)
	b.t.Cleanup(s.Release)
	return s
}

// countsIn returns the rows of the store "c" in a snapshot.
func countsIn(t *testing.T, s *store.Snapshot) map[string]int64 {
	t.Helper()
	return countsOf(t, cloned(t, s.Full(t.Context())))
}

func countsOf(t *testing.T, entries []store.Entry) map[string]int64 {
	t.Helper()
	counts := make(map[string]int64)
	for r, err := range store.ChangelogRecords("c", store.TypeKeyValue, sequence(entries)) {
		require.NoError(t, err)
		n, err := serde.Int64.Decode(r.Value)
		require.NoError(t, err)
		counts[string(r.Key)] = n
	}
	return counts
}

func TestSnapshotOfNothing(t *testing.T) {
	t.Parallel()
	b := newBench(t, counts("c"))
	s := b.snapshot()
	require.Empty(t, countsIn(t, s))
	require.Equal(t, store.Checkpoint{}, s.Checkpoint())
	changes, ok := s.Since(s.Version())
	require.True(t, ok)
	require.Empty(t, cloned(t, changes))

	require.NoError(t, kv[string, int64](t, b, "c").Put("a", 1))
	require.Empty(t, countsIn(t, b.snapshot()), "what is not committed is not there")
	b.commit()
	require.Equal(t, map[string]int64{"a": 1}, countsIn(t, b.snapshot()))
	require.Empty(t, countsIn(t, s), "the first one stays empty")

	dir := t.TempDir()
	require.NoError(t, store.Install(t.Context(), dir, s.Full(t.Context()), s.Checkpoint(), nil, nil))
	require.NoError(t, b.Close(true))
	b.dir = dir
	b.reopen(counts("c"))
	_, found := get(t, kv[string, int64](t, b, "c"), "a")
	require.False(t, found)
}

// What a snapshot shows does not change, whatever is written, flushed and compacted behind it.
func TestSnapshotIsPinned(t *testing.T) {
	t.Parallel()
	b := newBench(t, counts("c"))
	c := kv[string, int64](t, b, "c")
	const keys = 3000
	put := func(n int64) {
		for i := range keys {
			if (i+int(n))%7 == 0 {
				require.NoError(t, c.Delete(strconv.Itoa(i)))
			} else {
				require.NoError(t, c.Put(strconv.Itoa(i), n))
			}
		}
		b.commit()
	}
	put(1)
	first := b.snapshot()
	want := countsIn(t, first)
	for n := range int64(60) {
		put(n + 2)
		require.NoError(t, b.Flush(t.Context()))
		if n%20 == 0 {
			store.CompactForTest(t, store.EngineOf(b.Set))
		}
	}
	require.Equal(t, want, countsIn(t, first))
	second := b.snapshot()
	require.NotEqual(t, want, countsIn(t, second))
	first.Release()
	require.Equal(t, store.EngineVersionOf(second), store.DiscardedForTest(store.EngineOf(b.Set)),
		"no more is kept than is read")
	for _, err := range first.Full(t.Context()) {
		require.ErrorContains(t, err, "released")
	}
	put(99)
	require.NoError(t, b.Flush(t.Context()))
	require.Equal(t, store.EngineVersionOf(second), store.DiscardedForTest(store.EngineOf(b.Set)))
	second.Release()
	require.Greater(t, store.DiscardedForTest(store.EngineOf(b.Set)), store.EngineVersionOf(second))
}

func TestSnapshotsWithoutChanges(t *testing.T) {
	t.Parallel()
	b := newBench(t, counts("c"))
	require.NoError(t, kv[string, int64](t, b, "c").Put("a", 1))
	b.commit()
	one, two := b.snapshot(), b.snapshot()
	require.Equal(t, one.Version(), two.Version(), "nothing was committed in between")
	changes, ok := two.Since(one.Version())
	require.True(t, ok)
	require.Empty(t, cloned(t, changes))
	require.NoError(t, b.Close(true))

	b.reopen(counts("c"))
	three := b.snapshot()
	require.NotEqual(t, one.Version(), three.Version())
	_, ok = three.Since(one.Version())
	require.False(t, ok, "of another set")
	b.ForgetChanges(one.Version())
	_, ok = three.Since(three.Version())
	require.True(t, ok)
	require.Equal(t, one.Checkpoint().Changelog, three.Checkpoint().Changelog)
	require.Equal(t, map[string]int64{"a": 1}, countsIn(t, three), "what is on disk already")
}

// A set that closes ends who reads its snapshots, and waits for nobody.
func TestCloseBesideReaders(t *testing.T) {
	t.Parallel()
	b := newBench(t, counts("c"))
	fill := func(n int64) {
		for i := range 20_000 {
			require.NoError(t, kv[string, int64](t, b, "c").Put(fmt.Sprintf("%050d", i), n))
		}
		b.commit()
	}
	fill(1)
	base := b.snapshot()
	cloned(t, base.Full(t.Context()))
	fill(2)
	s := b.snapshot()
	changes, ok := s.Since(base.Version())
	require.True(t, ok)
	reading, closed := make(chan struct{}), make(chan struct{})
	var readers sync.WaitGroup
	var fullErr, changesErr error
	readers.Go(func() {
		n := 0
		for _, err := range s.Full(t.Context()) {
			if fullErr = err; n == 100 {
				reading <- struct{}{}
				<-closed
			}
			n++
		}
	})
	readers.Go(func() {
		n := 0
		for _, err := range changes {
			if changesErr = err; n == 100 {
				reading <- struct{}{}
				<-closed
			}
			n++
		}
	})
	<-reading
	<-reading
	require.NoError(t, b.Close(true))
	close(closed)
	readers.Wait()
	require.ErrorIs(t, fullErr, store.ErrClosed)
	require.NoError(t, changesErr, "it has the files open")
	s.Release()
	for _, err := range base.Full(t.Context()) {
		require.Error(t, err)
	}
	_, ok = base.Since(0)
	require.False(t, ok)
	_, err := b.Snapshot()
	require.ErrorIs(t, err, store.ErrClosed)
}

// A restore that goes on beside a reader takes the database away between two chunks, and does not wait for the reader.
func TestIngestBesideReaders(t *testing.T) {
	t.Parallel()
	b := newBench(t, counts("c"))
	const keys = 20_000
	replay := func(n int64) {
		value, err := serde.Int64.Append(nil, n)
		require.NoError(t, err)
		records := make([]record.Raw, keys)
		for i := range records {
			records[i] = record.Raw{Key: fmt.Appendf(nil, "%050d", i), Value: value, Offset: int64(i)}
		}
		require.NoError(t, b.Replay("c", records))
		require.NoError(t, b.Replayed(store.Checkpoint{Changelog: map[string]int64{"c": n * keys}}))
		require.NoError(t, b.Flush(t.Context()))
	}
	replay(1)
	s := b.snapshot()
	seen := 0
	for r, err := range store.ChangelogRecords("c", store.TypeKeyValue, s.Full(t.Context())) {
		require.NoError(t, err)
		n, err := serde.Int64.Decode(r.Value)
		require.NoError(t, err)
		require.Equal(t, int64(1), n)
		if seen++; seen == keys/2 {
			replay(2)
			replay(3)
		}
	}
	require.Equal(t, keys, seen)
	for _, n := range countsIn(t, b.snapshot()) {
		require.Equal(t, int64(3), n)
	}
}

func TestHoldFlushes(t *testing.T) {
	t.Parallel()
	b := newBench(t, counts("c"))
	c := kv[string, int64](t, b, "c")
	b.HoldFlushes(true)
	require.NoError(t, c.Put("a", 1))
	b.commit()
	b.nowMs += 60_000
	b.commit()
	require.False(t, b.FlushRunning())
	_, found := b.Checkpoint()
	require.False(t, found, "age is no reason while flushes are held")
	s := b.snapshot()
	require.Equal(t, map[string]int64{"a": 1}, countsIn(t, s))
	require.False(t, b.FlushRunning())
	require.NoError(t, c.Put("a", 2))
	b.commit()
	b.HoldFlushes(false)
	b.nowMs += 60_000
	b.commit()
	cp, _ := b.Checkpoint()
	require.Equal(t, record.Epoch(4), cp.Epoch)
}

func TestHeldFlushesYieldToMemory(t *testing.T) {
	t.Parallel()
	b := newBench(t, counts("c"))
	b.budget = store.NewBudget(1) // the least share
	require.NoError(t, b.Close(false))
	b.reopen(counts("c"))
	b.HoldFlushes(true)
	most := 0
	for i := range 200_000 {
		require.NoError(t, kv[string, int64](t, b, "c").Put(strconv.Itoa(i), 1))
		if i%2000 == 0 {
			b.commit()
			most = max(most, b.MemoryBytes())
		}
	}
	require.Less(t, most, 25<<20)
}

func TestChangesAreBounded(t *testing.T) {
	t.Parallel()
	b := newBench(t, counts("c"))
	require.NoError(t, b.Close(true))
	set, err := store.OpenSet(t.Context(), store.SetConfig{
		Dir: b.dir, Specs: []store.Spec{counts("c")}, Context: b.context, TrackChanges: true, ChangesBytesMax: 2000,
	})
	require.NoError(t, err)
	b.Set = set
	t.Cleanup(func() { _ = set.Close(false) })
	c := kv[string, int64](t, b, "c")
	write := func(n int64) *store.Snapshot {
		for i := range 20 {
			require.NoError(t, c.Put(fmt.Sprint(n, ".", i), n*0x1234567))
		}
		b.commit()
		return b.snapshot()
	}
	one := write(1)
	two := write(2)
	changes, ok := two.Since(one.Version())
	require.True(t, ok)
	require.Len(t, cloned(t, changes), 20)
	for n := range int64(20) {
		write(n + 3)
	}
	last := write(30)
	_, ok = last.Since(two.Version())
	require.False(t, ok, "they have grown too large")
	require.Len(t, cloned(t, changes), 20, "what was handed out stays until it is released")
	files := func() int {
		found, err := filepath.Glob(filepath.Join(b.dir, "changes", "*"))
		require.NoError(t, err)
		return len(found)
	}
	two.Release()
	require.Less(t, files(), 20)
	next := write(31)
	changes, ok = next.Since(last.Version())
	require.True(t, ok, "and begin anew")
	require.Len(t, cloned(t, changes), 20)
	next.Release()
	b.ForgetChanges(next.Version())
	require.Zero(t, files())
	_, ok = write(32).Since(last.Version())
	require.False(t, ok, "forgotten")
}

// Changes of a set before are of no use, and are removed, also after a crash.
func TestChangesOfAnotherSet(t *testing.T) {
	t.Parallel()
	b := newBench(t, counts("c"))
	require.NoError(t, kv[string, int64](t, b, "c").Put("a", 1))
	b.commit()
	one := b.snapshot()
	cloned(t, one.Full(t.Context()))
	require.NoDirExists(t, filepath.Join(b.dir, "changes"), "before the first snapshot there is nothing to build on")
	require.NoError(t, kv[string, int64](t, b, "c").Put("a", 2))
	b.commit()
	require.NoError(t, b.Flush(t.Context()))
	require.DirExists(t, filepath.Join(b.dir, "changes"))
	b.dir = store.CrashedForTest(t, b.dir)
	require.DirExists(t, filepath.Join(b.dir, "changes"))
	require.NoError(t, b.Close(true))
	b.reopen(counts("c"))
	require.NoDirExists(t, filepath.Join(b.dir, "changes"))
	require.NoError(t, kv[string, int64](t, b, "c").Put("a", 2))
	b.commit()
	_, ok := b.snapshot().Since(one.Version())
	require.False(t, ok)
}

func TestChangesThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	b := newBench(t, counts("c"))
	require.NoError(t, os.WriteFile(filepath.Join(b.dir, "changes"), nil, 0o600))
	c := kv[string, int64](t, b, "c")
	nothing := b.snapshot()
	require.NoError(t, c.Put("a", 1))
	b.commit()
	one := b.snapshot()
	_, ok := one.Since(nothing.Version())
	require.False(t, ok)
	require.Equal(t, map[string]int64{"a": 1}, countsIn(t, one), "the flush has succeeded")
	require.NoError(t, os.Remove(filepath.Join(b.dir, "changes")))
	require.NoError(t, c.Put("a", 2))
	b.commit()
	changes, ok := b.snapshot().Since(one.Version())
	require.True(t, ok)
	require.Len(t, cloned(t, changes), 1)
}

func TestSnapshotsInMemoryOnly(t *testing.T) {
	t.Parallel()
	spec := counts("c")
	spec.InMemory = true
	custom := store.CustomSpec("custom", func(store.Env) (store.Store, error) { return &listStore{}, nil })
	b := newBench(t, spec, custom)
	c := kv[string, int64](t, b, "c")
	require.NoError(t, c.Put("a", 1))
	b.commit()
	one := b.snapshot()
	require.Equal(t, map[string]int64{"c": 1}, one.Checkpoint().Changelog, "a custom store is not in it")
	require.NoError(t, c.Put("a", 2))
	require.NoError(t, c.Put("b", 2))
	b.commit()
	two := b.snapshot()
	require.Greater(t, two.Version(), one.Version())
	require.Equal(t, map[string]int64{"a": 1}, countsIn(t, one))
	require.Equal(t, map[string]int64{"a": 2, "b": 2}, countsIn(t, two))
	changes, ok := two.Since(one.Version())
	require.True(t, ok)
	require.Equal(t, countsIn(t, two), countsOf(t, cloned(t, store.MergeFull(changes, one.Full(t.Context())))))
	for _, err := range b.ChangelogRecords("custom", two.Full(t.Context())) {
		require.ErrorContains(t, err, "custom store")
	}
}

// listStore is the least custom store.
type listStore struct{}

func (*listStore) Name() string                           { return "custom" }
func (*listStore) FlushCache() error                      { return nil }
func (*listStore) Seal(record.Epoch, *record.Batch) error { return nil }
func (*listStore) Commit(record.Epoch)                    {}
func (*listStore) Rollback() error                        { return nil }
func (*listStore) Replay(*record.Raw) error               { return nil }
func (*listStore) UncommittedBytes() int                  { return 0 }

// Badger's iterators end in silence at a block that is damaged: a snapshot must not.
func TestSnapshotOfDamagedTables(t *testing.T) {
	t.Parallel()
	b := newBench(t, counts("c"))
	for i := range 20_000 {
		require.NoError(t, kv[string, int64](t, b, "c").Put(fmt.Sprintf("%020d", i), 1))
	}
	b.commit()
	s := b.snapshot()
	require.Len(t, countsIn(t, s), 20_000)
	tables, err := filepath.Glob(filepath.Join(b.dir, "*.sst"))
	require.NoError(t, err)
	require.NotEmpty(t, tables)
	f, err := os.OpenFile(tables[0], os.O_RDWR, 0)
	require.NoError(t, err)
	_, err = f.WriteAt([]byte("damage"), 5000)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	var failed error
	for _, err := range s.Full(t.Context()) {
		failed = err
	}
	var corrupt *store.CorruptError
	require.ErrorAs(t, failed, &corrupt)
}

func TestSnapshotEndsWithItsContext(t *testing.T) {
	t.Parallel()
	memory := counts("m")
	memory.InMemory = true
	b := newBench(t, counts("c"), memory)
	for i := range 20_000 {
		require.NoError(t, kv[string, int64](t, b, "c").Put(fmt.Sprintf("%050d", i), 1))
		require.NoError(t, kv[string, int64](t, b, "m").Put(fmt.Sprintf("%050d", i), 1))
	}
	b.commit()
	s := b.snapshot()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	n := 0
	var failed error
	for _, err := range s.Full(ctx) {
		if n++; n == 10 {
			cancel()
		}
		failed = err
	}
	require.ErrorIs(t, failed, context.Canceled)
	for _, err := range s.Full(ctx) {
		require.ErrorIs(t, err, context.Canceled)
	}
}
