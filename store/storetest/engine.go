package storetest

import (
	"bytes"
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/store"
)

// Reopen closes an engine and opens it again on the same data. An engine that does not survive returns nil.
type Reopen func(t *testing.T, e store.Engine) store.Engine

// RunEngine runs the conformance suite. open makes an empty engine that the test's cleanup closes if the test did not.
func RunEngine(t *testing.T, open func(t *testing.T) store.Engine, reopen Reopen) {
	t.Helper()
	t.Run("Empty", func(t *testing.T) {
		e := open(t)
		require.True(t, e.Empty())
		_, found, err := e.Checkpoint()
		require.NoError(t, err)
		require.False(t, found)
		_, found, err = e.Get([]byte("\x00\x01a"), nil)
		require.NoError(t, err)
		require.False(t, found)
		require.Empty(t, collect(t, e.Scan([]byte{}, nil, false)))
		require.NoError(t, e.Close())
	})
	t.Run("GetAppends", func(t *testing.T) {
		e := open(t)
		flush(t, e, 1, map[string]string{"\x00\x01a": "x", "\x00\x01empty": ""})
		v, found, err := e.Get([]byte("\x00\x01a"), []byte("head-"))
		require.NoError(t, err)
		require.True(t, found)
		require.Equal(t, "head-x", string(v))
		_, found, err = e.Get([]byte("\x00\x01empty"), nil)
		require.NoError(t, err)
		require.True(t, found)
		require.NoError(t, e.Close())
	})
	t.Run("Checkpoint", func(t *testing.T) {
		e := open(t)
		want := checkpoint(7)
		require.NoError(t, e.Flush(slices.Values([]store.Entry{}), want))
		require.False(t, e.Empty())
		got, found, err := e.Checkpoint()
		require.NoError(t, err)
		require.True(t, found)
		require.Equal(t, want, got)
		if e = reopen(t, e); e == nil {
			return
		}
		got, found, err = e.Checkpoint()
		require.NoError(t, err)
		require.True(t, found)
		require.Equal(t, want, got)
		require.NoError(t, e.Close())
	})
	t.Run("SameEpochTwice", func(t *testing.T) {
		e := open(t)
		flush(t, e, 3, map[string]string{"\x00\x01a": "1"})
		flush(t, e, 3, map[string]string{"\x00\x01a": "2"})
		flush(t, e, 0, map[string]string{"\x00\x01a": "3"})
		v, _, err := e.Get([]byte("\x00\x01a"), nil)
		require.NoError(t, err)
		require.Equal(t, "3", string(v))
		require.NoError(t, e.Close())
	})
	t.Run("ReadsBesideFlush", func(t *testing.T) { readsBesideFlush(t, open(t)) })
	t.Run("Random", func(t *testing.T) { randomEngine(t, open(t), reopen) })
}

func checkpoint(epoch record.Epoch) store.Checkpoint {
	tp := record.TopicPartition{Topic: "orders", Partition: 3}
	return store.Checkpoint{
		Epoch:       epoch,
		WallTimeMs:  1_700_000_000_000,
		Changelog:   map[string]int64{"counts": 42, "": 1},
		Inputs:      map[record.TopicPartition]int64{tp: 99, {Topic: "a"}: 1},
		StreamTimes: map[record.TopicPartition]int64{tp: -1},
	}
}

func flush(t *testing.T, e store.Engine, epoch record.Epoch, data map[string]string) {
	t.Helper()
	require.NoError(t, e.Flush(sorted(data, nil), checkpoint(epoch)))
}

// sorted yields data and deletions in key order.
func sorted(data map[string]string, deleted map[string]bool) iter.Seq[store.Entry] {
	var entries []store.Entry
	for k, v := range data {
		entries = append(entries, store.Entry{Key: []byte(k), Value: append([]byte{}, v...)})
	}
	for k := range deleted {
		entries = append(entries, store.Entry{Key: []byte(k)})
	}
	slices.SortFunc(entries, func(a, b store.Entry) int { return bytes.Compare(a.Key, b.Key) })
	return slices.Values(entries)
}

func collect(t *testing.T, seq iter.Seq2[store.Entry, error]) []string {
	t.Helper()
	var out []string
	for e, err := range seq {
		require.NoError(t, err)
		out = append(out, string(e.Key)+"="+string(e.Value))
	}
	return out
}

// readsBesideFlush reads keys that the flush does not touch while it runs.
func readsBesideFlush(t *testing.T, e store.Engine) {
	t.Helper()
	stable := map[string]string{}
	for i := range 1000 {
		stable[fmt.Sprintf("\x00\x01%04d", i)] = strconv.Itoa(i)
	}
	flush(t, e, 1, stable)
	done := make(chan error)
	go func() {
		var err error
		for epoch := record.Epoch(2); epoch < 20 && err == nil; epoch++ {
			data := map[string]string{}
			for i := range 500 {
				data[fmt.Sprintf("\x00\x02%04d", i)] = fmt.Sprint(epoch)
			}
			err = e.Flush(sorted(data, nil), checkpoint(epoch))
		}
		done <- err
	}()
	for i := 0; ; i = (i + 7) % 1000 {
		select {
		case err := <-done:
			require.NoError(t, err)
			require.NoError(t, e.Close())
			return
		default:
		}
		v, found, err := e.Get(fmt.Appendf(nil, "\x00\x01%04d", i), nil)
		require.NoError(t, err)
		require.True(t, found)
		require.Equal(t, strconv.Itoa(i), string(v))
	}
}

func randomEngine(t *testing.T, e store.Engine, reopen Reopen) {
	t.Helper()
	seed := rand.Uint64() //nolint:gosec // a test's seed
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // repeatable
	model := map[string]string{}
	key := func() string { return fmt.Sprintf("\x00%c%03d", 1+rng.IntN(3), rng.IntN(300)) }
	for epoch := record.Epoch(1); epoch <= 30; epoch++ {
		changes, deleted := map[string]string{}, map[string]bool{}
		for range rng.IntN(200) {
			k := key()
			delete(changes, k)
			delete(deleted, k)
			if rng.IntN(4) == 0 {
				deleted[k] = true
			} else {
				changes[k] = string(bytes.Repeat([]byte{'v'}, rng.IntN(50))) + fmt.Sprint(epoch)
			}
		}
		require.NoError(t, e.Flush(sorted(changes, deleted), checkpoint(epoch)))
		maps.Copy(model, changes)
		for k := range deleted {
			delete(model, k)
		}
		if rng.IntN(6) == 0 {
			if again := reopen(t, e); again != nil {
				e = again
			}
		}
		for range 20 {
			k := key()
			v, found, err := e.Get([]byte(k), nil)
			require.NoError(t, err)
			want, ok := model[k]
			require.Equal(t, ok, found, "key %q", k)
			require.Equal(t, want, string(v), "key %q", k)
		}
		for range 4 {
			lo, hi, reverse := key(), key(), rng.IntN(2) == 0
			upper := []byte(hi)
			if rng.IntN(4) == 0 {
				upper = nil
			}
			var want []string
			for k, v := range model {
				if k >= lo && (upper == nil || k < hi) {
					want = append(want, k+"="+v)
				}
			}
			slices.Sort(want)
			if reverse {
				slices.Reverse(want)
			}
			got := collect(t, e.Scan([]byte(lo), upper, reverse))
			if upper == nil { // engines may show keys of their own outside the stores' prefixes
				got = slices.DeleteFunc(got, func(s string) bool { return s < "\x00\x01" })
			}
			require.Equal(t, want, got, "scan %q %q reverse=%t", lo, upper, reverse)
		}
		want := uint64(0)
		for k := range model {
			if k[1] == 1 {
				want++
			}
		}
		n, err := e.ApproximateCount([]byte("\x00\x01"))
		require.NoError(t, err)
		require.Equal(t, want, n, "small stores are counted exactly")
	}
	require.NoError(t, e.Close())
}
