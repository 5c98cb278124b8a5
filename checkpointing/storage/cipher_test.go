package storage_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/checkpointing/storage"
	"github.com/tidemarkio/tidemark/checkpointing/storage/storagetest"
)

func secret(n byte) []byte { return bytes.Repeat([]byte{n}, storage.KeyBytes) }

func newCipher(t *testing.T, keys ...byte) *storage.Cipher {
	t.Helper()
	var older [][]byte
	for _, k := range keys[1:] {
		older = append(older, secret(k))
	}
	c, err := storage.NewCipher(secret(keys[0]), older...)
	require.NoError(t, err)
	return c
}

func encrypt(t *testing.T, c *storage.Cipher, plain []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := c.Encrypt(&out)
	require.NoError(t, err)
	// In odd pieces, so that chunks do not fall together with writes.
	for rest := plain; len(rest) > 0; {
		n := min(len(rest), 9973)
		m, err := w.Write(rest[:n])
		require.NoError(t, err)
		require.Equal(t, n, m)
		rest = rest[n:]
	}
	require.NoError(t, w.Close())
	_, err = w.Write([]byte("late"))
	require.Error(t, err)
	return out.Bytes()
}

const chunk = 64 << 10

func TestCipherRoundTrip(t *testing.T) {
	t.Parallel()
	c := newCipher(t, 1)
	for _, n := range []int{0, 1, chunk - 1, chunk, chunk + 1, 2 * chunk, 3*chunk + 7} {
		plain := storagetest.Bytes(n, 1)
		sealed := encrypt(t, c, plain)
		require.Equal(t, storage.StoredBytes(int64(n)), int64(len(sealed)))
		for _, r := range []io.Reader{
			bytes.NewReader(sealed), iotest.HalfReader(bytes.NewReader(sealed)), iotest.DataErrReader(bytes.NewReader(sealed)),
		} {
			got, err := io.ReadAll(c.Decrypt(r))
			require.NoError(t, err)
			require.True(t, bytes.Equal(plain, got), "%d bytes", n)
		}
		require.NotEqual(t, sealed, encrypt(t, c, plain), "each object has a key of its own")
	}
}

// Whatever is changed in an object or cut from it is noticed, and what was read until then is right.
func TestCipherDetectsDamage(t *testing.T) {
	t.Parallel()
	c := newCipher(t, 1)
	plain := storagetest.Bytes(2*chunk+100, 2)
	sealed := encrypt(t, c, plain)
	check := func(damaged []byte, what string, at int) {
		got, err := io.ReadAll(c.Decrypt(bytes.NewReader(damaged)))
		require.Error(t, err, "%s at %d", what, at)
		require.True(t, bytes.HasPrefix(plain, got), "%s at %d", what, at)
	}
	header := len(sealed) - len(plain) - 3*16
	places := []int{0, 4, 5, 12, 13, header - 1, header, header + chunk, header + chunk + 16, len(sealed) - 17, len(sealed) - 1}
	for at := 7; at < len(sealed); at += 4001 {
		places = append(places, at)
	}
	for _, at := range places {
		check(sealed[:at], "cut", at)
		flipped := bytes.Clone(sealed)
		flipped[at] ^= 1
		check(flipped, "flipped", at)
	}
	check(append(bytes.Clone(sealed), 0), "longer", 0)
	// Whole chunks left out, exchanged, or taken from elsewhere.
	first, second := sealed[header:header+chunk+16], sealed[header+chunk+16:header+2*(chunk+16)]
	rest := sealed[header+2*(chunk+16):]
	check(bytes.Join([][]byte{sealed[:header], first, rest}, nil), "left out", 1)
	check(bytes.Join([][]byte{sealed[:header], second, first, rest}, nil), "exchanged", 0)
	check(bytes.Join([][]byte{sealed[:header], first, second}, nil), "end left out", 2)
	other := encrypt(t, c, plain)
	check(bytes.Join([][]byte{sealed[:header], other[header:]}, nil), "foreign", 0)
}

func TestCipherKeys(t *testing.T) {
	t.Parallel()
	_, err := storage.NewCipher([]byte("short"))
	require.ErrorContains(t, err, "5 bytes")
	_, err = storage.NewCipher(secret(1), nil)
	require.ErrorContains(t, err, "key 2")
	old, rotated, foreign := newCipher(t, 1), newCipher(t, 2, 1), newCipher(t, 3)
	sealed := encrypt(t, old, []byte("plain"))
	got, err := io.ReadAll(rotated.Decrypt(bytes.NewReader(sealed)))
	require.NoError(t, err)
	require.Equal(t, "plain", string(got))
	require.NotEqual(t, old.KeyID(), rotated.KeyID())
	_, err = io.ReadAll(foreign.Decrypt(bytes.NewReader(sealed)))
	require.ErrorIs(t, err, storage.ErrKey)
	require.ErrorContains(t, err, old.KeyID())
	_, err = io.ReadAll(old.Decrypt(bytes.NewReader([]byte("something else entirely"))))
	require.ErrorIs(t, err, storage.ErrKey)
	require.ErrorContains(t, err, "not encrypted")
	newer := bytes.Clone(sealed)
	newer[4] = 9
	_, err = io.ReadAll(old.Decrypt(bytes.NewReader(newer)))
	require.ErrorContains(t, err, "format 9")
}

// TestEncryptedObjectGolden pins docs/format/encrypted-object.md: an object of an earlier program can be read.
func TestEncryptedObjectGolden(t *testing.T) {
	t.Parallel()
	sealed, err := hex.DecodeString(goldenObject)
	require.NoError(t, err)
	c := newCipher(t, 1)
	id := sha256.Sum256(append([]byte("tidemark key id 1\x00"), secret(1)...))
	require.Equal(t, hex.EncodeToString(id[:8]), c.KeyID())
	require.Equal(t, "TMKE\x01"+string(id[:8]), string(sealed[:13]))
	got, err := io.ReadAll(c.Decrypt(bytes.NewReader(sealed)))
	require.NoError(t, err)
	require.Equal(t, "golden", string(got))
}

func FuzzDecrypt(f *testing.F) {
	sealed, err := hex.DecodeString(goldenObject)
	require.NoError(f, err)
	f.Add(sealed)
	f.Add(sealed[:40])
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := io.ReadAll(newCipher(t, 1).Decrypt(bytes.NewReader(data)))
		require.True(t, err != nil || bytes.Equal(data, sealed), "%q", got)
	})
}

// goldenObject is "golden", encrypted with a key of 32 bytes 01.
const goldenObject = "544d4b4501cd7b753dc44ae779305fe1016b698c0192fd650bc7ebff0914739402ab96a8006a9bf68cde2480da" +
	"acfcf6f9595a3c7a453e0d64f310da07b02a5b60df17"
