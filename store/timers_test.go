package store_test

import (
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/store"
)

type timer = store.Timer[string]

func openTimers(t *testing.T, dir string) (*store.Set, *store.Timers[string]) {
	t.Helper()
	set, err := store.OpenSet(t.Context(), store.SetConfig{
		Dir: dir, Specs: []store.Spec{store.TimerSpec("timers", serde.String)}, Context: &store.Context{},
	})
	require.NoError(t, err)
	s, ok := set.Store("timers")
	require.True(t, ok)
	timers, ok := s.(*store.Timers[string])
	require.True(t, ok)
	return set, timers
}

func from(t *testing.T, s *store.Timers[string], kind store.TimerKind, at int64) (got []timer) {
	t.Helper()
	for tm, err := range s.From(kind, at) {
		require.NoError(t, err)
		got = append(got, tm)
	}
	return got
}

// commit seals and commits an epoch and returns its changelog.
func commitTimers(t *testing.T, set *store.Set, epoch record.Epoch) []record.Raw {
	t.Helper()
	b := &record.Batch{}
	require.NoError(t, set.Seal(epoch, func(string) *record.Batch { return b }))
	require.NoError(t, set.Commit(store.Checkpoint{Epoch: epoch, Changelog: map[string]int64{"timers": int64(b.Len())}}))
	var out []record.Raw
	for i := range b.Len() {
		r := b.At(i)
		r.Key, r.Value = slices.Clone(r.Key), slices.Clone(r.Value)
		out = append(out, r)
	}
	return out
}

func TestTimersInOrder(t *testing.T) {
	dir := t.TempDir()
	set, s := openTimers(t, dir)
	want := []timer{
		{Key: "z", At: math.MinInt64},
		{Key: "a", At: -1},
		{Key: "b", At: 0},
		{Key: "", At: 5},
		{Key: "a", At: 5},
		{Key: "b", At: 5},
		{Key: "a", At: 5, Name: "n"},
		{Key: "a", At: 256},
		{Key: "k", At: math.MaxInt64},
	}
	for _, i := range []int{3, 1, 8, 0, 6, 2, 5, 4, 7} {
		require.NoError(t, s.Put(want[i]))
		require.NoError(t, s.Put(want[i]))
	}
	wall := timer{Key: "a", At: 5, Kind: store.WallClockTimer}
	require.NoError(t, s.Put(wall))
	check := func(s *store.Timers[string]) {
		t.Helper()
		require.Equal(t, want, from(t, s, store.EventTimer, math.MinInt64))
		require.Equal(t, want[3:], from(t, s, store.EventTimer, 1))
		require.Equal(t, []timer{wall}, from(t, s, store.WallClockTimer, math.MinInt64))
		require.Empty(t, from(t, s, store.WallClockTimer, 6))
		var after []timer
		for tm, err := range s.After(want[4]) {
			require.NoError(t, err)
			after = append(after, tm)
		}
		require.Equal(t, want[5:], after)
	}
	check(s)
	log := commitTimers(t, set, 1)
	require.Len(t, log, len(want)+1)
	require.NoError(t, set.Close(true))
	set, s = openTimers(t, dir)
	check(s) // from disk

	require.NoError(t, s.Delete(wall))
	require.NoError(t, s.Delete(timer{Key: "nobody", At: 9}))
	require.Empty(t, from(t, s, store.WallClockTimer, 0))
	require.NoError(t, set.Rollback())
	check(s)
	require.NoError(t, s.Delete(wall))
	log2 := commitTimers(t, set, 2)
	require.Len(t, log2, 1, "no tombstone for what was never there")
	require.Nil(t, log2[0].Value)
	require.NoError(t, set.Close(false))

	set, s = openTimers(t, t.TempDir()) // from the changelog alone
	require.NoError(t, set.Replay("timers", append(log, log2...)))
	require.Equal(t, want, from(t, s, store.EventTimer, math.MinInt64))
	require.Empty(t, from(t, s, store.WallClockTimer, 0))
	require.NoError(t, set.Close(false))
}

// TestTimerBytes pins docs/format/timer.md.
func TestTimerBytes(t *testing.T) {
	set, s := openTimers(t, t.TempDir())
	require.NoError(t, s.Put(timer{Key: "key", At: 0x0102030405060708, Kind: store.WallClockTimer, Name: "n1"}))
	log := commitTimers(t, set, 1)
	require.Equal(t, "\x01\x01\x81\x02\x03\x04\x05\x06\x07\x08\x02n1key", string(log[0].Key))
	require.Equal(t, []byte{}, log[0].Value)
	require.NoError(t, set.Close(false))
}

func TestForeignTimersAreRefused(t *testing.T) {
	for key, want := range map[string]string{
		"\x01\x00short": "too short",
		"\x01\x00\x80\x00\x00\x00\x00\x00\x00\x00\x05n": "cut off",
		"\x01\x00\x80\x00\x00\x00\x00\x00\x00\x00":      "cut off",
	} {
		set, s := openTimers(t, t.TempDir())
		require.NoError(t, set.Replay("timers", []record.Raw{{Key: []byte(key), Value: []byte{}}}))
		var err error
		for _, err = range s.From(store.EventTimer, math.MinInt64) {
			break
		}
		require.ErrorContains(t, err, want)
		require.NoError(t, set.Close(false))
	}
}

func FuzzTimer(f *testing.F) {
	f.Add([]byte("\x01\x01\x81\x02\x03\x04\x05\x06\x07\x08\x02n1key"))
	f.Add([]byte("\x01\x00\x80\x00\x00\x00\x00\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"))
	f.Fuzz(func(t *testing.T, data []byte) {
		tm, err := store.DecodeTimer(data)
		if err != nil {
			return
		}
		again, err := store.DecodeTimer(store.AppendTimer(nil, tm))
		require.NoError(t, err)
		require.Equal(t, tm, again)
	})
}
