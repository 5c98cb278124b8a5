package store_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/store"
)

// bench is a set with what the runtime would keep beside it.
type bench struct {
	*store.Set

	t       *testing.T
	context *store.Context
	times   *store.Times
	epoch   record.Epoch
	batches map[string]*record.Batch
	nowMs   int64
	budget  *store.Budget
	dir     string
	lazy    *store.Lazy
}

// smallBudget is one of Badger's smallest memtables: a database takes that much memory when it opens, which is most of
// what the opening costs. The tables are still larger than what most tests write.
func smallBudget() *store.Budget { return store.NewBudget(64 << 20) }

func newBench(t *testing.T, specs ...store.Spec) *bench {
	t.Helper()
	b := &bench{t: t, budget: smallBudget(), dir: t.TempDir(), nowMs: 1_000_000}
	b.reopen(specs...)
	return b
}

func (b *bench) reopen(specs ...store.Spec) {
	b.t.Helper()
	b.context, b.times = &store.Context{}, &store.Times{Stream: -1}
	b.batches = map[string]*record.Batch{}
	set, err := store.OpenSet(b.t.Context(), store.SetConfig{
		Dir: b.dir, TaskID: record.TaskID{Partition: 3}, Specs: specs, Context: b.context, Times: b.times, Budget: b.budget,
		CachingEnabled: true, Clock: func() int64 { return b.nowMs }, TrackChanges: true, Lazy: b.lazy,
	})
	require.NoError(b.t, err)
	b.Set = set
	b.t.Cleanup(func() { _ = set.Close(false) })
}

func (b *bench) seal() {
	b.t.Helper()
	b.epoch++
	require.NoError(b.t, b.FlushCaches())
	require.NoError(b.t, b.Seal(b.epoch, func(name string) *record.Batch {
		b.batches[name] = &record.Batch{}
		return b.batches[name]
	}))
}

func (b *bench) checkpoint() store.Checkpoint {
	c := store.Checkpoint{Epoch: b.epoch, Changelog: map[string]int64{}}
	for name := range b.batches {
		c.Changelog[name] = int64(b.epoch)
	}
	return c
}

func (b *bench) commit() {
	b.t.Helper()
	b.seal()
	require.NoError(b.t, b.Commit(b.checkpoint()))
}

func kv[K, V any](t *testing.T, b *bench, name string) *store.KeyValue[K, V] {
	t.Helper()
	s, ok := b.Store(name)
	require.True(t, ok)
	typed, ok := s.(*store.KeyValue[K, V])
	require.True(t, ok)
	return typed
}

func get[K, V any](t *testing.T, s *store.KeyValue[K, V], k K) (V, bool) {
	t.Helper()
	v, found, err := s.Get(k)
	require.NoError(t, err)
	return v, found
}

func counts(name string) store.Spec { return store.KeyValueSpec(name, serde.String, serde.Int64) }

func TestSetConfigErrors(t *testing.T) {
	t.Parallel()
	_, err := store.OpenSet(t.Context(), store.SetConfig{Specs: []store.Spec{
		{Name: ""}, {Name: "a"}, counts("b"), counts("b"),
	}})
	require.ErrorContains(t, err, "spec 0 has no name")
	require.ErrorContains(t, err, "a: Spec.New is nil")
	require.ErrorContains(t, err, `two stores are named "b"`)
	require.ErrorContains(t, err, "there is no directory")
}

func TestSealedEpochAndNextOne(t *testing.T) {
	t.Parallel()
	b := newBench(t, counts("c"))
	c := kv[string, int64](t, b, "c")
	b.context.Timestamp = 10
	require.NoError(t, c.Put("a", 1))
	require.NoError(t, c.Put("b", 1))
	b.commit()
	require.NoError(t, c.Put("a", 2))
	b.seal()
	require.NoError(t, c.Put("a", 3))
	require.NoError(t, c.Delete("b"))
	require.Error(t, b.Seal(9, func(string) *record.Batch { return &record.Batch{} }), "one sealed epoch at most")
	require.NoError(t, b.Flush(t.Context()), "what is committed can be flushed meanwhile")
	r := b.batches["c"].At(0)
	require.Equal(t, "a", string(r.Key))
	require.Equal(t, int64(10), r.Timestamp)
	require.Len(t, r.Value, 8)
	require.NoError(t, b.Commit(b.checkpoint()))
	v, _ := get(t, c, "a")
	require.Equal(t, int64(3), v)
	require.NoError(t, b.Rollback())
	v, _ = get(t, c, "a")
	require.Equal(t, int64(2), v, "the epoch that committed stays")
	_, found := get(t, c, "b")
	require.True(t, found)

	require.NoError(t, c.Put("a", 7))
	b.seal()
	require.NoError(t, c.Put("a", 8))
	require.NoError(t, b.Rollback())
	v, _ = get(t, c, "a")
	require.Equal(t, int64(2), v, "both are gone")
	require.Zero(t, b.UncommittedBytes())
}

func TestUncommittedNeverReachesDisk(t *testing.T) {
	t.Parallel()
	b := newBench(t, counts("c"))
	c := kv[string, int64](t, b, "c")
	require.NoError(t, c.Put("a", 1))
	b.commit()
	require.NoError(t, c.Put("a", 2))
	b.seal()
	require.NoError(t, c.Put("new", 1))
	require.NoError(t, b.Flush(t.Context()))
	require.NoError(t, b.Close(true))
	b.reopen(counts("c"))
	c = kv[string, int64](t, b, "c")
	v, _ := get(t, c, "a")
	require.Equal(t, int64(1), v)
	_, found := get(t, c, "new")
	require.False(t, found)
	cp, ok := b.Checkpoint()
	require.True(t, ok)
	require.Equal(t, record.Epoch(1), cp.Epoch)
}

func TestCacheFlushOrderOldValuesAndHeaders(t *testing.T) {
	t.Parallel()
	spec, down := counts("c"), counts("down")
	spec.CachingEnabled, down.CachingEnabled = true, true
	b := newBench(t, spec, down)
	c, d := kv[string, int64](t, b, "c"), kv[string, int64](t, b, "down")
	var emitted []string
	require.NoError(t, c.SetFlushListener(
		func(k string, v int64, exists bool, old int64, oldExists bool, ts int64, headers []record.Header) error {
			emitted = append(emitted, fmt.Sprintf("%s %d/%t was %d/%t @%d %d", k, v, exists, old, oldExists, ts, len(headers)))
			return d.Put("sum", v)
		}, true))
	downstream := 0
	require.NoError(t, d.SetFlushListener(
		func(string, int64, bool, int64, bool, int64, []record.Header) error { downstream++; return nil }, false))
	put := func(k string, v, ts int64, headers ...record.Header) {
		b.context.Timestamp, b.context.Headers = ts, headers
		require.NoError(t, c.Put(k, v))
	}
	put("a", 1, 1)
	put("b", 1, 2)
	put("a", 2, 3, record.Header{Key: "h"})
	put("x", 1, 4)
	require.Error(t, b.Seal(1, func(string) *record.Batch { return &record.Batch{} }), "caches first")
	b.commit()
	require.Equal(t, []string{
		"b 1/true was 0/false @2 0", "a 2/true was 0/false @3 1", "x 1/true was 0/false @4 0",
	}, emitted)
	require.Equal(t, 1, downstream)
	emitted = nil
	put("a", 3, 5)
	require.NoError(t, c.Delete("b"))
	put("a", 4, 6)
	b.seal()
	put("x", 2, 7)
	require.NoError(t, b.Flush(t.Context()), "the log moves to another table")
	put("a", 5, 8)
	require.NoError(t, b.Commit(b.checkpoint()))
	b.commit()
	require.Equal(t, []string{
		"b 0/false was 1/true @5 0", "a 4/true was 2/true @6 0", "x 2/true was 1/true @7 0", "a 5/true was 4/true @8 0",
	}, emitted)
	emitted = nil
	put("a", 6, 9)
	require.NoError(t, b.Rollback())
	b.commit()
	require.Empty(t, emitted)

	for i := range 300_000 { // a hot key must not grow the log without bound
		put("hot", int64(i), 10)
	}
	require.Less(t, b.MemoryBytes(), 4<<20)
	b.commit()
	require.Equal(t, []string{"hot 299999/true was 0/false @10 0"}, emitted)
}

func TestCacheListenerWritesItsOwnStore(t *testing.T) {
	t.Parallel()
	spec := counts("c")
	spec.CachingEnabled = true
	b := newBench(t, spec)
	c := kv[string, int64](t, b, "c")
	var seen []string
	require.NoError(t, c.SetFlushListener(
		func(k string, v int64, _ bool, _ int64, _ bool, _ int64, _ []record.Header) error {
			seen = append(seen, fmt.Sprint(k, v))
			if v < 3 {
				return c.Put(k, v+1)
			}
			return nil
		}, true))
	require.NoError(t, c.Put("a", 1))
	require.NoError(t, c.Put("b", 3))
	b.commit()
	require.Equal(t, []string{"a1", "b3", "a2", "a3"}, seen)
}

func TestNilDeletes(t *testing.T) {
	t.Parallel()
	type person struct{ Name string }
	b := newBench(t, store.KeyValueSpec("p", serde.String, serde.JSON[*person]()),
		store.KeyValueSpec("b", serde.Bytes, serde.Bytes))
	p, raw := kv[string, *person](t, b, "p"), kv[[]byte, []byte](t, b, "b")
	require.NoError(t, p.Put("a", &person{"x"}))
	require.NoError(t, raw.Put([]byte("k"), []byte{}))
	b.commit()
	v, found := get(t, raw, []byte("k"))
	require.True(t, found, "empty is not nil")
	require.Empty(t, v)
	require.NoError(t, p.Put("a", nil))
	require.NoError(t, raw.Put([]byte("k"), nil))
	_, found = get(t, p, "a")
	require.False(t, found)
	b.commit()
	require.Nil(t, b.batches["p"].At(0).Value)
	require.Nil(t, b.batches["b"].At(0).Value)
}

// TestBytesStayAsRead checks that values which alias committed bytes do not change under their reader.
func TestBytesStayAsRead(t *testing.T) {
	t.Parallel()
	b := newBench(t, store.KeyValueSpec("b", serde.String, serde.Bytes))
	s := kv[string, []byte](t, b, "b")
	require.NoError(t, s.Put("k", []byte("one")))
	b.commit()
	require.NoError(t, s.Put("k", []byte("xxx")))
	require.NoError(t, b.Rollback())
	v, _ := get(t, s, "k")
	require.NoError(t, s.Put("k", []byte("two")))
	b.commit()
	require.Equal(t, "one", string(v))
	require.NoError(t, b.Flush(t.Context()))
	require.NoError(t, b.Close(true))
}

func TestRemovedStoreAndInMemory(t *testing.T) {
	t.Parallel()
	mem := counts("mem")
	mem.InMemory = true
	b := newBench(t, counts("a"), counts("b"), mem)
	require.NoError(t, kv[string, int64](t, b, "a").Put("k", 1))
	require.NoError(t, kv[string, int64](t, b, "b").Put("k", 2))
	require.NoError(t, kv[string, int64](t, b, "mem").Put("k", 3))
	b.commit()
	require.NoError(t, b.Close(true))

	b.reopen(counts("new"), counts("b"), mem)
	cp, _ := b.Checkpoint()
	require.Equal(t, map[string]int64{"b": 1}, cp.Changelog, "neither removed stores nor those in memory")
	v, _ := get(t, kv[string, int64](t, b, "b"), "k")
	require.Equal(t, int64(2), v, "the prefix stays")
	_, found := get(t, kv[string, int64](t, b, "mem"), "k")
	require.False(t, found)
	require.NoError(t, b.Close(true))

	mem.InMemory = false
	b.reopen(counts("new"), counts("a"), counts("b"), mem)
	cp, _ = b.Checkpoint()
	require.Equal(t, map[string]int64{"b": 1}, cp.Changelog, "what comes back starts from nothing")
	for _, name := range []string{"new", "a", "mem"} {
		_, found = get(t, kv[string, int64](t, b, name), "k")
		require.False(t, found, name)
	}
}

func TestReplay(t *testing.T) {
	t.Parallel()
	b := newBench(t, counts("c"))
	b.budget = store.NewBudget(1) // the least share
	require.NoError(t, b.Close(false))
	b.reopen(counts("c"))
	value := func(n int) []byte {
		v, err := serde.Int64.Append(nil, int64(n))
		require.NoError(t, err)
		return v
	}
	const keys, batch = 100_000, 2000
	limit := 0
	for i := 0; i < 2*keys; i += batch {
		var records []record.Raw
		for j := i; j < i+batch; j++ {
			key := fmt.Appendf(nil, "key-%06d", j*7919%keys)
			r := record.Raw{Key: key, Value: value(j), Timestamp: int64(j), Offset: int64(j)}
			if j%10 == 0 {
				r.Value = nil
			}
			records = append(records, r)
		}
		require.NoError(t, b.Replay("c", records))
		require.NoError(t, b.Replayed(store.Checkpoint{Changelog: map[string]int64{"c": int64(i + batch)}}))
		limit = max(limit, b.MemoryBytes())
	}
	require.Less(t, limit, 17<<20, "memory is bounded: twice the limit of a restore for active and frozen each")
	check := func() {
		c := kv[string, int64](t, b, "c")
		n := 0
		for e, err := range c.All() {
			require.NoError(t, err)
			require.Equal(t, e.Timestamp, e.Value)
			require.GreaterOrEqual(t, e.Value, int64(keys), "the last write of each key")
			n++
		}
		require.Equal(t, keys*9/10, n)
	}
	check()
	require.NoError(t, b.Close(true))
	b.reopen(counts("c"))
	cp, ok := b.Checkpoint()
	require.True(t, ok)
	require.Equal(t, int64(2*keys), cp.Changelog["c"])
	check()
	require.ErrorContains(t, b.Replay("c", []record.Raw{{Offset: 5}}), "offset 5 has no key")
	require.ErrorContains(t, b.Replay("nope", nil), "no store")
}

func TestFlushByAge(t *testing.T) {
	t.Parallel()
	b := newBench(t, counts("c"))
	c := kv[string, int64](t, b, "c")
	require.NoError(t, c.Put("a", 1))
	b.commit()
	b.nowMs += 29_000
	b.commit()
	_, ok := b.Checkpoint()
	require.False(t, ok)
	b.nowMs += 1000
	b.commit()
	cp, ok := b.Checkpoint() // waits for the flush
	require.True(t, ok)
	require.Equal(t, record.Epoch(3), cp.Epoch)
}

func TestClosed(t *testing.T) {
	t.Parallel()
	b := newBench(t, counts("c"))
	c := kv[string, int64](t, b, "c")
	require.NoError(t, c.Put("a", 1))
	b.commit()
	require.NoError(t, b.Close(true))
	require.NoError(t, b.Close(true))
	require.ErrorIs(t, c.Put("a", 2), store.ErrClosed)
	_, _, err := c.Get("a")
	require.ErrorIs(t, err, store.ErrClosed)
	for _, err := range c.All() {
		require.ErrorIs(t, err, store.ErrClosed)
	}
	require.ErrorIs(t, b.Commit(store.Checkpoint{}), store.ErrClosed)
	require.ErrorIs(t, b.Seal(1, nil), store.ErrClosed)
	require.ErrorIs(t, b.Flush(t.Context()), store.ErrClosed)
}

type failingSerde struct{ fail bool }

func (s *failingSerde) Append(dst []byte, v int64) ([]byte, error) {
	if s.fail {
		return nil, errors.New("boom")
	}
	return serde.Int64.Append(dst, v)
}

func (s *failingSerde) Decode(data []byte) (int64, error) { return serde.Int64.Decode(data) }

func TestSerdeErrors(t *testing.T) {
	t.Parallel()
	s := &failingSerde{}
	b := newBench(t, store.KeyValueSpec("c", serde.String, s))
	c := kv[string, int64](t, b, "c")
	require.NoError(t, c.Put("a", 1))
	b.commit()
	require.NoError(t, c.Put("a", 2))
	require.NoError(t, c.Put("b", 2))
	s.fail = true
	err := b.Seal(2, func(string) *record.Batch { return &record.Batch{} })
	var codec *store.CodecError
	require.ErrorAs(t, err, &codec)
	require.Equal(t, "a", string(codec.Key))
	require.NoError(t, b.Rollback())
	s.fail = false
	v, _ := get(t, c, "a")
	require.Equal(t, int64(1), v)
	require.NoError(t, c.Put("a", 3))
	b.commit()
	v, _ = get(t, c, "a")
	require.Equal(t, int64(3), v)

	require.NoError(t, b.Replay("c", []record.Raw{{Key: []byte("bad"), Value: []byte("xy")}}))
	_, _, err = c.Get("bad")
	require.ErrorAs(t, err, &codec)
	require.Equal(t, "decode value", codec.Op)
}

func TestOpenSetCorrupt(t *testing.T) {
	t.Parallel()
	b := newBench(t, counts("c"))
	require.NoError(t, kv[string, int64](t, b, "c").Put("a", 1))
	b.commit()
	require.NoError(t, b.Close(true))
	require.NoError(t, os.WriteFile(filepath.Join(b.dir, "MANIFEST"), []byte("garbage"), 0o600))
	_, err := store.OpenSet(t.Context(), store.SetConfig{Dir: b.dir, Specs: []store.Spec{counts("c")}})
	var corrupt *store.CorruptError
	require.ErrorAs(t, err, &corrupt)
	require.Equal(t, "MANIFEST", corrupt.File)
	require.NoError(t, os.RemoveAll(b.dir))
	b.reopen(counts("c"))
	_, ok := b.Checkpoint()
	require.False(t, ok)
}

// TestStandbyDoesNotPileUpTables follows a changelog for long: every flush is an ingest until Badger must compact.
func TestStandbyDoesNotPileUpTables(t *testing.T) {
	t.Parallel()
	b := newBench(t, counts("c"))
	value, err := serde.Int64.Append(nil, 1)
	require.NoError(t, err)
	const keys, rounds = 4200, 48
	for round := range rounds {
		var records []record.Raw
		for i := range keys {
			records = append(records, record.Raw{Key: fmt.Appendf(nil, "%d", i), Value: value, Timestamp: int64(round)})
		}
		require.NoError(t, b.Replay("c", records))
		require.NoError(t, b.Replayed(store.Checkpoint{Changelog: map[string]int64{"c": int64(round * keys)}}))
		require.NoError(t, b.Flush(t.Context()))
	}
	tables, err := filepath.Glob(filepath.Join(b.dir, "*.sst"))
	require.NoError(t, err)
	require.Less(t, len(tables), 40, "one of each flush would be more")
	n, err := kv[string, int64](t, b, "c").ApproximateCount()
	require.NoError(t, err)
	require.Equal(t, int64(keys), n)
	_, ts, _, err := kv[string, int64](t, b, "c").GetWithTimestamp("4199")
	require.NoError(t, err)
	require.Equal(t, int64(rounds-1), ts)
}
