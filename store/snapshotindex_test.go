package store_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/store"
)

// indexedFile writes entries to a file with an index.
func indexedFile(t testing.TB, entries []store.Entry) ([]byte, *store.FileIndex) {
	t.Helper()
	var file bytes.Buffer
	index, err := store.WriteIndexedEntries(&file, sequence(entries))
	require.NoError(t, err)
	require.Equal(t, int64(len(entries)), index.Entries)
	return file.Bytes(), index
}

// inParts is a file in memory of which parts can be read.
func inParts(file []byte, index *store.FileIndex) *store.SnapshotFile {
	return &store.SnapshotFile{
		Name: "chk-1/0_0.snap", Index: index, ReadRange: func(ctx context.Context, offset int64, p []byte) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			if offset+int64(len(p)) > int64(len(file)) {
				return io.ErrUnexpectedEOF
			}
			copy(p, file[offset:])
			return nil
		},
	}
}

// largeEntries have values of all sizes, also such as take several chunks.
func largeEntries(t *testing.T) []store.Entry {
	t.Helper()
	entries, _ := largeFile(t, 4000)
	for i, n := range map[int]int{0: 64 << 10, 700: 64<<10 - 40, 1500: 1 << 20, 1501: 1 << 20, 3999: 200_000} {
		entries[i].Value = bytes.Repeat([]byte{byte(i), 1, 2, byte(n)}, n/4)
	}
	return entries
}

// TestSnapshotIndexGolden pins the format (docs/format/snapshot-index.md).
func TestSnapshotIndexGolden(t *testing.T) {
	t.Parallel()
	entries := someEntries()
	entries = append(entries, store.Entry{Key: []byte("\x00\x01cc"), Value: make([]byte, 64<<10)})
	_, index := indexedFile(t, entries)
	index.Bytes = 4711
	for i := range index.SHA256 {
		index.SHA256[i] = byte(i)
	}
	golden := "544d4b53494458" + "01" + "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f" +
		"e724" + "04" + "02" + "12" + "00" + "03000161" + "1a" + "02" + "026363" + "a518" + "7318b155"
	require.Equal(t, golden, hex.EncodeToString(index.Append(nil)))
	got, err := store.DecodeFileIndex(index.Append(nil))
	require.NoError(t, err)
	require.Equal(t, index, got)
}

func TestSnapshotIndex(t *testing.T) {
	t.Parallel()
	for name, entries := range map[string][]store.Entry{
		"nothing": nil, "some": someEntries(), "many": largeEntries(t),
	} {
		file, index := indexedFile(t, entries)
		got, err := readAll(file)
		require.NoError(t, err, "%s: it is a snapshot file like others", name)
		require.Equal(t, entries, got)
		decoded, err := store.DecodeFileIndex(index.Append(nil))
		require.NoError(t, err)
		require.Equal(t, index, decoded)
		f := inParts(file, decoded)
		blocks := store.BlocksOf(decoded)
		if name == "many" {
			require.Greater(t, blocks, 8)
		}
		for _, n := range []int{1, 2, 5, blocks} {
			var got []store.Entry
			for i := 0; i < blocks; i += n {
				part, err := store.ReadBlocks(t.Context(), f, i, min(n, blocks-i))
				require.NoError(t, err)
				got = append(got, part...)
			}
			require.Equal(t, entries, got, "%s, %d at a time", name, n)
		}
	}
}

// Whatever bit of the file or of its index is another one: it is an error where it is read.
func TestDamagedParts(t *testing.T) {
	t.Parallel()
	entries, _ := largeFile(t, 1500)
	file, index := indexedFile(t, entries)
	f, blocks := inParts(file, index), store.BlocksOf(index)
	for i := 18; i < len(file)-30; i++ { // between snappy's head and the end mark
		bit := byte(1) << (i % 8)
		if i > 300 && i%41 != 0 {
			continue
		}
		file[i] ^= bit
		got, err := store.ReadBlocks(t.Context(), f, 0, blocks)
		file[i] ^= bit
		if err == nil { // a copy may be taken from another place with the same bytes
			require.Equal(t, entries, got, "byte %d", i)
			continue
		}
		var damage *store.DamageError
		require.ErrorAs(t, err, &damage, "byte %d", i)
	}
	other, _ := largeFile(t, 1400)
	spoilt, _ := indexedFile(t, other[200:])
	_, err := store.ReadBlocks(t.Context(), inParts(spoilt, index), 0, 1)
	require.Error(t, err, "a file with another index")
	_, err = store.ReadBlocks(t.Context(), inParts(file[:len(file)/2], index), 0, blocks)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)

	data := index.Append(nil)
	for i := range data {
		data[i] ^= 1 << (i % 8)
		_, err := store.DecodeFileIndex(data)
		data[i] ^= 1 << (i % 8)
		require.Error(t, err, "byte %d of the index", i)
		_, err = store.DecodeFileIndex(data[:i])
		require.Error(t, err, "%d bytes of the index", i)
	}
	data[7]++
	_, err = store.DecodeFileIndex(data)
	require.ErrorIs(t, err, store.ErrNewerFormat)
	_, err = store.WriteIndexedEntries(&fullWriter{100}, sequence(entries))
	require.ErrorContains(t, err, "no space left")
	boom := errors.New("boom")
	fails := func(yield func(store.Entry, error) bool) { yield(store.Entry{}, boom) }
	_, err = store.WriteIndexedEntries(io.Discard, fails)
	require.ErrorIs(t, err, boom)
}

func FuzzDecodeFileIndex(f *testing.F) {
	_, index := indexedFile(f, someEntries())
	f.Add(index.Append(nil))
	f.Add([]byte("TMKSIDX\x01"))
	f.Fuzz(func(t *testing.T, data []byte) {
		index, err := store.DecodeFileIndex(data)
		if err != nil {
			return
		}
		again, err := store.DecodeFileIndex(index.Append(nil))
		require.NoError(t, err)
		require.Equal(t, index, again)
	})
}

// FuzzReadBlocks reads blocks from a file of which a part is anything.
func FuzzReadBlocks(f *testing.F) {
	file, index := indexedFile(f, someEntries())
	f.Add(file[18:])
	f.Add([]byte("\x00\x05\x00\x00abcde"))
	f.Add([]byte("\x01\xff\xff\xffabcde"))
	f.Fuzz(func(t *testing.T, data []byte) {
		part := inParts(append(bytes.Clone(file[:18]), data...), index)
		if entries, err := store.ReadBlocks(t.Context(), part, 0, 1); err == nil {
			require.Equal(t, someEntries()[0].Key, entries[0].Key)
		}
	})
}
