package store_test

import (
	"fmt"
	"iter"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/store"
)

func sessions(index bool) store.Spec {
	return store.SessionSpec("s", serde.String, serde.Int64,
		store.SessionConfig{Retention: 2 * time.Minute, TimeIndex: index})
}

func ofStore[S any](t *testing.T, b *bench, name string) S {
	t.Helper()
	s, ok := b.Store(name)
	require.True(t, ok)
	typed, ok := s.(S)
	require.True(t, ok)
	return typed
}

// shownSessions is what FetchByEnd and its like yield.
func shownSessions(t *testing.T, all iter.Seq2[store.SessionEntry[string, int64], error]) (got []string) {
	t.Helper()
	for e, err := range all {
		require.NoError(t, err)
		got = append(got, fmt.Sprintf("%s%v=%d", e.Key, e.Window, e.Value))
	}
	return got
}

func TestSessionsByEnd(t *testing.T) {
	t.Parallel()
	b := newBench(t, sessions(true))
	s := ofStore[*store.Session[string, int64]](t, b, "s")
	put := func(k string, start, end, v int64) {
		require.NoError(t, s.Put(k, record.Window{Start: start, End: end}, v))
	}
	put("b", 10, 20, 1)
	put("a", 15, 20, 2)
	put("c", 0, 5, 3)
	put("a", 1, 20, 4)
	b.commit()
	require.NoError(t, s.Remove("a", record.Window{Start: 15, End: 20}))
	put("d", 70_000, 70_001, 5) // another segment
	want := []string{"c[0,5]=3", "a[1,20]=4", "b[10,20]=1", "d[70000,70001]=5"}
	require.Equal(t, want, shownSessions(t, s.FetchByEnd(0, 100_000)))
	require.Equal(t, want[1:3], shownSessions(t, s.FetchByEnd(6, 20)))
	require.NoError(t, b.Rollback())
	require.Equal(t, []string{"c[0,5]=3", "a[1,20]=4", "a[15,20]=2", "b[10,20]=1"}, shownSessions(t, s.FetchByEnd(0, 50)))

	put("late", 200_000, 200_000, 6) // all others expire
	require.Equal(t, []string{"late[200000,200000]=6"}, shownSessions(t, s.FetchByEnd(0, 300_000)))
}

// The index is not in the changelog: replaying the rows makes it, on top of what reached the disk.
func TestIndexIsRestored(t *testing.T) {
	t.Parallel()
	b := newBench(t, sessions(true))
	s := ofStore[*store.Session[string, int64]](t, b, "s")
	for i := range int64(3) {
		require.NoError(t, s.Put("k", record.Window{Start: i, End: 10 - i}, i))
	}
	b.commit()
	rows := b.batches["s"]
	require.Equal(t, 4, rows.Len(), "three rows, a clock")
	want := shownSessions(t, s.FetchByEnd(0, 100))
	require.Len(t, want, 3)

	restored := newBench(t, sessions(true))
	for i := range rows.Len() {
		require.NoError(t, restored.Replay("s", []record.Raw{rows.At(i)}))
	}
	require.Equal(t, want, shownSessions(t, ofStore[*store.Session[string, int64]](t, restored, "s").FetchByEnd(0, 100)))
}

// A topology may ask for the index later, go without it for a while, and come back.
func TestIndexOfRowsFromBefore(t *testing.T) {
	t.Parallel()
	b := newBench(t, sessions(false))
	at := func(t int64) record.Window { return record.Window{Start: t, End: t} }
	var want []string
	for i, index := range []bool{false, true, false, true, true} {
		if i > 0 {
			require.NoError(t, b.Close(true))
			b.reopen(sessions(index))
		}
		s := ofStore[*store.Session[string, int64]](t, b, "s")
		require.NoError(t, s.Put("k", at(int64(i)), int64(i)))
		want = append(want, fmt.Sprintf("k[%d,%d]=%d", i, i, i))
		b.commit()
		if index {
			require.Equal(t, want, shownSessions(t, s.FetchByEnd(0, 100)))
			continue
		}
		for _, err := range s.FetchByEnd(0, 100) {
			require.ErrorContains(t, err, "the store needs TimeIndex")
		}
	}
}

func TestWindowsByStart(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]store.WindowConfig{
		"index": {Retention: time.Hour, TimeIndex: true},
		"grid":  {Retention: time.Hour, Grid: 10 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, store.WindowSpec("w", serde.String, serde.Int64, c))
			s := ofStore[*store.Window[string, int64]](t, b, "w")
			for i, k := range []string{"b", "a", "c"} {
				_, err := s.Update(k, int64(20-10*(i/2)), nil, func(int64, int64, bool) (int64, int64, bool) {
					return int64(i), 0, true
				})
				require.NoError(t, err)
			}
			require.NoError(t, s.Put("z", 9, 100_000))
			require.NoError(t, s.Delete("z", 100_000))
			var got []string
			for e, err := range s.FetchByStart(0, 200_000) {
				require.NoError(t, err)
				got = append(got, fmt.Sprintf("%s@%d=%d", e.Key, e.Start, e.Value))
			}
			require.Equal(t, []string{"c@10=2", "a@20=1", "b@20=0"}, got)
		})
	}
}

// TestTimedRowsGolden pins what window and session stores write to their changelogs (docs/format/window-stores.md).
func TestTimedRowsGolden(t *testing.T) {
	t.Parallel()
	b := newBench(t, sessions(true),
		store.WindowSpec("grid", serde.String, serde.Int64, store.WindowConfig{Retention: time.Hour, Grid: time.Second}),
		store.WindowSpec("w", serde.String, serde.Int64, store.WindowConfig{Retention: time.Hour}))
	require.NoError(t, ofStore[*store.Session[string, int64]](t, b, "s").
		Put("k", record.Window{Start: 1, End: 60_002}, 7))
	for _, name := range []string{"grid", "w"} {
		require.NoError(t, ofStore[*store.Window[string, int64]](t, b, name).Put("k", 7, 3_600_000))
	}
	b.seal()
	keys := func(name string) (all []string) {
		for i := range b.batches[name].Len() {
			all = append(all, string(b.batches[name].At(i).Key))
		}
		return all
	}
	const zero = "\x00\x00\x00\x00"
	require.Equal(t, []string{
		"\x00", "\x01" + zero + "\x00\x00\x00\x01" + "k" + zero + "\x00\x00\xea\x62" + zero + "\x00\x00\x00\x01",
	}, keys("s"))
	require.Equal(t, []string{"\x00", "\x01" + zero + "\x00\x36\xee\x80" + "k"}, keys("grid"))
	require.Equal(t, []string{
		"\x00", "\x01" + zero + "\x00\x00\x00\x02" + "k" + zero + "\x00\x36\xee\x80",
	}, keys("w"))
	require.Equal(t, zero+"\x00\x36\xee\x80", string(b.batches["w"].At(0).Value))
}
