package checkpointing

import (
	"context"
	"encoding/binary"
	"fmt"
	"iter"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/checkpointing/storage"
	"github.com/tidemarkio/tidemark/checkpointing/storage/dir"
	"github.com/tidemarkio/tidemark/checkpointing/storage/storagetest"
	"github.com/tidemarkio/tidemark/internal/clock"
	"github.com/tidemarkio/tidemark/store"
)

// manyEntries is a snapshot of n entries of 100 bytes, half of which compress.
type manyEntries struct {
	fakeSnapshot
	n int
}

func (s *manyEntries) Full(context.Context) iter.Seq2[store.Entry, error] {
	value := append(storagetest.Bytes(50, 1), make([]byte, 42)...)
	return func(yield func(store.Entry, error) bool) {
		var key [8]byte
		for i := range s.n {
			binary.BigEndian.PutUint64(key[:], uint64(i))
			binary.BigEndian.PutUint64(value, uint64(i)*0x9e3779b97f4a7c15)
			if !yield(store.Entry{Key: key[:], Value: value}, nil) {
				return
			}
		}
	}
}

// BenchmarkExport stores and reads a snapshot in a directory: one goroutine's part of a checkpoint and of a restore.
func BenchmarkExport(b *testing.B) {
	const entries = 200_000
	for _, key := range [][]byte{nil, make([]byte, storage.KeyBytes)} {
		s := dir.New(b.TempDir())
		e, err := NewExporter(ExporterConfig{
			Config: Config{Storage: s, EncryptionKey: key}.WithDefaults(), Clock: clock.System(),
		})
		require.NoError(b, err)
		var last TaskSnapshot
		b.Run(fmt.Sprintf("write/encrypted=%v", key != nil), func(b *testing.B) {
			b.SetBytes(entries * 100)
			for b.Loop() {
				done := make(chan exported, 1)
				cut := Cut{Snapshot: &manyEntries{fakeSnapshot: fakeSnapshot{f: newFakeTask(0)}, n: entries}}
				e.Export(testTrigger(1, 0), cut, func(s TaskSnapshot, err error) { done <- exported{s, err} })
				got := <-done
				require.NoError(b, got.err)
				last = got.snapshot
			}
		})
		b.Run(fmt.Sprintf("read/encrypted=%v", key != nil), func(b *testing.B) {
			b.SetBytes(entries * 100)
			files := Files{Storage: s, Cipher: e.cipher}
			for b.Loop() {
				for _, err := range files.Task(b.Context(), &Manifest{Location: "app/chk-1"}, &last) {
					if err != nil { // require costs more than an entry
						b.Fatal(err)
					}
				}
			}
		})
		e.Close()
	}
}
