package store_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/store"
)

// windowRow is a row of a model of a window store with duplicates.
type windowRow struct {
	key   string
	start int64
	value string
}

// TestWindowsThroughTheLayers compares a window store with a model, over random flushes, rollbacks and restarts:
// look-ups must find what only the engine holds, and nothing that has expired.
func TestWindowsThroughTheLayers(t *testing.T) {
	t.Parallel()
	const retention = 5 * time.Minute
	for seed := range uint64(4) {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			t.Parallel()
			rnd := rand.New(rand.NewPCG(seed, 2))
			spec := store.WindowSpec("w", serde.String, serde.String,
				store.WindowConfig{Retention: retention, RetainDuplicates: true})
			b := newBench(t, spec)
			open := func() *store.Window[string, string] {
				s, _ := b.Store("w")
				w, ok := s.(*store.Window[string, string])
				require.True(t, ok)
				return w
			}
			w := open()
			var rows, committed []windowRow
			greatest, greatestCommitted, now := int64(-1), int64(-1), int64(0)
			for i := range 1500 {
				now += rnd.Int64N(3000)
				r := windowRow{string(rune('a' + rnd.IntN(3))), max(0, now-rnd.Int64N(200_000)), strconv.Itoa(i)}
				require.NoError(t, w.PutWithTimestamp(r.key, r.value, r.start, r.start))
				greatest = max(greatest, r.start)
				rows = append(rows, r)
				key, from := string(rune('a'+rnd.IntN(3))), now-rnd.Int64N(400_000)
				to := from + rnd.Int64N(200_000)
				require.Equal(t, fetched(rows, key, from, to, greatest-retention.Milliseconds()), fetch(t, w, key, from, to),
					"row %d: %s in [%d,%d]", i, key, from, to)
				switch rnd.IntN(20) {
				case 0, 1:
					b.nowMs += rnd.Int64N(60_000) // more than the flush interval, or less
					b.commit()
					committed, greatestCommitted = slices.Clone(rows), greatest
				case 2:
					require.NoError(t, b.Rollback())
					rows, greatest = slices.Clone(committed), greatestCommitted
				case 3:
					if rnd.IntN(5) == 0 {
						require.NoError(t, b.Close(true))
						b.reopen(spec)
						w = open()
						rows, greatest = slices.Clone(committed), greatestCommitted
					}
				}
			}
		})
	}
}

func fetch(t *testing.T, w *store.Window[string, string], key string, from, to int64) (got []string) {
	t.Helper()
	for e, err := range w.FetchRange(key, from, to) {
		require.NoError(t, err)
		got = append(got, fmt.Sprint(e.Start, e.Value))
	}
	return got
}

func fetched(rows []windowRow, key string, from, to, expired int64) (want []string) {
	var in []windowRow
	for _, r := range rows {
		if r.key == key && r.start >= from && r.start <= to && r.start > expired {
			in = append(in, r)
		}
	}
	slices.SortStableFunc(in, func(a, b windowRow) int { return cmp.Compare(a.start, b.start) })
	for _, r := range in {
		want = append(want, fmt.Sprint(r.start, r.value))
	}
	return want
}
