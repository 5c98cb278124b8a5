package store

import (
	"encoding/hex"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
)

// TestClockGolden pins the value of a clock (docs/format/window-stores.md).
func TestClockGolden(t *testing.T) {
	t.Parallel()
	before := []tasksBefore{
		{partitions: 4, values: map[int32]int64{0: 300, 1: 7, 3: 9}},
		{partitions: 7, values: map[int32]int64{2: 6}},
		{partitions: 300, values: map[int32]int64{299: 8}},
	}
	for now, want := range map[int64]string{
		-1:  "ffffffffffffffff" + "0103" + "0403" + "00ad02" + "0108" + "030a" + "0701" + "0207" + "ac0201" + "ab0209",
		7:   "0000000000000007" + "0102" + "0402" + "00ad02" + "030a" + "ac0201" + "ab0209",
		300: "000000000000012c", // what has been passed is not written
	} {
		got := appendClock(nil, now, before)
		require.Equal(t, want, hex.EncodeToString(got))
		value, back, err := parseClock(got)
		require.NoError(t, err)
		require.Equal(t, now, value)
		require.Equal(t, got, appendClock(nil, value, back))
	}
	for _, bad := range []string{
		"", "00", "000000000000000100", "000000000000000102", "000000000000000101", "00000000000000010101",
		"0000000000000001010100", "000000000000000101010000", "00000000000000010101040104", "0000000000000001010104010409",
		"0000000000000001010104010300", "000000000000000101010401030500", "00000000000000010101ffffffffff0f0100",
	} {
		data, err := hex.DecodeString(bad)
		require.NoError(t, err)
		_, _, err = parseClock(data)
		require.Error(t, err, bad)
	}
}

func FuzzClock(f *testing.F) {
	f.Add(appendClock(nil, 5, nil))
	f.Add(appendClock(nil, 5, []tasksBefore{{partitions: 4, values: map[int32]int64{0: 300, 3: 9}}}))
	f.Fuzz(func(t *testing.T, data []byte) {
		now, before, err := parseClock(data)
		if err != nil {
			return
		}
		encoded := appendClock(nil, now, before)
		again, rest, err := parseClock(encoded)
		require.NoError(t, err)
		require.Equal(t, now, again)
		require.Equal(t, encoded, appendClock(nil, again, rest))
	})
}

// mergeClock merges clocks of one name, by partition of before.
func mergeClock(t *testing.T, where Placement, partitions int32, filled []int32, rows map[int32][]byte) []byte {
	t.Helper()
	m := MergeClocks(partitions)
	for _, p := range filled {
		m.Filled(p)
	}
	for p, value := range rows {
		require.NoError(t, m.Add(where, p, record.Raw{Key: []byte("c"), Value: value}))
	}
	var merged []byte
	for r := range m.All() {
		require.Equal(t, "c", string(r.Key))
		require.Nil(t, merged)
		merged = r.Value
	}
	return merged
}

func TestMergeClocks(t *testing.T) {
	t.Parallel()
	at := func(now int64) []byte { return appendClock(nil, now, nil) }
	rows := map[int32][]byte{0: at(50), 1: at(20), 3: at(90)}
	all := []int32{0, 1, 3}
	require.Equal(t, at(20), mergeClock(t, LeastEverywhere, 4, all, rows))
	require.Equal(t, at(90), mergeClock(t, GreatestEverywhere, 4, all, rows))
	require.Nil(t, mergeClock(t, Nowhere, 4, all, rows))
	// A task that has rows and never moved the clock has the least value that there is.
	require.Equal(t, at(-1), mergeClock(t, LeastEverywhere, 4, []int32{0, 2}, rows))
	require.Equal(t, at(50), mergeClock(t, LeastEverywhere, 4, []int32{0}, map[int32][]byte{0: at(50), 2: at(-1)}))
	require.Equal(t, at(-1), mergeClock(t, LeastEverywhere, 4, nil, map[int32][]byte{2: at(-1)}))

	// From 4 partitions to 7: each key finds what its task had.
	first := mergeClock(t, LeastByKey, 4, all, rows)
	clock := func(value []byte) *Clock {
		now, before, err := parseClock(value)
		require.NoError(t, err)
		c := &Clock{}
		c.start(now, before)
		return c
	}
	had := map[int32]int64{0: 50, 1: 20, 2: 20, 3: 90}
	for hash := range uint32(100) {
		c := clock(first)
		require.Equal(t, int64(20), c.Now())
		require.Equal(t, had[int32(hash%4)], c.NowOf(hash))
		c.Set(60)
		require.Equal(t, max(60, had[int32(hash%4)]), c.NowOf(hash))
	}
	require.Equal(t, int64(90), clock(first).LatestBefore())

	// And from there to 3, after some tasks have gone on: a key has the greatest of all that its tasks had.
	now := []int64{20, 55, 20, 95, 30, 20, 20}
	second := map[int32][]byte{}
	_, before, err := parseClock(first)
	require.NoError(t, err)
	for p, v := range now {
		second[int32(p)] = appendClock(nil, v, before)
	}
	c := clock(mergeClock(t, LeastByKey, 7, []int32{0, 1, 2, 3, 4, 5, 6}, second))
	require.Equal(t, int64(20), c.Now())
	for hash := range uint32(1000) {
		require.Equal(t, max(now[hash%7], had[int32(hash%4)]), c.NowOf(hash), hash)
	}
	require.Error(t, MergeClocks(1).Add(LeastByKey, 0, record.Raw{Value: []byte{1}}))
}

// What is remembered lives in the engine and in the changelog, until the clock has passed it.
func TestClockRemembers(t *testing.T) {
	t.Parallel()
	spec := WindowSpec("w", serde.String, serde.String, WindowConfig{Retention: time.Hour, Grid: time.Minute})
	dir := t.TempDir()
	var log *record.Batch
	open := func() (*Set, *Window[string, string], *Clock) {
		set, w := openWindows(t, dir, spec)
		c, err := w.Clock("observed")
		require.NoError(t, err)
		return set, w, c
	}
	epoch := record.Epoch(0)
	commit := func(set *Set) {
		epoch++
		log = &record.Batch{}
		require.NoError(t, set.Seal(epoch, func(string) *record.Batch { return log }))
		require.NoError(t, set.Commit(Checkpoint{Epoch: epoch}))
	}
	set, w, c := open()
	hash, err := w.PartitionHash("k")
	require.NoError(t, err)
	mine := record.PartitionOfHash(hash, 2)
	require.Equal(t, record.PartitionOf([]byte("k"), 2), mine)
	row := appendClock(nil, -1, []tasksBefore{{partitions: 2, values: map[int32]int64{mine: 70, 1 - mine: 30}}})
	require.NoError(t, set.Replay("w", []record.Raw{{Key: []byte("\x00observed"), Value: row}}))
	require.NoError(t, set.Replayed(Checkpoint{}))
	require.Equal(t, int64(70), c.NowOf(hash))
	commit(set)
	require.NoError(t, set.Close(true))

	set, _, c = open()
	require.Equal(t, int64(-1), c.Now())
	require.Equal(t, int64(70), c.NowOf(hash), "the clock itself has not moved since the restore")
	c.Advance(40)
	commit(set)
	left := []tasksBefore{{partitions: 2, values: map[int32]int64{mine: 70}}}
	require.Equal(t, appendClock(nil, 40, left), log.At(0).Value)
	c.Advance(100)
	require.NoError(t, set.Rollback())
	require.Equal(t, int64(70), c.NowOf(hash))
	c.Advance(70)
	commit(set)
	require.Equal(t, appendClock(nil, 70, nil), log.At(0).Value)
	require.NoError(t, set.Close(true))
	_, _, c = open()
	require.Equal(t, int64(-1), c.LatestBefore())
	require.Equal(t, int64(70), c.NowOf(hash))
}

// Rows of a task that was ahead are later than the clock of the store that has them now. They are found all the same.
func TestRowsAheadOfTheirClock(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]WindowConfig{
		"grid": {Retention: time.Hour, Grid: time.Minute}, "segments": {Retention: time.Hour, TimeIndex: true},
		"duplicates": {Retention: time.Hour, RetainDuplicates: true},
	} {
		spec := WindowSpec("w", serde.String, serde.String, c)
		var rows []record.Raw
		merged := MergeClocks(2)
		for p, last := range []int64{3, 40} { // minutes
			set, w := openWindows(t, t.TempDir(), spec)
			for minute := range last + 1 {
				require.NoError(t, w.PutWithTimestamp("k"+string(rune('0'+p)), "v", minute*60_000, minute*60_000))
			}
			log := &record.Batch{}
			require.NoError(t, set.Seal(1, func(string) *record.Batch { return log }))
			for i := range log.Len() {
				r := log.At(i)
				where, _, err := spec.Place(r)
				require.NoError(t, err)
				if where == ByKey {
					rows = append(rows, r)
					merged.Filled(int32(p))
				} else {
					require.NoError(t, merged.Add(where, int32(p), r))
				}
			}
			require.NoError(t, set.Close(false))
		}
		dir := t.TempDir()
		set, w := openWindows(t, dir, spec)
		require.NoError(t, set.Replay("w", rows))
		for r := range merged.All() {
			require.NoError(t, set.Replay("w", []record.Raw{r}))
		}
		require.NoError(t, set.Replayed(Checkpoint{}))
		check := func(epoch record.Epoch) {
			t.Helper()
			require.Equal(t, int64(180_000), w.ObservedTime())
			require.NoError(t, set.Seal(epoch, func(string) *record.Batch { return &record.Batch{} }))
			require.NoError(t, set.Commit(Checkpoint{Epoch: epoch}))
			n := 0
			for e, err := range w.FetchRange("k1", 0, timeMax) {
				require.NoError(t, err)
				require.Equal(t, int64(n)*60_000, e.Start, name)
				n++
			}
			require.Equal(t, 41, n, name)
			n = 0
			for _, err := range w.All() {
				require.NoError(t, err)
				n++
			}
			require.Equal(t, 45, n, name)
		}
		check(1)
		check(2)
		require.NoError(t, set.Close(true))
		set, w = openWindows(t, dir, spec)
		check(3)
		check(4)
		require.NoError(t, w.PutWithTimestamp("k2", "v", 45*60_000, 1))
		require.False(t, w.Expired(0))
		require.NoError(t, set.Close(false))
	}
}

func openWindows(t *testing.T, dir string, spec Spec) (*Set, *Window[string, string]) {
	t.Helper()
	set, err := OpenSet(t.Context(), SetConfig{Dir: dir, Specs: []Spec{spec}})
	require.NoError(t, err)
	s, _ := set.Store("w")
	w, ok := s.(*Window[string, string])
	require.True(t, ok)
	return set, w
}
