package storage_test

import (
	"bytes"
	"context"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/checkpointing/storage"
	"github.com/tidemarkio/tidemark/checkpointing/storage/storagetest"
)

// rangesOf reads parts of an encrypted object in memory.
func rangesOf(c *storage.Cipher, sealed []byte) *storage.RangeDecrypter {
	return c.DecryptRanges(int64(len(sealed)), func(_ context.Context, offset int64, p []byte) error {
		if _, err := bytes.NewReader(sealed).ReadAt(p, offset); err != nil {
			return io.ErrUnexpectedEOF
		}
		return nil
	})
}

func TestCipherRanges(t *testing.T) {
	t.Parallel()
	c := newCipher(t, 1)
	for _, n := range []int{0, 1, chunk - 1, chunk, chunk + 1, 3*chunk + 7} {
		plain := storagetest.Bytes(n, 1)
		ranges := rangesOf(newCipher(t, 2, 1), encrypt(t, c, plain)) // an older key
		for _, from := range []int{0, 1, 17, chunk - 1, chunk, chunk + 1, 2 * chunk, n - 1, n} {
			for _, length := range []int{0, 1, 100, chunk, chunk + 1, n - from} {
				if from < 0 || length < 0 {
					continue
				}
				p := make([]byte, length)
				err := ranges.ReadRange(t.Context(), int64(from), p)
				if from+length > n {
					require.ErrorIs(t, err, io.ErrUnexpectedEOF)
					continue
				}
				require.NoError(t, err)
				require.True(t, bytes.Equal(plain[from:from+length], p), "%d bytes at %d of %d", length, from, n)
			}
		}
		require.Error(t, ranges.ReadRange(t.Context(), -1, make([]byte, 1)))
	}
}

func TestCipherRangesDetectDamage(t *testing.T) {
	t.Parallel()
	c := newCipher(t, 1)
	plain := storagetest.Bytes(2*chunk+5, 1)
	sealed := encrypt(t, c, plain)
	for _, at := range []int{20, 70, chunk + 70, len(sealed) - 1} { // in the salt, and in each chunk
		spoilt := bytes.Clone(sealed)
		spoilt[at] ^= 4
		err := rangesOf(c, spoilt).ReadRange(t.Context(), 0, make([]byte, len(plain)))
		require.ErrorIs(t, err, storage.ErrDamaged, "byte %d", at)
	}
	// Cut off at the end of a chunk, the one before it would be the last.
	cut := sealed[:len(sealed)-5-16]
	require.ErrorIs(t, rangesOf(c, cut).ReadRange(t.Context(), chunk, make([]byte, chunk)), storage.ErrDamaged)
	require.ErrorIs(t, rangesOf(newCipher(t, 3), sealed).ReadRange(t.Context(), 0, make([]byte, 1)), storage.ErrKey)
	require.ErrorIs(t, rangesOf(c, plain).ReadRange(t.Context(), 0, make([]byte, 1)), storage.ErrKey)
	require.ErrorIs(t, rangesOf(c, sealed[:30]).ReadRange(t.Context(), 0, make([]byte, 1)), storage.ErrDamaged)
}
