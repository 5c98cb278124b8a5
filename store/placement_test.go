package store_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/store"
)

// Each record of a changelog belongs where its key does: put into one set per partition, the rows are those of the
// whole.
func TestPartitionKeys(t *testing.T) {
	t.Parallel()
	z := newZoo(t, 1)
	z.write(400)
	z.commit()
	full := cloned(t, z.snapshot().Full(t.Context()))
	known := map[string]bool{}
	for range 200 {
		known[z.key()] = true
	}
	for _, a := range z.animals {
		name := a.spec.Name
		clocks := map[string]store.Placement{}
		rows := 0
		for r, err := range z.ChangelogRecords(name, sequence(full)) {
			require.NoError(t, err)
			where, key, err := a.spec.Place(r)
			require.NoError(t, err)
			if where == store.ByKey {
				require.True(t, known[string(key)], "%s: %x of %x", name, key, r.Key)
				rows++
				continue
			}
			require.NoError(t, store.MergeClocks(1).Add(where, 0, r))
			clocks[string(r.Key[1:])] = where
		}
		require.NotZero(t, rows, name)
		want := map[string]map[string]store.Placement{
			"b":    {"observed": store.LeastEverywhere, "arrivals": store.GreatestEverywhere},
			"grid": {"": store.LeastByKey}, "segments": {"": store.LeastByKey}, "indexed": {"": store.LeastByKey},
			"duplicates": {"": store.LeastByKey, "duplicates": store.GreatestEverywhere},
			"sessions":   {"": store.LeastByKey}, "unjoined": {"observed": store.LeastEverywhere},
			"placed": {"records": store.Nowhere, "bytes": store.Nowhere},
			"keyed":  {"records": store.Nowhere, "bytes": store.Nowhere},
		}[name]
		if want == nil {
			want = map[string]store.Placement{}
		}
		require.Equal(t, want, clocks, name)
		for _, key := range [][]byte{nil, {}, {0}, {1}, {2}, {9}, {1, 0}, bytes.Repeat([]byte{0xff}, 11)} {
			_, _, _ = a.spec.Place(record.Raw{Key: key}) // an error or not, but no panic
		}
	}
	for _, spec := range []store.Spec{{}, {Type: store.TypeCustom}, {Type: "of tomorrow"}, {Type: store.TypeWindow}} {
		_, _, err := spec.Place(record.Raw{Key: []byte{1, 0, 0, 0, 0, 0, 0, 0, 0, 0}})
		require.Error(t, err, spec.Type)
	}
	for _, err := range z.ChangelogRecords("none", sequence(full)) {
		require.ErrorContains(t, err, `no store "none"`)
	}
}

func TestPartitionKeyOfTheSpec(t *testing.T) {
	t.Parallel()
	spec := counts("c")
	spec.PartitionKey = func(key []byte) ([]byte, error) {
		if len(key) < 2 {
			return nil, errors.New("too short")
		}
		return key[1:], nil
	}
	_, key, err := spec.Place(record.Raw{Key: []byte("abc")})
	require.NoError(t, err)
	require.Equal(t, "bc", string(key))
	_, _, err = spec.Place(record.Raw{Key: []byte("a")})
	require.ErrorContains(t, err, "too short")
}

// The windows in a key did not choose its partition, unless the spec says that some did.
func TestPartitionKeyOfWindows(t *testing.T) {
	t.Parallel()
	key := serde.SessionWindowed(serde.TimeWindowed(serde.String, time.Minute))
	spec := store.KeyValueSpec("w", key, serde.Int64)
	require.Equal(t, []int{16, 8}, spec.KeyWindows)
	inner := record.Windowed[string]{Key: "k", Window: record.Window{Start: 60_000, End: 120_000}}
	encoded, err := key.Append(nil, record.Windowed[record.Windowed[string]]{Key: inner, Window: record.Window{End: 9}})
	require.NoError(t, err)
	for _, c := range []struct {
		windows []int
		bytes   int
	}{{[]int{16, 8}, 1}, {[]int{16}, 9}, {nil, 25}} {
		spec.KeyWindows = c.windows
		_, part, err := spec.Place(record.Raw{Key: encoded})
		require.NoError(t, err)
		require.Equal(t, encoded[:c.bytes], part)
	}
	spec.KeyWindows = []int{16, 8}
	_, _, err = spec.Place(record.Raw{Key: encoded[:20]})
	require.ErrorContains(t, err, "too short")
	require.Nil(t, store.KeyValueSpec("w", serde.String, serde.Int64).KeyWindows)
}

// Entries that come from several tasks have no sums: they are counted once, and the sums are committed.
func TestTimeOrderedCountsAnew(t *testing.T) {
	t.Parallel()
	spec := ordered(store.TimeOrderedConfig{CountBytes: true})
	var log []record.Raw
	for i, key := range []string{"a", "bb"} {
		b := newBench(t, spec)
		require.NoError(t, ofStore[*textBuffer](t, b, "o").Put(key, int64(i), "value", 1))
		b.commit()
		for i := range b.batches["o"].Len() {
			r := b.batches["o"].At(i)
			where, _, err := spec.Place(r)
			require.NoError(t, err)
			if where != store.Nowhere {
				log = append(log, r)
			}
		}
	}
	b := newBench(t, spec)
	require.NoError(t, b.Replay("o", log))
	require.NoError(t, b.Replayed(store.Checkpoint{}))
	s := ofStore[*textBuffer](t, b, "o")
	check := func() {
		t.Helper()
		require.Equal(t, int64(2), s.Len())
		require.Equal(t, int64(len("a")+len("bb")+2*len("value")), s.Bytes())
	}
	check()
	require.NoError(t, b.Rollback())
	check()
	b.commit()
	require.Equal(t, 2, b.batches["o"].Len(), "the sums are in the changelog now")
	require.NoError(t, b.Close(true))
	b.reopen(spec)
	s = ofStore[*textBuffer](t, b, "o")
	check()
	require.Equal(t, []string{"0:a=value@1", "1:bb=value@1"}, evict(t, s, 9, 9))
}

func TestChangelogRecordsOfAnything(t *testing.T) {
	t.Parallel()
	names := store.Entry{Key: []byte("\x00\x00n"), Value: []byte("\x01\x01\x01s\x01")}
	value := binary.BigEndian.AppendUint64(nil, 5)
	for _, c := range []struct {
		kind string
		rows []store.Entry
		want string
	}{
		{"unheard of", nil, "unknown"},
		{store.TypeCustom, nil, "custom store"},
		{store.TypeKeyValue, []store.Entry{{Key: []byte("\x00\x01k"), Value: []byte("short")}}, "too short"},
		{store.TypeWindow, []store.Entry{{Key: []byte("\x00\x01"), Value: value}}, "too short"},
		{store.TypeWindow, []store.Entry{{Key: []byte("\x00\x01\x03"), Value: value}}, "no known kind"},
		{store.TypeWindow, []store.Entry{{Key: []byte("\x00\x01\x99"), Value: value}}, "no known kind"},
		{store.TypeWindow, []store.Entry{{Key: []byte("\x00\x01\x00"), Value: []byte("x")}}, "a clock has"},
		{store.TypeVersioned, []store.Entry{{Key: []byte("\x00\x01\x01abc"), Value: value}}, "no version"},
	} {
		var failed error
		entries := append([]store.Entry{names}, c.rows...)
		for _, err := range store.ChangelogRecords("s", c.kind, sequence(entries)) {
			failed = err
		}
		require.ErrorContains(t, failed, c.want, fmt.Sprint(c))
	}
	for _, err := range store.ChangelogRecords("other", store.TypeKeyValue, sequence([]store.Entry{names})) {
		require.ErrorContains(t, err, "no such store")
	}
}
