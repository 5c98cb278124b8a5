package topology_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/topology"
)

// slidingModel returns the last value of each window that contains a record, of records in order of time: one ends with
// each record (or begins at 0), one begins behind it if another is in reach.
func slidingModel(times []int64, d int64) map[string]string {
	want := make(map[string]string)
	in := func(start int64) string {
		var s strings.Builder
		for i, ts := range times {
			if ts >= start && ts <= start+d {
				s.WriteByte('a' + byte(i%26))
			}
		}
		return s.String()
	}
	for _, ts := range times {
		starts := []int64{max(0, ts-d)}
		if slices.ContainsFunc(times, func(later int64) bool { return later > ts && later <= ts+1+d }) {
			starts = append(starts, ts+1)
		}
		for _, start := range starts {
			want[fmt.Sprintf("k@%d/%d", start, start+d)] = in(start)
		}
	}
	return want
}

// TestSlidingIsTheModel compares with the definition, for records in order: out of order the windows depend on what
// came when, as in Kafka Streams.
func TestSlidingIsTheModel(t *testing.T) {
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 7))
		d := rng.Int64N(12)
		n := 2 + rng.IntN(14)
		times := make([]int64, n)
		for i := range times {
			times[i] = rng.Int64N(60)
		}
		slices.Sort(times)
		w := topology.Sliding(time.Duration(d) * time.Millisecond).Grace(time.Second)
		driver := runWindowed(t, overWindows(w, false, topology.Retention(time.Minute)))
		for i, ts := range times {
			driver.pipe("k", string('a'+byte(i%26)), ts)
			if rng.IntN(4) == 0 {
				driver.Commit()
				driver.Crash()
			}
		}
		got := make(map[string]string)
		for _, line := range driver.take() {
			window, value, _ := strings.Cut(line, "=")
			got[window] = value
		}
		require.Equal(t, slidingModel(times, d), got, "seed %d, difference %d, times %v", seed, d, times)
	}
}

func TestSlidingDropsNullsAndLateOnes(t *testing.T) {
	d := runWindowed(t, overWindows(topology.Sliding(10*time.Millisecond), false))
	d.pipe("k", "a", 50)
	d.pipe("k", "b", 40)
	require.Equal(t, []string{"k@40/50=a", "k@40/50=ab", "k@41/51=a"}, d.take(), "its own window has closed")
	d.pipe("k", "c", 39)
	require.Empty(t, d.take())
	require.Equal(t, 1, d.Dropped())
}
