package store_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/store"
)

// shelf is a snapshot in files, which is loaded when the gate is opened.
type shelf struct {
	files      [][]byte // the newest first
	indexes    []*store.FileIndex
	checkpoint store.Checkpoint
	gate       chan struct{}
	// fault is asked before each read of a part, loadFault what a load fails with at its end.
	fault     func(part []byte) error
	loadFault func() error
	reads     atomic.Int64 // of parts
	loads     atomic.Int64
	ended     chan error
}

var errPassing = errors.New("the storage is away for a moment")

func newShelf(t *testing.T, checkpoint store.Checkpoint, newestFirst ...[]store.Entry) *shelf {
	t.Helper()
	s := &shelf{checkpoint: checkpoint, gate: make(chan struct{}), ended: make(chan error, 9)}
	for _, entries := range newestFirst {
		file, index := indexedFile(t, entries)
		s.files, s.indexes = append(s.files, file), append(s.indexes, index)
	}
	return s
}

// lazy is how a set begins with the snapshot.
func (s *shelf) lazy(dir string) *store.Lazy {
	l := &store.Lazy{
		Base: "snapshot 7", Checkpoint: s.checkpoint, Entries: s.entries, Dir: dir + store.InstallSuffix,
		Transient: func(err error) bool { return errors.Is(err, errPassing) },
		OnEnd:     func(err error) { s.ended <- err },
	}
	l.Place = func() error { return errors.Join(os.RemoveAll(dir), os.Rename(l.Dir, dir)) }
	for i := range s.files {
		part := inParts(s.files[i], s.indexes[i])
		read := part.ReadRange
		part.ReadRange = func(ctx context.Context, offset int64, p []byte) error {
			s.reads.Add(1)
			err := read(ctx, offset, p)
			if err == nil && s.fault != nil {
				err = s.fault(p)
			}
			return err
		}
		l.Files = append(l.Files, *part)
		l.Total += s.indexes[i].Entries
	}
	return l
}

func (s *shelf) entries(ctx context.Context) iter.Seq2[store.Entry, error] {
	return func(yield func(store.Entry, error) bool) {
		s.loads.Add(1)
		select {
		case <-s.gate:
		case <-ctx.Done():
			yield(store.Entry{}, ctx.Err())
			return
		}
		var all []iter.Seq2[store.Entry, error]
		for _, file := range s.files {
			entries, err := readAll(file)
			if err != nil {
				yield(store.Entry{}, err)
				return
			}
			all = append(all, sequence(entries))
		}
		for at, err := range store.MergeFull(all...) {
			if !yield(at, err) {
				return
			}
		}
		if s.loadFault != nil {
			if err := s.loadFault(); err != nil {
				yield(store.Entry{}, err)
			}
		}
	}
}

// open opens a set on the snapshot.
func (s *shelf) open(t *testing.T, specs ...store.Spec) *bench {
	t.Helper()
	b := &bench{t: t, budget: smallBudget(), dir: filepath.Join(t.TempDir(), "0_3"), nowMs: 1_000_000}
	b.lazy = s.lazy(b.dir)
	b.reopen(specs...)
	b.epoch = s.checkpoint.Epoch
	return b
}

// model is a store of strings with what it should have.
type model struct {
	*bench

	rng            *rand.Rand
	now, committed map[string]string
}

func texts(name string) store.Spec { return store.KeyValueSpec(name, serde.String, serde.String) }

func (m *model) store() *store.KeyValue[string, string] { return kv[string, string](m.t, m.bench, "c") }

func (m *model) key() string { return fmt.Sprintf("key-%05d", m.rng.IntN(6000)) }

// step does something, and compares.
func (m *model) step() {
	m.t.Helper()
	c := m.store()
	switch m.rng.IntN(12) {
	case 0, 1, 2, 3:
		for range m.rng.IntN(30) {
			k := m.key()
			m.now[k] = strconv.Itoa(m.rng.IntN(1 << 30))
			require.NoError(m.t, c.Put(k, m.now[k]))
		}
	case 4:
		for range m.rng.IntN(30) {
			k := m.key()
			delete(m.now, k)
			require.NoError(m.t, c.Delete(k))
		}
	case 5:
		m.commit()
		m.committed = maps.Clone(m.now)
	case 6:
		require.NoError(m.t, m.Rollback())
		m.now = maps.Clone(m.committed)
	case 7:
		require.NoError(m.t, m.Flush(m.t.Context()))
	case 8:
		m.compareAll(m.rng.IntN(2) == 0)
	default:
		for range 20 {
			k := m.key()
			v, found := get(m.t, c, k)
			want, there := m.now[k]
			require.Equal(m.t, there, found, k)
			require.Equal(m.t, want, v)
		}
		m.compareRange()
	}
}

func (m *model) compareAll(reverse bool) {
	m.t.Helper()
	keys := slices.Sorted(maps.Keys(m.now))
	all := m.store().All()
	if reverse {
		slices.Reverse(keys)
		all = m.store().ReverseAll()
	}
	i := 0
	for e, err := range all {
		require.NoError(m.t, err)
		require.Equal(m.t, keys[i], e.Key)
		require.Equal(m.t, m.now[e.Key], e.Value)
		i++
	}
	require.Len(m.t, keys, i)
}

func (m *model) compareRange() {
	m.t.Helper()
	lo, hi := m.key(), m.key()
	var want, got []string
	for _, k := range slices.Sorted(maps.Keys(m.now)) {
		if lo <= k && k <= hi {
			want = append(want, k)
		}
	}
	reverse := m.rng.IntN(2) == 0
	all := m.store().Range(lo, hi)
	if reverse {
		slices.Reverse(want)
		all = m.store().ReverseRange(lo, hi)
	}
	for e, err := range all {
		require.NoError(m.t, err)
		require.Equal(m.t, m.now[e.Key], e.Value)
		if got = append(got, e.Key); len(got) > 200 {
			want = want[:len(got)]
			break
		}
	}
	require.Equal(m.t, want, got)
}

// snapshots makes a full snapshot and two increments of random content.
func snapshots(t *testing.T, seed uint64) (*shelf, map[string]string) {
	t.Helper()
	m := &model{bench: newBench(t, texts("c")), rng: rand.New(rand.NewPCG(seed, 1)), now: map[string]string{}}
	var files [][]store.Entry
	var snap *store.Snapshot
	for round, n := range []int{5000, 600, 600} {
		for range n {
			k := m.key()
			if m.rng.IntN(4) == 0 {
				delete(m.now, k)
				require.NoError(t, m.store().Delete(k))
				continue
			}
			m.now[k] = strconv.Itoa(m.rng.IntN(1<<30)) + string(make([]byte, m.rng.IntN(300)))
			require.NoError(t, m.store().Put(k, m.now[k]))
		}
		m.commit()
		before := snap
		snap = m.snapshot()
		if round == 0 {
			files = append(files, cloned(t, snap.Full(t.Context())))
			continue
		}
		changes, ok := snap.Since(before.Version())
		require.True(t, ok)
		files = append([][]store.Entry{cloned(t, changes)}, files...)
	}
	s := newShelf(t, snap.Checkpoint(), files...)
	require.NoError(t, m.Close(true))
	return s, m.now
}

// A set that reads what is missing from the files gives the same answers as one that has everything: before, while and
// after the load gives it its database, and so does the next start.
func TestLazyModel(t *testing.T) {
	t.Parallel()
	for seed := range uint64(4) {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			t.Parallel()
			s, content := snapshots(t, seed)
			m := &model{
				bench: s.open(t, texts("c"), counts("new")), rng: rand.New(rand.NewPCG(seed, 2)), now: content,
				committed: maps.Clone(content),
			}
			cp, ok := m.Checkpoint()
			require.True(t, ok)
			require.Equal(t, s.checkpoint.Changelog["c"], cp.Changelog["c"])
			for range 150 {
				m.step()
			}
			l, loading := m.Loading()
			require.True(t, loading)
			require.Equal(t, "snapshot 7", l.Base)
			require.Zero(t, l.Percent())
			_, err := m.Snapshot()
			require.ErrorIs(t, err, store.ErrLoading)
			require.NoDirExists(t, m.dir, "nothing is local that a crash could leave")
			close(s.gate)
			for range 60 { // beside the load and the swap
				m.step()
			}
			require.NoError(t, store.AwaitLoaded(m.Set))
			require.NoError(t, <-s.ended)
			_, loading = m.Loading()
			require.False(t, loading)
			require.NoDirExists(t, m.lazy.Dir)
			reads := s.reads.Load()
			for range 100 {
				m.step()
			}
			require.Equal(t, reads, s.reads.Load(), "nothing is read from the files any more")
			require.NoError(t, m.Rollback())
			m.now = maps.Clone(m.committed)
			require.NoError(t, kv[string, int64](t, m.bench, "new").Put("k", 5))
			m.commit()
			snap, err := m.Snapshot()
			require.NoError(t, err)
			rows := 0
			for _, err := range snap.Full(t.Context()) {
				require.NoError(t, err)
				rows++
			}
			require.Equal(t, len(m.now)+2, rows, "with the table of names and the new store's")
			snap.Release()
			require.NoError(t, m.Close(true))
			m.lazy = nil
			m.reopen(texts("c"), counts("new"))
			m.compareAll(false)
			v, _ := get(t, kv[string, int64](t, m.bench, "new"), "k")
			require.Equal(t, int64(5), v)
		})
	}
}

// Every kind of store works on a snapshot that is not there yet as it does on a database.
func TestLazyZoo(t *testing.T) {
	t.Parallel()
	for seed := range uint64(4) {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			t.Parallel()
			plain, other := newZoo(t, seed), newZoo(t, seed)
			both := func(rounds int) {
				for range rounds {
					for _, z := range []*zoo{plain, other} {
						z.write(30)
						if z.rng.IntN(5) == 0 {
							z.rollback()
						}
						z.commit()
						if z.rng.IntN(3) == 0 {
							require.NoError(t, z.Flush(t.Context()))
						}
					}
					require.Equal(t, plain.show(plain.bench), other.show(other.bench))
				}
			}
			both(15)
			first, err := other.Snapshot()
			require.NoError(t, err)
			full := cloned(t, first.Full(t.Context()))
			both(3)
			second, err := other.Snapshot()
			require.NoError(t, err)
			changes, ok := second.Since(first.Version())
			require.True(t, ok)
			increment := cloned(t, changes)
			s := newShelf(t, second.Checkpoint(), increment, full)
			first.Release()
			second.Release()
			require.NoError(t, other.Close(true))

			other.dir = filepath.Join(t.TempDir(), "0_3")
			other.lazy = s.lazy(other.dir)
			epoch, timestamp := other.epoch, other.context.Timestamp
			other.reopen(other.specs()...)
			other.epoch, other.context.Timestamp = epoch, timestamp
			for _, a := range other.animals {
				if a.spec.InMemory {
					merged := store.MergeFull(sequence(increment), sequence(full))
					replayInto(t, other.bench, a.spec.Name, other.ChangelogRecords(a.spec.Name, merged))
				}
			}
			require.NoError(t, other.Replayed(s.checkpoint))
			other.advance(other.now)
			require.Equal(t, plain.show(plain.bench), other.show(other.bench))
			both(10)
			close(s.gate)
			both(5)
			require.NoError(t, store.AwaitLoaded(other.Set))
			both(5)
			require.NoError(t, other.Close(true))
		})
	}
}

// A crash before the load has ended leaves nothing, and one behind it a state that is whole.
func TestLazyClosedEarly(t *testing.T) {
	t.Parallel()
	s, content := snapshots(t, 9)
	for _, clean := range []bool{false, true} {
		b := s.open(t, texts("c"))
		require.NoError(t, kv[string, string](t, b, "c").Put("k", "v"))
		b.commit()
		require.NoError(t, b.Flush(t.Context()))
		require.NoError(t, kv[string, string](t, b, "c").Put("k", "w"))
		b.commit()
		require.NoError(t, b.Close(clean))
		require.NoDirExists(t, b.dir)
		require.NoDirExists(t, b.lazy.Dir)
	}
	require.Empty(t, s.ended)
	b := s.open(t, texts("c"))
	require.NoError(t, kv[string, string](t, b, "c").Put("k", "v"))
	b.commit()
	require.NoError(t, b.Flush(t.Context()))
	close(s.gate)
	require.NoError(t, store.AwaitLoaded(b.Set))
	require.NoError(t, kv[string, string](t, b, "c").Put("k", "w"))
	b.commit()
	require.NoError(t, b.Close(false))
	b.lazy = nil
	b.reopen(texts("c"))
	cp, ok := b.Checkpoint()
	require.True(t, ok)
	require.Equal(t, s.checkpoint.Epoch+1, cp.Epoch, "what was flushed before the database was there")
	content["k"] = "v"
	(&model{bench: b, now: content}).compareAll(false)
}

// What is not in any file costs a block of each at the most, and none once it is cached.
func TestLazyReadsLittle(t *testing.T) {
	t.Parallel()
	s, content := snapshots(t, 3)
	b := s.open(t, texts("c"))
	before := s.reads.Load()
	_, found := get(t, kv[string, string](t, b, "c"), "key-03000 is not there")
	require.False(t, found)
	require.LessOrEqual(t, s.reads.Load()-before, int64(len(s.files)))
	before = s.reads.Load()
	for range 3 {
		_, found = get(t, kv[string, string](t, b, "c"), "key-03000 is not there, either")
		require.False(t, found)
	}
	require.LessOrEqual(t, s.reads.Load()-before, int64(len(s.files)))
	n, err := kv[string, string](t, b, "c").ApproximateCount()
	require.NoError(t, err)
	require.InEpsilon(t, len(content), n, 0.5)
}

// What cannot be read is never taken for not there: what passes is read again, what does not ends the task.
func TestLazyReadsThatFail(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]struct {
		fault func(reads int64, part []byte) error
		fails bool
	}{
		"passes":  {func(reads int64, _ []byte) error { return failIf(reads%3 != 0, errPassing) }, false},
		"stays":   {func(int64, []byte) error { return errPassing }, true},
		"is gone": {func(int64, []byte) error { return os.ErrNotExist }, true},
		"damaged once": {func(reads int64, part []byte) error {
			part[len(part)/2] ^= byte(reads % 2)
			return nil
		}, false},
		"damaged": {func(_ int64, part []byte) error { part[len(part)/2] ^= 1; return nil }, true},
		"short":   {func(int64, []byte) error { return io.ErrUnexpectedEOF }, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, content := snapshots(t, 5)
			b := s.open(t, texts("c"))
			var reads atomic.Int64
			s.fault = func(part []byte) error { return want.fault(reads.Add(1), part) }
			c := kv[string, string](t, b, "c")
			var failed error
			for k, value := range content {
				v, found, err := c.Get(k)
				if err != nil {
					failed = err
					break
				}
				require.True(t, found)
				require.Equal(t, value, v)
			}
			if !want.fails {
				require.NoError(t, failed)
				require.Empty(t, s.ended)
				require.NoError(t, b.Close(false))
				return
			}
			var load *store.LoadError
			require.ErrorAs(t, failed, &load)
			require.ErrorContains(t, failed, "snapshot 7")
			require.Error(t, <-s.ended)
			require.ErrorAs(t, b.Failed(), &load)
			s.fault = nil
			for _, err := range c.All() {
				require.ErrorAs(t, err, &load, "no answer after one that failed")
			}
			require.ErrorAs(t, b.Commit(b.checkpoint()), &load)
			require.NoError(t, b.Close(true))
			require.NoDirExists(t, b.dir)
		})
	}
}

func failIf(fails bool, err error) error {
	if fails {
		return err
	}
	return nil
}

// A load that fails for good ends a task that runs; one that may succeed is tried again.
func TestLazyLoadsThatFail(t *testing.T) {
	t.Parallel()
	s, content := snapshots(t, 6)
	s.loadFault = func() error { return failIf(s.loads.Load() < 3, errPassing) }
	close(s.gate)
	b := s.open(t, texts("c"))
	require.NoError(t, store.AwaitLoaded(b.Set))
	require.Equal(t, int64(3), s.loads.Load())
	(&model{bench: b, now: content}).compareAll(false)
	require.NoError(t, b.Close(true))

	s, _ = snapshots(t, 6)
	s.files[1][len(s.files[1])-1] ^= 1 // the checksum of the whole
	b = s.open(t, texts("c"))
	require.NoError(t, kv[string, string](t, b, "c").Put("k", "v"))
	b.commit()
	close(s.gate)
	var load *store.LoadError
	require.ErrorAs(t, store.AwaitLoaded(b.Set), &load)
	var damage *store.DamageError
	require.ErrorAs(t, <-s.ended, &damage)
	require.ErrorAs(t, b.Commit(b.checkpoint()), &load)
	require.ErrorAs(t, b.Flush(t.Context()), &load)
	require.NoError(t, b.Close(true))
	require.NoDirExists(t, b.dir)
	require.NoDirExists(t, b.lazy.Dir)
}

// What is kept of flushes is bounded: when there is no more room, a flush waits for the load, and ends with the set.
func TestLazyFlushWaits(t *testing.T) {
	t.Parallel()
	s, _ := snapshots(t, 8)
	for _, loads := range []bool{false, true} {
		b := s.open(t, texts("c"))
		store.OverlayForTest(b.Set, 1<<40)
		require.NoError(t, kv[string, string](t, b, "c").Put("k", "v"))
		b.commit()
		done, cancel := context.WithCancel(t.Context())
		cancel()
		require.ErrorIs(t, b.Flush(done), context.Canceled)
		require.True(t, b.FlushRunning())
		v, _ := get(t, kv[string, string](t, b, "c"), "k")
		require.Equal(t, "v", v)
		if loads {
			close(s.gate)
			require.NoError(t, b.Flush(t.Context()))
			require.NoError(t, <-s.ended)
		}
		require.NoError(t, b.Close(true))
	}
}

// A snapshot with a store that is not on disk any more has to be loaded first; one with a store in memory has not, and
// its rows are nobody's.
func TestLazyOtherStores(t *testing.T) {
	t.Parallel()
	memory := counts("b")
	memory.InMemory = true
	before := newBench(t, counts("a"), memory)
	for _, name := range []string{"a", "b"} {
		require.NoError(t, kv[string, int64](t, before, name).Put(name, 1))
	}
	before.commit()
	snap := before.snapshot()
	s := newShelf(t, snap.Checkpoint(), cloned(t, snap.Full(t.Context())))
	require.NoError(t, before.Close(true))

	b := s.open(t, counts("a"), counts("b"), counts("c"))
	cp, _ := b.Checkpoint()
	require.Equal(t, map[string]int64{"a": 1}, cp.Changelog)
	for _, name := range []string{"b", "c"} {
		require.Empty(t, drain(t, kv[string, int64](t, b, name).All(),
			func(e store.KeyValueEntry[string, int64]) string { return e.Key }), name)
	}
	require.NoError(t, b.Close(false))

	other := &bench{t: t, budget: smallBudget(), dir: filepath.Join(t.TempDir(), "0_3")}
	_, err := store.OpenSet(t.Context(), store.SetConfig{
		Dir: other.dir, Specs: []store.Spec{counts("c")}, Lazy: s.lazy(other.dir),
	})
	require.ErrorContains(t, err, `"a"`)
	require.NoDirExists(t, other.dir+store.InstallSuffix)
	_, err = store.OpenSet(t.Context(), store.SetConfig{
		Dir: other.dir, Specs: []store.Spec{counts("c")}, Lazy: &store.Lazy{},
	})
	require.ErrorContains(t, err, "SetConfig.Lazy needs")
}
