package store

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
)

// rowsOf returns what a store of this spec writes to its changelog after f.
func rowsOf[S Store](t *testing.T, spec Spec, f func(s S) error) []string {
	t.Helper()
	made, err := spec.New(Env{Engine: NewMemEngine(), Prefix: []byte{0, 1}, Context: &Context{}})
	require.NoError(t, err)
	s, ok := made.(S)
	require.True(t, ok)
	require.NoError(t, f(s))
	var changelog record.Batch
	require.NoError(t, s.Seal(1, &changelog))
	var rows []string
	for i := range changelog.Len() {
		r := changelog.At(i)
		rows = append(rows, fmt.Sprintf("%x -> %x", r.Key, r.Value))
	}
	return rows
}

// TestTimedStoresGolden pins the rows of window and session stores (docs/format/window-stores.md).
func TestTimedStoresGolden(t *testing.T) {
	t.Parallel()
	const retention = time.Hour
	put := func(s *Window[string, string]) error { return s.PutWithTimestamp("k", "v", 60_000, 7) }
	for name, c := range map[string]struct {
		config WindowConfig
		want   []string
	}{
		"grid": {WindowConfig{Retention: retention, Grid: time.Minute}, []string{
			"00 -> 000000000000ea60",
			"01000000000000ea606b -> 76",
		}},
		"segments": {WindowConfig{Retention: 4 * time.Minute}, []string{
			"00 -> 000000000000ea60",
			"0100000000000000006b000000000000ea60 -> 76",
		}},
		"duplicates": {WindowConfig{Retention: 2 * time.Minute, RetainDuplicates: true}, []string{
			"00 -> 000000000000ea60",
			"006475706c696361746573 -> 0000000000000000",
			"0100000000000000016b000000000000ea600000000000000000 -> 76",
		}},
	} {
		require.Equal(t, c.want, rowsOf(t, WindowSpec("s", serde.String, serde.String, c.config), put), name)
	}
}

// TestUnjoinedGolden pins the rows of records that wait (docs/format/window-stores.md).
func TestUnjoinedGolden(t *testing.T) {
	t.Parallel()
	got := rowsOf(t, UnjoinedSpec("s", serde.String, serde.String, serde.Int64),
		func(s *Unjoined[string, string, int64]) error {
			c, err := s.Clock("least")
			require.NoError(t, err)
			c.Set(5)
			require.NoError(t, s.PutLeft("k", 5, "v"))
			require.NoError(t, s.PutLeft("k", 5, ""))
			return s.PutRight("k", 5, 1)
		})
	require.Equal(t, []string{
		"006c65617374 -> 0000000000000005",
		"010000000000000005016b -> 0101017600",
		"010000000000000005006b -> 0100080000000000000001",
	}, got)
}

func FuzzUnjoinedRow(f *testing.F) {
	f.Add([]byte{1, 1, 1, 'v', 0})
	f.Add([]byte{1, 0, 8, 0, 0, 0, 0, 0, 0, 0, 1})
	s := newUnjoinedSerde(serde.String, serde.Int64)
	f.Fuzz(func(t *testing.T, data []byte) {
		row, err := s.Decode(data)
		if err != nil {
			return
		}
		encoded, err := s.Append(nil, row)
		require.NoError(t, err)
		again, err := s.Decode(encoded)
		require.NoError(t, err)
		require.Equal(t, row, again)
	})
}

// TestUnjoined checks order, removal across commits, and that a rollback brings back what a walk took.
func TestUnjoined(t *testing.T) {
	t.Parallel()
	made, err := UnjoinedSpec("s", serde.String, serde.Bytes, serde.Bytes).New(
		Env{Engine: NewMemEngine(), Prefix: []byte{0, 1}, Context: &Context{}})
	require.NoError(t, err)
	s, ok := made.(*Unjoined[string, []byte, []byte])
	require.True(t, ok)
	all := func() (got []string) {
		for e, err := range s.All() {
			require.NoError(t, err)
			for i := range e.Len() {
				l, r := e.Value(i)
				got = append(got, fmt.Sprintf("%d %d %s %s%s", e.Time, e.Side, e.Key, l, r))
			}
		}
		return got
	}
	commit := func(epoch record.Epoch) {
		var changelog record.Batch
		require.NoError(t, s.Seal(epoch, &changelog))
		s.Commit(epoch)
	}
	require.NoError(t, s.PutLeft("b", 7, []byte("1")))
	require.NoError(t, s.PutLeft("a", 7, []byte("2")))
	require.NoError(t, s.PutRight("c", 7, []byte("3")))
	commit(1)
	require.NoError(t, s.PutLeft("b", 7, []byte("4")))
	want := []string{"7 0 c 3", "7 1 a 2", "7 1 b 1", "7 1 b 4"}
	require.Equal(t, want, all())
	require.NoError(t, s.Remove("c", 7, LeftSide)) // not there
	commit(2)
	require.NoError(t, s.Remove("b", 7, LeftSide))
	require.NoError(t, s.Remove("c", 7, RightSide))
	require.Equal(t, want[1:2], all())
	s.Trim(8)
	require.Empty(t, all())
	require.NoError(t, s.Rollback())
	require.Equal(t, want, all())
	require.ErrorContains(t, s.PutLeft("b", -1, nil), "negative time -1")
	_, err = s.Clock("")
	require.Error(t, err)
}
