package store_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/store"
)

// TestInstallLarge installs what takes several tables, and goes on from there.
func TestInstallLarge(t *testing.T) {
	t.Parallel()
	spec := store.KeyValueSpec("c", serde.String, serde.Bytes)
	b := newBench(t, spec)
	c := kv[string, []byte](t, b, "c")
	const keys = 60_000
	for i := range keys {
		require.NoError(t, c.Put(fmt.Sprintf("%08d", i), make([]byte, 200)))
	}
	b.commit()
	s := b.snapshot()
	dir := filepath.Join(t.TempDir(), "0_3")
	require.NoError(t, store.Install(t.Context(), dir, s.Full(t.Context()), s.Checkpoint(), b.budget, nil))
	tables, err := filepath.Glob(filepath.Join(dir, "*.sst"))
	require.NoError(t, err)
	require.Greater(t, len(tables), 2)
	require.NoError(t, b.Close(true))
	b.dir = dir
	b.reopen(spec)
	c = kv[string, []byte](t, b, "c")
	n, err := c.ApproximateCount()
	require.NoError(t, err)
	require.Equal(t, int64(keys), n)
	require.NoError(t, c.Delete("00000007"))
	require.NoError(t, c.Put("new", []byte{}))
	b.commit()
	require.NoError(t, b.Close(true))
	b.reopen(spec)
	n, err = kv[string, []byte](t, b, "c").ApproximateCount()
	require.NoError(t, err)
	require.Equal(t, int64(keys), n)
	_, found := get(t, kv[string, []byte](t, b, "c"), "00000007")
	require.False(t, found)
}

func TestInstallThatFails(t *testing.T) {
	t.Parallel()
	b := newBench(t, counts("c"), counts("d"))
	for i := range 5000 {
		require.NoError(t, kv[string, int64](t, b, "c").Put(strconv.Itoa(i), 1))
	}
	b.commit()
	full := cloned(t, b.snapshot().Full(t.Context()))
	boom := errors.New("boom")
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	middle := len(full) / 2
	unsorted := append(append([]store.Entry{}, full...), full[middle])
	foreign := append(append([]store.Entry{}, full...), store.Entry{Key: []byte("\x00\x77x"), Value: []byte{}})
	for name, c := range map[string]struct {
		ctx     context.Context
		entries func(yield func(store.Entry, error) bool)
		want    string
	}{
		"in the middle": {t.Context(), func(yield func(store.Entry, error) bool) {
			for i, at := range full {
				if i == middle {
					yield(store.Entry{}, boom)
					return
				}
				if !yield(at, nil) {
					return
				}
			}
		}, "boom"},
		"at the end": {t.Context(), func(yield func(store.Entry, error) bool) {
			for _, at := range full {
				if !yield(at, nil) {
					return
				}
			}
			yield(store.Entry{}, boom)
		}, "boom"},
		"at once":        {t.Context(), func(yield func(store.Entry, error) bool) { yield(store.Entry{}, boom) }, "boom"},
		"cancelled":      {cancelled, sequence(full), "context canceled"},
		"nothing":        {t.Context(), sequence(nil), "names of its stores"},
		"without names":  {t.Context(), sequence(full[1:]), "names of its stores"},
		"not in order":   {t.Context(), sequence(unsorted), "follows"},
		"of a foreigner": {t.Context(), sequence(foreign), "belongs to no store"},
		"unknown table":  {t.Context(), sequence([]store.Entry{{Key: []byte("\x00\x00x")}}), "unknown table"},
		"bad names": {
			t.Context(), sequence([]store.Entry{{Key: []byte("\x00\x00n"), Value: []byte{1, 9}}}), "malformed",
		},
		"newer names": {t.Context(), sequence([]store.Entry{{Key: []byte("\x00\x00n"), Value: []byte{9}}}), "version"},
		"same prefix": {t.Context(), sequence([]store.Entry{
			{Key: []byte("\x00\x00m"), Value: []byte("\x01\x01\x01a\x05")},
			{Key: []byte("\x00\x00n"), Value: []byte("\x01\x01\x01b\x05")},
		}), "prefix 5"},
		"empty key": {t.Context(), sequence([]store.Entry{full[0], {Value: []byte{}}}), "no key"},
	} {
		dir := filepath.Join(t.TempDir(), "task")
		err := store.Install(c.ctx, dir, c.entries, store.Checkpoint{}, nil, nil)
		require.ErrorContains(t, err, c.want, name)
		require.NoDirExists(t, dir, name)
	}
	require.ErrorContains(t, store.Install(t.Context(), b.dir, sequence(full), store.Checkpoint{}, nil, nil), "not empty")
	require.DirExists(t, b.dir)
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	require.Error(t, store.Install(t.Context(), file, sequence(full), store.Checkpoint{}, nil, nil))
	require.FileExists(t, file)
}

// A store of another program is left to OpenSet, which deletes what is not in the topology.
func TestInstallOfOtherStores(t *testing.T) {
	t.Parallel()
	memory := counts("b")
	memory.InMemory = true
	b := newBench(t, counts("a"), memory, counts("c"))
	for _, name := range []string{"a", "b", "c"} {
		require.NoError(t, kv[string, int64](t, b, name).Put(name, 1))
	}
	b.commit()
	s := b.snapshot()
	full := cloned(t, s.Full(t.Context()))
	require.Equal(t, map[string]int64{"a": 1, "b": 1, "c": 1}, s.Checkpoint().Changelog)
	require.NoError(t, b.Close(true))
	b.dir = filepath.Join(t.TempDir(), "task")
	require.NoError(t, store.Install(t.Context(), b.dir, sequence(full), s.Checkpoint(), nil, nil))
	b.reopen(counts("c"), counts("b"), counts("new"))
	cp, _ := b.Checkpoint()
	require.Equal(t, map[string]int64{"c": 1}, cp.Changelog)
	require.Equal(t, record.Epoch(1), cp.Epoch)
	_, found := get(t, kv[string, int64](t, b, "c"), "c")
	require.True(t, found)
	for _, name := range []string{"b", "new"} {
		_, found := get(t, kv[string, int64](t, b, name), name)
		require.False(t, found)
	}
}
