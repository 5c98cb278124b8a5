package store_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/store"
)

func someEntries() []store.Entry {
	return []store.Entry{
		{Key: []byte("\x00\x01a"), Value: []byte("one")},
		{Key: []byte("\x00\x01b"), Value: []byte{}},
		{Key: []byte("\x00\x01c")},
	}
}

func snapshotFile(t *testing.T, entries []store.Entry) []byte {
	t.Helper()
	var file bytes.Buffer
	_, err := store.WriteEntries(&file, sequence(entries))
	require.NoError(t, err)
	return file.Bytes()
}

// read returns the entries in front of an error.
func readAll(file []byte) (entries []store.Entry, err error) {
	for at, err := range store.ReadEntries(bytes.NewReader(file)) {
		if err != nil {
			return entries, err
		}
		entries = append(entries, store.Entry{Key: bytes.Clone(at.Key), Value: bytes.Clone(at.Value)})
	}
	return entries, nil
}

// TestSnapshotFileGolden pins the format (docs/format/snapshot-file.md).
func TestSnapshotFileGolden(t *testing.T) {
	t.Parallel()
	require.Equal(t, "544d4b534e415001"+"ff060000734e61507059"+"01180000"+"97806ad9"+
		"0404"+"000161"+"6f6e65"+"0401"+"000162"+"0400"+"000163"+"0003"+"80040000"+"75db0eee",
		hex.EncodeToString(snapshotFile(t, someEntries())))
	require.Equal(t, "544d4b534e415001"+"ff060000734e61507059"+"01060000"+"9acd2892"+"0000"+"80040000"+"9db98a9e",
		hex.EncodeToString(snapshotFile(t, nil)))
	got, err := readAll(snapshotFile(t, someEntries()))
	require.NoError(t, err)
	require.Equal(t, someEntries(), got)
	got, err = readAll(snapshotFile(t, nil))
	require.NoError(t, err)
	require.Empty(t, got)
}

// largeFile has several chunks, compressed and not.
func largeFile(t *testing.T, entries int) ([]store.Entry, []byte) {
	t.Helper()
	rng := rand.New(rand.NewPCG(1, 2))
	all := make([]store.Entry, entries)
	for i := range all {
		all[i].Key = fmt.Appendf(nil, "\x00\x01key-%08d", i)
		switch i % 3 {
		case 0:
			all[i].Value = bytes.Repeat([]byte{byte(i)}, rng.IntN(200))
		case 1:
			all[i].Value = make([]byte, rng.IntN(200))
			for j := range all[i].Value {
				all[i].Value[j] = byte(rng.Uint32())
			}
		}
	}
	return all, snapshotFile(t, all)
}

func TestTruncatedSnapshotFiles(t *testing.T) {
	t.Parallel()
	want, file := largeFile(t, 1500)
	got, err := readAll(file)
	require.NoError(t, err)
	require.Equal(t, want, got)
	var damage *store.DamageError
	for n := range file {
		if n%41 != 0 && n > 300 && n < len(file)-300 {
			continue // the same everywhere in a chunk
		}
		_, err := readAll(file[:n])
		require.ErrorAs(t, err, &damage, "cut off at %d", n)
	}
	_, err = readAll(append(bytes.Clone(file), 0))
	require.ErrorAs(t, err, &damage)
	_, err = readAll(append(bytes.Clone(file), file[8:]...))
	require.ErrorAs(t, err, &damage, "a second stream behind the first")
}

func TestFlippedBitsInSnapshotFiles(t *testing.T) {
	t.Parallel()
	_, file := largeFile(t, 700)
	for i := range file {
		for bit := range 8 {
			if i > 200 && i < len(file)-200 && (i+bit)%61 != 0 {
				continue
			}
			file[i] ^= 1 << bit
			_, err := readAll(file)
			file[i] ^= 1 << bit
			require.Error(t, err, "bit %d of byte %d", bit, i)
		}
	}
	// A chunk of entries that turns into padding is skipped by the framing.
	skipped := bytes.Clone(file)
	skipped[8+10] = 0xfe
	_, err := readAll(skipped)
	require.Error(t, err)
}

func TestNewerSnapshotFile(t *testing.T) {
	t.Parallel()
	file := snapshotFile(t, someEntries())
	file[7]++
	_, err := readAll(file)
	require.ErrorIs(t, err, store.ErrNewerFormat)
	_, err = readAll([]byte("something else altogether"))
	var damage *store.DamageError
	require.ErrorAs(t, err, &damage)
}

type failingReader struct {
	r   io.Reader
	err error
}

func (f failingReader) Read(p []byte) (int, error) {
	n, err := f.r.Read(p)
	if errors.Is(err, io.EOF) {
		err = f.err
	}
	return n, err
}

// A connection that breaks is no damage.
func TestReaderThatFails(t *testing.T) {
	t.Parallel()
	_, file := largeFile(t, 1500)
	for _, cause := range []error{errors.New("connection lost"), io.ErrUnexpectedEOF} {
		for _, n := range []int{0, 3, 8, 20, len(file) / 2, len(file) - 1, len(file)} {
			var failed error
			for _, err := range store.ReadEntries(failingReader{bytes.NewReader(file[:n]), cause}) {
				failed = err
			}
			require.ErrorIs(t, failed, cause)
			var damage *store.DamageError
			require.NotErrorAs(t, failed, &damage)
		}
	}
}

type fullWriter struct{ room int }

func (w *fullWriter) Write(p []byte) (int, error) {
	if w.room -= len(p); w.room < 0 {
		return 0, errors.New("no space left")
	}
	return len(p), nil
}

func TestWriteEntriesErrors(t *testing.T) {
	t.Parallel()
	entries, file := largeFile(t, 1500)
	for _, room := range []int{0, 9, 100, len(file) - 1} {
		_, err := store.WriteEntries(&fullWriter{room}, sequence(entries))
		require.ErrorContains(t, err, "no space left")
	}
	boom := errors.New("boom")
	n, err := store.WriteEntries(io.Discard, func(yield func(store.Entry, error) bool) {
		_ = yield(someEntries()[0], nil) && yield(store.Entry{}, boom)
	})
	require.ErrorIs(t, err, boom)
	require.Equal(t, int64(1), n)
	same := []store.Entry{someEntries()[0], someEntries()[0]}
	_, err = store.WriteEntries(io.Discard, sequence(same))
	require.ErrorContains(t, err, "ascending")
	_, err = store.WriteEntries(io.Discard, sequence([]store.Entry{{Key: make([]byte, 1<<16+1)}}))
	require.ErrorContains(t, err, "too large")
}

func FuzzReadEntries(f *testing.F) {
	var file bytes.Buffer
	if _, err := store.WriteEntries(&file, sequence(someEntries())); err != nil {
		f.Fatal(err)
	}
	f.Add(file.Bytes())
	f.Add([]byte("TMKSNAP\x01\xff\x06\x00\x00sNaPpY"))
	f.Add([]byte("TMKSNAP\x02"))
	f.Fuzz(func(t *testing.T, data []byte) {
		entries, err := readAll(data)
		if err != nil {
			return
		}
		again, err := readAll(snapshotFile(t, entries))
		require.NoError(t, err)
		require.Equal(t, entries, again)
	})
}

func TestMerge(t *testing.T) {
	t.Parallel()
	list := func(pairs ...string) []store.Entry {
		var all []store.Entry
		for _, p := range pairs {
			key, value, found := bytes.Cut([]byte(p), []byte("="))
			if !found {
				value = nil
			}
			all = append(all, store.Entry{Key: key, Value: value})
		}
		return all
	}
	newest, middle, oldest := list("a=3", "c", "e=3"), list("b=2", "c=2", "d"), list("=1", "a=1", "c=1", "d=1", "f=1")
	require.Equal(t, list("=1", "a=3", "b=2", "c", "d", "e=3", "f=1"),
		cloned(t, store.MergeEntries(sequence(newest), sequence(middle), sequence(oldest))))
	require.Equal(t, list("=1", "a=3", "b=2", "e=3", "f=1"),
		cloned(t, store.MergeFull(sequence(newest), sequence(middle), sequence(oldest))))
	require.Empty(t, cloned(t, store.MergeEntries()))
	require.Empty(t, cloned(t, store.MergeFull(sequence(list("a")))))
	boom := errors.New("boom")
	fails := func(yield func(store.Entry, error) bool) {
		_ = yield(store.Entry{Key: []byte("b"), Value: []byte{}}, nil) && yield(store.Entry{}, boom)
	}
	var failed error
	for _, err := range store.MergeFull(sequence(oldest), fails) {
		failed = err
	}
	require.ErrorIs(t, failed, boom)
	for _, err := range store.MergeFull(sequence(oldest), sequence(list("b=", "a="))) {
		failed = err
	}
	require.ErrorContains(t, failed, "follows")
	for _, err := range store.MergeFull(sequence(oldest), sequence(middle)) {
		require.NoError(t, err)
		break // leaves nothing behind
	}
}
