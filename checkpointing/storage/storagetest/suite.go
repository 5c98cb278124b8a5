package storagetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/tidemarkio/tidemark/checkpointing/storage"
	"github.com/tidemarkio/tidemark/internal/clock"
)

// largeBytes is more than what storages send at once: an upload to S3 has several parts then.
const largeBytes = 6<<20 + 17

// Run checks that a storage keeps what the port promises. open returns an empty one, and is called for each part of the
// suite.
func Run(t *testing.T, open func(t *testing.T) storage.Storage) {
	for name, test := range map[string]func(*testing.T, storage.Storage){
		"objects come back":                 comeBack,
		"parts come back":                   parts,
		"commit publishes":                  commitPublishes,
		"abort drops":                       abortDrops,
		"a writer is used once":             usedOnce,
		"commit replaces":                   replaces,
		"exclusive keeps the first":         exclusive,
		"one of many exclusive wins":        exclusiveRace,
		"absent":                            absent,
		"list":                              list,
		"list is left":                      listIsLeft,
		"delete":                            remove,
		"names are checked":                 names,
		"contexts end everything":           contexts,
		"many at once":                      manyAtOnce,
		"what died is swept":                sweep,
		"messages name what they are about": messages,
	} {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
}

func comeBack(t *testing.T, s storage.Storage) {
	for _, n := range []int{0, 1, 64<<10 - 1, 64 << 10, 64<<10 + 1, 1 << 20, largeBytes} {
		name, data := fmt.Sprintf("app/chk-1/%d.snap", n), Bytes(n, 1)
		write(t, s, name, data)
		require.True(t, bytes.Equal(data, read(t, s, name)), "%d bytes", n)
		require.Equal(t, map[string]int64{name: int64(n)}, listed(t, s, name))
	}
}

func parts(t *testing.T, s storage.Storage) {
	if err := storage.ReadRange(t.Context(), s, "app/large", 0, nil); errors.Is(err, errors.ErrUnsupported) {
		t.Skip("this storage reads whole objects only")
	}
	ranges, ok := s.(storage.RangeReader)
	require.True(t, ok)
	data := Bytes(largeBytes, 8)
	write(t, s, "app/large", data)
	write(t, s, "app/empty", nil)
	for _, c := range []struct{ from, to int }{
		{0, 0},
		{0, 1},
		{0, 100},
		{1, 2},
		{64<<10 - 1, 64<<10 + 1},
		{5 << 20, 5<<20 + 70_000},
		{0, largeBytes},
		{largeBytes - 1, largeBytes},
		{largeBytes, largeBytes},
	} {
		p := make([]byte, c.to-c.from)
		require.NoError(t, ranges.ReadRange(t.Context(), "app/large", int64(c.from), p), "%+v", c)
		require.True(t, bytes.Equal(data[c.from:c.to], p), "%+v", c)
	}
	for name, offset := range map[string]int64{"app/empty": 0, "app/large": largeBytes - 9} {
		err := ranges.ReadRange(t.Context(), name, offset, make([]byte, 10))
		require.ErrorIs(t, err, io.ErrUnexpectedEOF, name)
		require.False(t, storage.Transient(err))
	}
	require.ErrorIs(t, ranges.ReadRange(t.Context(), "app/large", 2*largeBytes, make([]byte, 1)), io.ErrUnexpectedEOF)
	require.Error(t, ranges.ReadRange(t.Context(), "app/large", -1, make([]byte, 1)))
	err := ranges.ReadRange(t.Context(), "app/missing", 0, make([]byte, 1))
	require.ErrorIs(t, err, storage.ErrNotFound)
	require.ErrorContains(t, err, "app/missing")
	require.Error(t, ranges.ReadRange(t.Context(), "a/../b", 0, make([]byte, 1)))
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, ranges.ReadRange(ended, "app/large", 0, make([]byte, 1)), context.Canceled)
}

func commitPublishes(t *testing.T, s storage.Storage) {
	for _, n := range []int{10, largeBytes} {
		name := fmt.Sprintf("app/%d", n)
		w, err := s.Create(t.Context(), name, storage.CreateOptions{})
		require.NoError(t, err)
		_, err = w.Write(Bytes(n, 2))
		require.NoError(t, err)
		require.Empty(t, listed(t, s, name), "before Commit")
		_, err = s.Open(t.Context(), name)
		require.ErrorIs(t, err, storage.ErrNotFound)
		require.NoError(t, w.Commit(t.Context()))
		require.Len(t, read(t, s, name), n)
	}
}

func abortDrops(t *testing.T, s storage.Storage) {
	for _, n := range []int{0, 10, largeBytes} {
		w, err := s.Create(t.Context(), "app/dropped", storage.CreateOptions{})
		require.NoError(t, err)
		_, err = w.Write(Bytes(n, 3))
		require.NoError(t, err)
		require.NoError(t, w.Abort(t.Context()))
		require.Empty(t, listed(t, s, ""))
		swept, err := storage.Sweep(t.Context(), s, "", always)
		require.NoError(t, err)
		require.Empty(t, swept, "an aborted writer leaves nothing")
	}
}

func usedOnce(t *testing.T, s storage.Storage) {
	w, err := s.Create(t.Context(), "app/once", storage.CreateOptions{})
	require.NoError(t, err)
	require.NoError(t, w.Commit(t.Context()))
	_, err = w.Write([]byte("x"))
	require.Error(t, err)
	require.Error(t, w.Commit(t.Context()))
	require.NoError(t, w.Abort(t.Context()), "Abort after Commit does nothing")
	require.Empty(t, read(t, s, "app/once"))
}

func replaces(t *testing.T, s storage.Storage) {
	write(t, s, "app/twice", []byte("first"))
	write(t, s, "app/twice", []byte("second one"))
	require.Equal(t, "second one", string(read(t, s, "app/twice")))
	require.Equal(t, map[string]int64{"app/twice": 10}, listed(t, s, "app/"))
}

func exclusive(t *testing.T, s storage.Storage) {
	for _, n := range []int{10, largeBytes} {
		name, first := fmt.Sprintf("app/%d", n), Bytes(n, 4)
		// Both are created before either is committed: Commit has to decide.
		var writers []storage.Writer
		for seed := range uint64(2) {
			w, err := s.Create(t.Context(), name, storage.CreateOptions{Exclusive: true})
			require.NoError(t, err)
			_, err = w.Write(Bytes(n, 4+seed))
			require.NoError(t, err)
			writers = append(writers, w)
		}
		require.NoError(t, writers[0].Commit(t.Context()))
		require.ErrorIs(t, writers[1].Commit(t.Context()), storage.ErrExists)
		err := storage.Put(t.Context(), s, name, []byte("third"), storage.CreateOptions{Exclusive: true})
		require.ErrorIs(t, err, storage.ErrExists)
		require.False(t, storage.Transient(err))
		require.True(t, bytes.Equal(first, read(t, s, name)))
	}
	swept, err := storage.Sweep(t.Context(), s, "", always)
	require.NoError(t, err)
	require.Empty(t, swept, "losers leave nothing")
}

func exclusiveRace(t *testing.T, s storage.Storage) {
	const writers = 8
	won := make([]bool, writers)
	var g errgroup.Group
	for i := range writers {
		g.Go(func() error {
			err := storage.Put(t.Context(), s, "app/race", Bytes(1000, uint64(i)), storage.CreateOptions{Exclusive: true})
			won[i] = err == nil
			if errors.Is(err, storage.ErrExists) || storage.Transient(err) {
				return nil // S3 may answer that another write is on its way
			}
			return err
		})
	}
	require.NoError(t, g.Wait())
	winner := slices.Index(won, true)
	require.GreaterOrEqual(t, winner, 0, "somebody wins")
	require.NotContains(t, won[winner+1:], true, "nobody else")
	require.Equal(t, Bytes(1000, uint64(winner)), read(t, s, "app/race"))
}

func absent(t *testing.T, s storage.Storage) {
	write(t, s, "app/chk-1/there", []byte("x"))
	for _, name := range []string{"app/chk-1/missing", "other", "app/chk-1", "app/chk-1/there/below"} {
		_, err := s.Open(t.Context(), name)
		require.ErrorIs(t, err, storage.ErrNotFound, name)
		require.ErrorContains(t, err, name)
		require.False(t, storage.Transient(err))
	}
	require.Empty(t, listed(t, s, "app/chk-2"))
}

func list(t *testing.T, s storage.Storage) {
	require.Empty(t, listed(t, s, ""))
	all := map[string]int64{}
	for i, name := range []string{
		"app/chk-1/0_0-5-full.snap", "app/chk-1/MANIFEST.json", "app/chk-10/0_0-6-inc.snap", "app/chk-2/x", "app-2/chk-1/x",
		"app/savepoint-3-a1b2/MANIFEST.json", "other",
	} {
		write(t, s, name, Bytes(i, 5))
		all[name] = int64(i)
	}
	for _, prefix := range []string{"", "app", "app/", "app/chk-", "app/chk-1", "app/chk-1/", "app/savepoint-", "o", "z"} {
		want := map[string]int64{}
		for name, n := range all {
			if strings.HasPrefix(name, prefix) {
				want[name] = n
			}
		}
		require.Equal(t, want, listed(t, s, prefix), "prefix %q", prefix)
	}
	for o, err := range s.List(t.Context(), "other") {
		require.NoError(t, err)
		require.WithinDuration(t, clock.System().Now(), o.Modified, time.Minute)
	}
}

func listIsLeft(t *testing.T, s storage.Storage) {
	for i := range 10 {
		write(t, s, fmt.Sprintf("app/%d", i), nil)
	}
	seen := 0
	for _, err := range s.List(t.Context(), "app/") {
		require.NoError(t, err)
		if seen++; seen == 3 {
			break
		}
	}
	require.Equal(t, 3, seen)
}

func remove(t *testing.T, s storage.Storage) {
	require.NoError(t, s.Delete(t.Context()))
	require.NoError(t, s.Delete(t.Context(), "app/never/was"))
	var all []string
	for i := range 20 {
		all = append(all, fmt.Sprintf("app/chk-%d/file", i))
		write(t, s, all[i], []byte("x"))
	}
	require.NoError(t, s.Delete(t.Context(), append(all[:19:19], "app/missing", all[0], all[0])...))
	require.Equal(t, map[string]int64{all[19]: 1}, listed(t, s, ""))
	_, err := s.Open(t.Context(), all[0])
	require.ErrorIs(t, err, storage.ErrNotFound)
	require.NoError(t, s.Delete(t.Context(), all[19]))
	require.Empty(t, listed(t, s, ""))
	write(t, s, all[0], []byte("again"))
	require.Equal(t, "again", string(read(t, s, all[0])))
}

func names(t *testing.T, s storage.Storage) {
	for _, name := range []string{
		"", "/", "/a", "a/", "a//b", ".", "..", "../a", "a/../b", "a/./b", "a~b", "a b", "ä", "a\x00",
	} {
		_, err := s.Create(t.Context(), name, storage.CreateOptions{})
		require.Error(t, err, "create %q", name)
		require.False(t, storage.Transient(err))
		_, err = s.Open(t.Context(), name)
		require.Error(t, err, "open %q", name)
		require.Error(t, s.Delete(t.Context(), name), "delete %q", name)
	}
	for _, prefix := range []string{"/", "../", "a//", "a/../b"} {
		require.Error(t, listError(t.Context(), s, prefix), "list %q", prefix)
	}
	long := strings.Repeat("n", 200) + "/" + strings.Repeat("m", 200)
	write(t, s, long, []byte("x"))
	require.Equal(t, map[string]int64{long: 1}, listed(t, s, ""))
}

func contexts(t *testing.T, s storage.Storage) {
	write(t, s, "app/there", Bytes(1<<20, 6))
	ended, cancel := context.WithCancel(t.Context())
	w, err := s.Create(ended, "app/new", storage.CreateOptions{})
	require.NoError(t, err)
	_, err = w.Write([]byte("x"))
	require.NoError(t, err)
	r, err := s.Open(ended, "app/there")
	require.NoError(t, err)
	cancel()
	_, err = w.Write([]byte("y"))
	require.ErrorIs(t, err, context.Canceled)
	require.NoError(t, w.Abort(ended), "Abort cleans up all the same")
	_, err = io.Copy(io.Discard, r)
	require.ErrorIs(t, err, context.Canceled)
	require.NoError(t, r.Close())
	w, err = s.Create(t.Context(), "app/new", storage.CreateOptions{})
	require.NoError(t, err)
	require.ErrorIs(t, w.Commit(ended), context.Canceled)
	_, err = s.Create(ended, "app/new", storage.CreateOptions{})
	require.ErrorIs(t, err, context.Canceled)
	_, err = s.Open(ended, "app/there")
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, listError(ended, s, ""), context.Canceled)
	require.ErrorIs(t, s.Delete(ended, "app/there"), context.Canceled)
	require.Equal(t, map[string]int64{"app/there": 1 << 20}, listed(t, s, ""))
}

func manyAtOnce(t *testing.T, s storage.Storage) {
	const objects = 12
	var g errgroup.Group
	for i := range objects {
		g.Go(func() error {
			name := fmt.Sprintf("app/chk-%d/file", i)
			for round := range uint64(5) {
				data := Bytes(10_000, round)
				if err := put(t.Context(), s, name, data); err != nil {
					return err
				}
				got, err := storage.Get(t.Context(), s, name, 10_000)
				if err != nil || !bytes.Equal(got, data) {
					return fmt.Errorf("%s comes back as %d bytes: %w", name, len(got), err)
				}
				if err := s.Delete(t.Context(), name); err != nil {
					return err
				}
			}
			return put(t.Context(), s, name, nil)
		})
	}
	require.NoError(t, g.Wait())
	require.Len(t, listed(t, s, "app/"), objects)
}

func sweep(t *testing.T, s storage.Storage) {
	if _, ok := s.(storage.Sweeper); !ok {
		t.Skip("this storage says that dead writers leave nothing")
	}
	write(t, s, "app/chk-1/there", []byte("x"))
	for _, name := range []string{"app/chk-1/dead", "app/chk-2/dead", "app/chk-2/alive", "app-2/dead"} {
		w, err := s.Create(t.Context(), name, storage.CreateOptions{})
		require.NoError(t, err)
		_, err = w.Write(Bytes(largeBytes, 7))
		require.NoError(t, err)
	}
	require.Len(t, listed(t, s, ""), 1)
	dead := func(name string) bool { return strings.HasSuffix(name, "/dead") }
	swept, err := storage.Sweep(t.Context(), s, "app/chk-", dead)
	require.NoError(t, err)
	slices.Sort(swept)
	if len(swept) == 0 {
		t.Skip("dead writers of this storage leave nothing")
	}
	require.Equal(t, []string{"app/chk-1/dead", "app/chk-2/dead"}, swept)
	swept, err = storage.Sweep(t.Context(), s, "", always)
	require.NoError(t, err)
	slices.Sort(swept)
	require.Equal(t, []string{"app-2/dead", "app/chk-2/alive"}, swept)
	require.Equal(t, map[string]int64{"app/chk-1/there": 1}, listed(t, s, ""))
}

func messages(t *testing.T, s storage.Storage) {
	require.NotEmpty(t, s.String())
	_, err := s.Open(t.Context(), "app/missing")
	e, ok := errors.AsType[*storage.Error](err)
	require.True(t, ok, "%v", err)
	require.Equal(t, "app/missing", e.Name)
	require.Equal(t, "open", e.Op)
	require.Contains(t, err.Error(), s.String())
}

// Bytes returns n bytes that depend on the seed and do not compress.
func Bytes(n int, seed uint64) []byte {
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), 1})
	data := make([]byte, n)
	_, _ = r.Read(data) // never fails
	return data
}

// put tries what may pass a few times, as everybody has to.
func put(ctx context.Context, s storage.Storage, name string, data []byte) (err error) {
	for range 10 {
		if err = storage.Put(ctx, s, name, data, storage.CreateOptions{}); !storage.Transient(err) {
			return err
		}
	}
	return err
}

func always(string) bool { return true }

func write(t *testing.T, s storage.Storage, name string, data []byte) {
	t.Helper()
	require.NoError(t, storage.Put(t.Context(), s, name, data, storage.CreateOptions{}))
}

func read(t *testing.T, s storage.Storage, name string) []byte {
	t.Helper()
	data, err := storage.Get(t.Context(), s, name, 1<<30)
	require.NoError(t, err)
	return data
}

func listed(t *testing.T, s storage.Storage, prefix string) map[string]int64 {
	t.Helper()
	objects := map[string]int64{}
	for o, err := range s.List(t.Context(), prefix) {
		require.NoError(t, err)
		require.NotContains(t, objects, o.Name, "listed twice")
		objects[o.Name] = o.Bytes
	}
	return objects
}

func listError(ctx context.Context, s storage.Storage, prefix string) error {
	for _, err := range s.List(ctx, prefix) {
		if err != nil {
			return err
		}
	}
	return nil
}
