package store_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/store"
)

type (
	waitingStore = store.TimeBuffer[string, []byte]
	waiting      = record.Record[string, []byte]
)

func timeBuffer(t *testing.T, b *bench) *waitingStore {
	t.Helper()
	s, ok := b.Store("b")
	require.True(t, ok)
	typed, ok := s.(*waitingStore)
	require.True(t, ok)
	return typed
}

func timeBufferSpec() store.Spec { return store.TimeBufferSpec("b", serde.String, serde.Bytes) }

func taken(t *testing.T, s *waitingStore, to int64) (all []waiting) {
	t.Helper()
	for r, err := range s.Take(to) {
		require.NoError(t, err)
		all = append(all, r)
	}
	return all
}

// TestTimeBufferModel compares the buffer with a sorted slice, over commits, rollbacks, flushes and restores.
func TestTimeBufferModel(t *testing.T) {
	t.Parallel()
	for seed := range uint64(4) {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(seed, 3))
			b := newBench(t, timeBufferSpec())
			s := timeBuffer(t, b)
			var model, committed []waiting
			observed, committedObserved := int64(-1), int64(-1)
			var log []record.Raw
			for i := range 2000 {
				switch n := rng.IntN(100); {
				case n < 60:
					r := waiting{
						Key: []string{"a", "b", "aa"}[rng.IntN(3)], Value: fmt.Append(nil, i),
						Timestamp: max(0, observed-10) + rng.Int64N(13),
					}
					if rng.IntN(4) == 0 {
						r.Headers = []record.Header{{Key: "h", Value: fmt.Append(nil, i)}}
					}
					require.NoError(t, s.Put(r))
					model = append(model, r)
					slices.SortStableFunc(model, func(a, b waiting) int {
						return cmp.Or(cmp.Compare(a.Timestamp, b.Timestamp), cmp.Compare(a.Key, b.Key))
					})
					observed = max(observed, r.Timestamp)
				case n < 80:
					to := observed - rng.Int64N(15)
					end := slices.IndexFunc(model, func(r waiting) bool { return r.Timestamp > to })
					if end < 0 {
						end = len(model)
					}
					require.Equal(t, append([]waiting(nil), model[:end]...), taken(t, s, to))
					model = slices.Clone(model[end:])
				case n < 90:
					b.commit()
					for j := range b.batches["b"].Len() {
						r := b.batches["b"].At(j)
						r.Offset = int64(len(log))
						log = append(log, r)
					}
					committed, committedObserved = slices.Clone(model), observed
				case n < 94:
					require.NoError(t, b.Flush(t.Context()))
				default:
					if n < 97 {
						require.NoError(t, b.Rollback())
					} else {
						require.NoError(t, b.Close(n < 99))
						if n == 99 {
							b.dir = t.TempDir()
						}
						b.reopen(timeBufferSpec())
						s = timeBuffer(t, b)
						require.NoError(t, b.Replay("b", log))
					}
					model, observed = slices.Clone(committed), committedObserved
				}
				require.Equal(t, observed, s.ObservedTime())
			}
			var all []waiting
			for r, err := range s.All() {
				require.NoError(t, err)
				all = append(all, r)
			}
			require.Len(t, all, len(model))
			require.Equal(t, model, taken(t, s, observed))
		})
	}
}

// The rows of a time buffer (docs/format/time-buffer.md).
func TestTimeBufferGolden(t *testing.T) {
	t.Parallel()
	b := newBench(t, timeBufferSpec())
	s := timeBuffer(t, b)
	require.NoError(t, s.Put(waiting{Key: "k", Value: []byte("v"), Timestamp: 40}))
	require.NoError(t, s.Put(waiting{
		Key: "k", Value: []byte{}, Timestamp: 40, Headers: []record.Header{{Key: "a", Value: []byte("1")}, {Key: "b"}},
	}))
	require.ErrorContains(t, s.Put(waiting{Timestamp: -1}), "negative time -1")
	b.seal()
	var log []string
	for i := range b.batches["b"].Len() {
		r := b.batches["b"].At(i)
		log = append(log, fmt.Sprintf("%x=%x@%d", r.Key, r.Value, r.Timestamp))
	}
	require.Equal(t, []string{
		"00" + "6172726976616c73" + "=" + "0000000000000001" + "@1",
		"00" + "6f62736572766564" + "=" + "0000000000000028" + "@40",
		"01" + "0000000000000028" + "6b" + "0000000000000000" + "=" + "01" + "00" + "76" + "@40",
		"01" + "0000000000000028" + "6b" + "0000000000000001" + "=" + "01" + "02" + "0161" + "0231" + "0162" + "00" + "@40",
	}, log)
}
