package store

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/record"
)

func TestTableKeysOfAllLengths(t *testing.T) {
	t.Parallel()
	tb := newTable[int](2, 0)
	var keys [][]byte
	for n := range 40 {
		for _, fill := range []byte{0, 'a'} { // zeros look like padding
			keys = append(keys, append([]byte{0, 1}, bytes.Repeat([]byte{fill}, n)...))
			if n > 0 {
				last := append([]byte{0, 1}, bytes.Repeat([]byte{fill}, n)...)
				last[len(last)-1] = 'z'
				keys = append(keys, last)
			}
		}
	}
	slices.SortFunc(keys, bytes.Compare)
	keys = slices.CompactFunc(keys, bytes.Equal)
	for i, k := range keys {
		_, found := tb.find(k)
		require.False(t, found, "%q", k)
		require.Equal(t, uint32(i), tb.findOrAdd(k))
	}
	for i, k := range keys {
		at, found := tb.find(k)
		require.True(t, found)
		require.Equal(t, uint32(i), at, "%q", k)
		require.Equal(t, k, tb.keyOf(at))
		if len(k) <= 2+headBytes {
			require.Equal(t, string(k[2:]), string(appendShortKey(nil, &tb.entries[at], 2)))
		}
	}
}

func TestSortByKey(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{0, 1, 2, 10, 255, 256, 5000} {
		for _, common := range []string{"", "user-", "a-long-common-prefix-"} {
			keys := make([][]byte, n)
			entries := make([]uint32, n)
			for i := range keys {
				keys[i] = fmt.Appendf(nil, "%s%0*d", common, rng.IntN(20), rng.IntN(1000))
				if rng.IntN(50) == 0 {
					keys[i] = []byte(common)
				}
				entries[i] = uint32(i)
			}
			sortByKey(entries, func(i uint32) []byte { return keys[i] })
			got := make([][]byte, n)
			for i, e := range entries {
				got[i] = keys[e]
			}
			require.True(t, slices.IsSortedFunc(got, bytes.Compare))
			slices.Sort(entries)
			for i, e := range entries {
				require.Equal(t, uint32(i), e)
			}
		}
	}
}

func TestArena(t *testing.T) {
	t.Parallel()
	var a arena
	type piece struct {
		r ref
		b []byte
	}
	var pieces []piece
	for i := range 3000 {
		n := i % 700
		if i%500 == 0 {
			n = 300_000 + i
		}
		r, b := a.alloc(n)
		require.Len(t, b, n)
		for j := range b {
			b[j] = byte(i)
		}
		pieces = append(pieces, piece{r, b})
	}
	for i, p := range pieces {
		require.Equal(t, p.b, a.at(p.r, uint32(len(p.b))), "%d", i)
		if len(p.b) > 0 {
			require.Equal(t, byte(i), p.b[0])
			require.Equal(t, byte(i), p.b[len(p.b)-1])
		}
	}
}

// TestCheckpointGolden pins the format.
func TestCheckpointGolden(t *testing.T) {
	t.Parallel()
	c := Checkpoint{
		Epoch: 300, WallTimeMs: 5, Changelog: map[string]int64{"b": 2, "a": 1},
		Inputs:      map[record.TopicPartition]int64{{Topic: "t", Partition: 3}: 64},
		StreamTimes: map[record.TopicPartition]int64{},
	}
	data := appendCheckpoint(nil, c)
	require.Equal(t, "\x01\xac\x02\x0a\x02\x01a\x02\x01b\x04\x01\x01t\x06\x80\x01\x00", string(data))
	got, err := decodeCheckpoint(data)
	require.NoError(t, err)
	require.Equal(t, c, got)
	_, err = decodeCheckpoint([]byte{9})
	require.ErrorContains(t, err, "version 9")
}

func FuzzCheckpoint(f *testing.F) {
	f.Add(appendCheckpoint(nil, Checkpoint{Epoch: 1, Changelog: map[string]int64{"a": 5}}))
	f.Add([]byte{1, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := decodeCheckpoint(data)
		if err != nil {
			return
		}
		again, err := decodeCheckpoint(appendCheckpoint(nil, c))
		require.NoError(t, err)
		require.Equal(t, c, again)
	})
}

func FuzzNames(f *testing.F) {
	f.Add(encodeNames(map[string]uint16{"counts": 1, "x": 300}))
	f.Fuzz(func(t *testing.T, data []byte) {
		names, err := decodeNames(data)
		if err != nil {
			return
		}
		again, err := decodeNames(encodeNames(names))
		require.NoError(t, err)
		require.Equal(t, names, again)
	})
}

// TestFlushErrorSurfaces lets the database fail beneath a flush.
func TestFlushErrorSurfaces(t *testing.T) {
	t.Parallel()
	spec := Spec{Name: "s", New: func(env Env) (Store, error) { return newBuffer("s", env, rawSerde{}), nil }}
	set, err := OpenSet(t.Context(), SetConfig{Dir: t.TempDir(), Specs: []Spec{spec}})
	require.NoError(t, err)
	require.NoError(t, set.Replay("s", []record.Raw{{Key: []byte("k"), Value: []byte("v")}}))
	require.NoError(t, set.disk.mu.db.Close())
	require.NoError(t, set.Replayed(Checkpoint{Epoch: 1}))
	err = set.Flush(t.Context())
	var failed *FlushError
	require.ErrorAs(t, err, &failed)
	require.ErrorAs(t, set.Commit(Checkpoint{Epoch: 2}), &failed, "and again")
	require.ErrorAs(t, set.Seal(3, nil), &failed)
	require.Error(t, set.Close(true))
	require.NoError(t, set.Close(true))
}

// rawSerde keeps bytes.
type rawSerde struct{}

func (rawSerde) Append(dst, v []byte) ([]byte, error) { return append(dst, v...), nil }
func (rawSerde) Decode(data []byte) ([]byte, error)   { return data, nil }

// FuzzLog feeds damaged logs to the check that runs before Badger sees them.
func FuzzLog(f *testing.F) {
	f.Add(make([]byte, 100))
	f.Add(append(make([]byte, 20), 1, 0, 3, 2, 0, 'k', 'e', 'y', 'v', 'v', 1, 2, 3, 4))
	f.Fuzz(func(t *testing.T, data []byte) {
		n, err := verifyLog(data)
		require.GreaterOrEqual(t, n, int64(0))
		if err == nil && len(data) > 0 {
			require.LessOrEqual(t, n, int64(len(data))*128)
		}
	})
}
