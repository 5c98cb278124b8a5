package store_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/store"
	"github.com/tidemarkio/tidemark/store/storetest"
)

func TestVersionedModel(t *testing.T) {
	t.Parallel()
	for _, inMemory := range []bool{true, false} {
		for _, history := range []time.Duration{0, 7 * time.Millisecond, 60 * time.Millisecond} {
			for seed := range uint64(2) {
				t.Run(fmt.Sprintf("memory=%t/history=%v/%d", inMemory, history, seed), func(t *testing.T) {
					t.Parallel()
					dir := t.TempDir()
					spec := store.VersionedSpec("v", serde.String, serde.String, history)
					spec.InMemory = inMemory
					open := func(t *testing.T, specs []store.Spec, context *store.Context) *store.Set {
						t.Helper()
						set, err := store.OpenSet(t.Context(), store.SetConfig{
							Dir: dir, Specs: specs, Context: context, CachingEnabled: true, Budget: smallBudget(),
						})
						require.NoError(t, err)
						return set
					}
					storetest.RunVersioned(t, open, spec, !inMemory, seed)
				})
			}
		}
	}
}

func versioned(t *testing.T, b *bench, name string) *store.Versioned[string, string] {
	t.Helper()
	s, ok := b.Store(name)
	require.True(t, ok)
	typed, ok := s.(*store.Versioned[string, string])
	require.True(t, ok)
	return typed
}

func versions(name string) store.Spec {
	return store.VersionedSpec(name, serde.String, serde.String, 50*time.Millisecond)
}

func TestVersionedPuts(t *testing.T) {
	t.Parallel()
	b := newBench(t, versions("v"))
	s := versioned(t, b, "v")
	require.False(t, s.CachingEnabled())
	require.Equal(t, int64(-1), s.ObservedTime())
	put := func(v string, ts, validTo int64) {
		t.Helper()
		r, err := s.Put("k", v, ts)
		require.NoError(t, err)
		require.Equal(t, store.PutResult{Stored: true, ValidTo: validTo}, r)
	}
	put("a", 100, store.ValidToOpen)
	put("b", 120, store.ValidToOpen)
	put("c", 110, 120)
	put("d", 70, 100) // exactly as old as it may be
	r, err := s.Put("k", "e", 69)
	require.NoError(t, err)
	require.Equal(t, store.PutResult{}, r)
	require.False(t, r.OutOfOrder())
	r, err = s.Delete("k", 115)
	require.NoError(t, err)
	require.True(t, r.OutOfOrder())
	for at, want := range map[int64]store.Version[string]{
		70: {Value: "d", ValidFrom: 70, ValidTo: 100}, 99: {Value: "d", ValidFrom: 70, ValidTo: 100},
		100: {Value: "a", ValidFrom: 100, ValidTo: 110}, 114: {Value: "c", ValidFrom: 110, ValidTo: 115},
		115: {}, 119: {}, 120: {Value: "b", ValidFrom: 120, ValidTo: store.ValidToOpen}, 69: {}, -1: {},
	} {
		v, found, err := s.GetAsOf("k", at)
		require.NoError(t, err)
		require.Equal(t, want != store.Version[string]{}, found, at)
		require.Equal(t, want, v, at)
	}
	_, err = s.Put("k", "x", -1)
	require.ErrorContains(t, err, "negative time -1")
	v, ts, found, err := s.GetWithTimestamp("k")
	require.NoError(t, err)
	require.True(t, found)
	require.Equal(t, "b", v)
	require.Equal(t, int64(120), ts)
}

// Expired versions leave the engine with a flush, one flush later than they might.
func TestVersionedExpiry(t *testing.T) {
	t.Parallel()
	b := newBench(t, versions("v"))
	s := versioned(t, b, "v")
	size := func() (n int) {
		for _, err := range store.EngineOf(b.Set).Scan([]byte{0, 1, 1}, []byte{0, 1, 2}, false) {
			require.NoError(t, err)
			n++
		}
		return n
	}
	for ts := range int64(200) {
		_, err := s.Put("k", "v", ts)
		require.NoError(t, err)
	}
	b.commit()
	require.NoError(t, b.Flush(t.Context()))
	require.Equal(t, 199, size())
	_, err := s.Put("k", "v", 200)
	require.NoError(t, err)
	b.commit()
	require.NoError(t, b.Flush(t.Context()))
	require.InDelta(t, 60, size(), 10)
	v, found, err := s.GetAsOf("k", 150)
	require.NoError(t, err)
	require.True(t, found)
	require.Equal(t, int64(151), v.ValidTo)
}

// A crash may end a flush when everything is written but its checkpoint. The replay then begins at the flush before.
func TestVersionedReplayBehindFlush(t *testing.T) {
	t.Parallel()
	b := newBench(t, versions("v"))
	s := versioned(t, b, "v")
	put := func(v string, ts int64) {
		t.Helper()
		_, err := s.Put("k", v, ts)
		require.NoError(t, err)
	}
	put("a", 5)
	_, err := s.Delete("k", 10)
	require.NoError(t, err)
	put("c", 40)
	b.commit()
	require.NoError(t, b.Flush(t.Context()))
	put("late", 2)
	put("x", 75)
	b.commit()
	var log []record.Raw
	for i := range b.batches["v"].Len() {
		log = append(log, b.batches["v"].At(i))
	}
	require.NoError(t, b.Close(true))
	b.reopen(versions("v"))
	require.NoError(t, b.Replay("v", log))
	_, found, err := versioned(t, b, "v").GetAsOf("k", 30)
	require.NoError(t, err)
	require.False(t, found, "the late version ended where another began, which the store must still know")
}

// The rows of a versioned store (docs/format/versioned-store.md).
func TestVersionedGolden(t *testing.T) {
	t.Parallel()
	b := newBench(t, store.VersionedSpec("v", serde.String, serde.String, 30*time.Millisecond))
	s := versioned(t, b, "v")
	put := func(k, v string, ts int64) {
		t.Helper()
		_, err := s.Put(k, v, ts)
		require.NoError(t, err)
	}
	put("k", "a", 1)
	put("k", "b", 25)
	put("k", "c", 21) // out of order: the latest follows once more in the changelog
	_, err := s.Delete("x", 40)
	require.NoError(t, err)
	b.commit()
	require.NoError(t, b.Flush(t.Context()))
	var rows []string
	for e, err := range store.EngineOf(b.Set).Scan([]byte{0, 1}, []byte{0, 2}, false) {
		require.NoError(t, err)
		rows = append(rows, fmt.Sprintf("%x=%x", e.Key[2:], e.Value))
	}
	require.Equal(t, []string{
		"00" + "64656c65746564" + "=" + "0000000000000028", // clock "deleted"
		"00" + "6f62736572766564" + "=" + "0000000000000028",
		"01" + "0000000000000002" + "6b" + "0000000000000001" + "=" + "0000000000000015" + "0101" + "61",
		"01" + "0000000000000002" + "6b" + "0000000000000015" + "=" + "0000000000000019" + "0101" + "63",
		"01" + "0000000000000004" + "78" + "0000000000000028" + "=" + "0000000000000028" + "0100",
		"02" + "6b" + "=" + "0000000000000019" + "62",
	}, rows)
	var log []string
	for i := range b.batches["v"].Len() {
		r := b.batches["v"].At(i)
		log = append(log, fmt.Sprintf("%s=%s@%d", r.Key, r.Value, r.Timestamp))
	}
	require.Equal(t, []string{"k=a@1", "k=b@25", "k=c@21", "k=b@25", "x=@40"}, log)
}

func TestVersionedErrors(t *testing.T) {
	t.Parallel()
	_, err := store.OpenSet(t.Context(), store.SetConfig{
		Specs: []store.Spec{{Name: "v", InMemory: true, New: store.VersionedSpec("v", serde.String, serde.String, -1).New}},
	})
	require.ErrorContains(t, err, "history retention -1ns is negative")

	b := newBench(t, store.VersionedSpec("v", serde.String, serde.Int64, time.Second))
	require.ErrorContains(t, b.Replay("v", []record.Raw{{Offset: 5}}), "offset 5 has no key")
	require.ErrorContains(t, b.Replay("v", []record.Raw{{Key: []byte("k"), Offset: 6, Timestamp: -1}}), "negative time")
	err = b.Replay("v", []record.Raw{{Key: []byte("k"), Value: []byte("short")}})
	var codec *store.CodecError
	require.ErrorAs(t, err, &codec)
	require.Equal(t, "decode value", codec.Op)

	failing := &failingSerde{fail: true}
	b = newBench(t, store.VersionedSpec("v", serde.String, failing, time.Second))
	st, _ := b.Store("v")
	s, ok := st.(*store.Versioned[string, int64])
	require.True(t, ok)
	_, err = s.Put("k", 1, 1)
	require.ErrorAs(t, err, &codec)
	require.Equal(t, "encode value", codec.Op)
	require.NoError(t, b.Close(true))
	_, err = s.Put("k", 1, 1)
	require.ErrorIs(t, err, store.ErrClosed)
	_, _, err = s.GetAsOf("k", 1)
	require.ErrorIs(t, err, store.ErrClosed)
}
