package store_test

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/store"
)

func mortal(ttl store.TTL) store.Spec {
	spec := store.KeyValueSpec("m", serde.String, serde.Int64)
	spec.TTL = ttl
	return spec
}

// advance does what a task does when time moves.
func (b *bench) advance(t int64) {
	b.t.Helper()
	b.times.Stream, b.times.Wall = t, t
	for _, e := range b.Expiring() {
		if t >= e.Due() {
			require.NoError(b.t, e.Expire(t))
		}
	}
}

func (b *bench) rollback() {
	b.t.Helper()
	require.NoError(b.t, b.Rollback())
	for _, e := range b.Expiring() {
		e.Reset()
	}
}

func TestTTLRowsGolden(t *testing.T) {
	t.Parallel()
	b := newBench(t, mortal(store.TTL{After: 5 * time.Millisecond}))
	b.advance(1)
	m := kv[string, int64](t, b, "m")
	require.NoError(t, m.PutWithTimestamp("k", 7, 3))
	b.commit()
	var rows []string
	for i := range b.batches["m"].Len() {
		r := b.batches["m"].At(i)
		rows = append(rows, string(r.Key)+"="+string(r.Value))
	}
	const zeros = "\x00\x00\x00\x00\x00\x00\x00"
	require.Equal(t, []string{"\x01k=" + zeros + "\x07", "\x02k=" + zeros + "\x06"}, rows)

	b.advance(6)
	b.commit()
	require.Equal(t, 2, b.batches["m"].Len())
	for i, tag := range []string{"\x01", "\x02"} {
		r := b.batches["m"].At(i)
		require.Equal(t, tag+"k", string(r.Key))
		require.Nil(t, r.Value, "a tombstone, in the transaction of the time")
		require.Equal(t, int64(6), r.Timestamp)
	}
}

func TestTTLMistakes(t *testing.T) {
	t.Parallel()
	open := func(spec store.Spec) error {
		spec.InMemory = true
		_, err := store.OpenSet(t.Context(), store.SetConfig{Specs: []store.Spec{spec}})
		return err
	}
	require.ErrorContains(t, open(mortal(store.TTL{After: -1})), "want a millisecond or more")
	require.ErrorContains(t, open(mortal(store.TTL{RefreshOnRead: true})), "want a millisecond or more")
	require.ErrorContains(t, open(mortal(store.TTL{After: time.Hour, Time: 9})), "EventTime or WallClock")
	w := store.WindowSpec("w", serde.String, serde.Int64, store.WindowConfig{Retention: time.Hour})
	w.TTL = store.TTL{After: time.Hour}
	require.ErrorContains(t, open(w), "only the entries of a key-value store")
}

// What has expired is not seen, even by those who look before the task had the time to delete it.
func TestExpiredIsNotSeen(t *testing.T) {
	t.Parallel()
	for _, kind := range []store.TTLTime{store.EventTime, store.WallClock} {
		b := newBench(t, mortal(store.TTL{After: 10 * time.Millisecond, Time: kind}))
		m := kv[string, int64](t, b, "m")
		b.advance(100)
		require.NoError(t, m.Put("a", 1))
		require.NoError(t, m.Put("b", 1))
		b.advance(105)
		require.NoError(t, m.Put("b", 2))
		b.times.Stream, b.times.Wall = 110, 110
		_, found := get(t, m, "a")
		require.False(t, found)
		v, found := get(t, m, "b")
		require.True(t, found)
		require.Equal(t, int64(2), v)
		var seen []string
		for e, err := range m.All() {
			require.NoError(t, err)
			seen = append(seen, e.Key)
		}
		require.Equal(t, []string{"b"}, seen)
		_, found, err := m.PutIfAbsent("a", 5)
		require.NoError(t, err)
		require.False(t, found)
		b.times.Stream, b.times.Wall = 125, 125
		require.NoError(t, m.Update("b", nil, func(old, _ int64, exists bool) (int64, int64, bool) {
			require.False(t, exists)
			require.Zero(t, old)
			return 9, 0, true
		}))
		v, found = get(t, m, "b")
		require.True(t, found)
		require.Equal(t, int64(9), v)
	}
}

func TestReadsMayRefresh(t *testing.T) {
	t.Parallel()
	b := newBench(t, mortal(store.TTL{After: 10 * time.Millisecond, RefreshOnRead: true}))
	m := kv[string, int64](t, b, "m")
	b.advance(0)
	require.NoError(t, m.Put("a", 1))
	for now := int64(9); now < 100; now += 9 {
		b.advance(now)
		_, found := get(t, m, "a")
		require.True(t, found)
	}
	b.advance(110)
	_, found := get(t, m, "a")
	require.False(t, found)
}

// An error of the listener leaves the entry deleted; the next call does the rest.
func TestExpiryListener(t *testing.T) {
	t.Parallel()
	b := newBench(t, mortal(store.TTL{After: 10 * time.Millisecond}))
	m := kv[string, int64](t, b, "m")
	var told []string
	m.SetExpiryListener(func(key string, v, at int64) error {
		told = append(told, fmt.Sprintf("%s=%d@%d", key, v, at))
		require.Equal(t, at, b.context.Timestamp)
		if key == "b" {
			return errors.New("boom")
		}
		return m.Put("again-"+key, v) // lives on
	})
	for i, k := range []string{"c", "a", "b"} {
		b.advance(int64(i))
		require.NoError(t, m.Put(k, int64(i)))
	}
	e := b.Expiring()[0]
	require.Equal(t, int64(10), e.Due())
	b.times.Stream = 15
	require.ErrorContains(t, e.Expire(15), "boom")
	require.NoError(t, e.Expire(15))
	require.Equal(t, []string{"c=0@10", "a=1@11", "b=2@12"}, told)
	require.Equal(t, int64(25), e.Due())
}

// The model of a store with a TTL: values and when they expire.
func TestTTLModel(t *testing.T) {
	t.Parallel()
	for _, inMemory := range []bool{true, false} {
		for seed := range uint64(3) {
			t.Run(fmt.Sprintf("memory=%t/%d", inMemory, seed), func(t *testing.T) {
				t.Parallel()
				runTTL(t, inMemory, seed)
			})
		}
	}
}

type mortalRow struct{ value, deadline int64 }

func runTTL(t *testing.T, inMemory bool, seed uint64) {
	t.Helper()
	const after = 50
	spec := mortal(store.TTL{After: after * time.Millisecond})
	spec.InMemory = inMemory
	b := newBench(t, spec)
	rng := rand.New(rand.NewPCG(seed, 3))
	rows, now := map[string]mortalRow{}, int64(0)
	committed, committedNow := maps.Clone(rows), now
	var log []record.Raw
	compare := func() {
		m, got := kv[string, int64](t, b, "m"), map[string]int64{}
		for e, err := range m.All() {
			require.NoError(t, err)
			got[e.Key] = e.Value
		}
		want := map[string]int64{}
		for k, r := range rows {
			want[k] = r.value
		}
		require.Equal(t, want, got)
	}
	commit := func() {
		b.seal()
		for i := range b.batches["m"].Len() {
			r := b.batches["m"].At(i)
			r.Key, r.Value = slices.Clone(r.Key), slices.Clone(r.Value)
			log = append(log, r)
		}
		require.NoError(t, b.Commit(store.Checkpoint{Epoch: b.epoch, Changelog: map[string]int64{"m": int64(len(log))}}))
		committed, committedNow = maps.Clone(rows), now
	}
	restart := func(clean bool) {
		dir := b.dir
		if !clean && !inMemory {
			dir = store.CrashedForTest(t, b.dir)
		}
		require.NoError(t, b.Close(clean))
		b.dir = dir
		b.reopen(spec)
		c, _ := b.Checkpoint()
		require.NoError(t, b.Replay("m", log[c.Changelog["m"]:]))
		rows, now = maps.Clone(committed), committedNow
		b.times.Stream = now
	}
	commit()
	for range 3000 {
		m, key := kv[string, int64](t, b, "m"), strconv.Itoa(rng.IntN(30))
		switch n := rng.IntN(100); {
		case n < 45:
			v := rng.Int64N(1000)
			require.NoError(t, m.Put(key, v))
			rows[key] = mortalRow{v, now + after}
		case n < 55:
			require.NoError(t, m.Delete(key))
			delete(rows, key)
		case n < 75:
			now += rng.Int64N(20)
			b.advance(now)
			maps.DeleteFunc(rows, func(_ string, r mortalRow) bool { return r.deadline <= now })
			compare()
		case n < 88:
			commit()
		case n < 92:
			b.rollback()
			rows, now = maps.Clone(committed), committedNow
			b.times.Stream = now
			compare()
		case n < 98:
			require.NoError(t, b.Flush(t.Context()))
		default:
			restart(rng.IntN(2) == 0)
			compare()
		}
	}
}
