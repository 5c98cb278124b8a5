package integration

import (
	"flag"
	"fmt"
	"testing"
	"time"
)

var (
	runs = flag.Int("runs", 0, "`runs` of each seeded test; 0: as many as there is time for")
	seed = flag.Uint64("seed", 1, "`seed` of the first run; each further one has the next")
)

// timeOfSeeds bounds a seeded test if the number of runs is not given.
const timeOfSeeds = 10 * time.Second

// ofSeeds runs a test with one seed after the other, as subtests that are named by them.
func ofSeeds(t *testing.T, run func(t *testing.T, seed uint64)) {
	t.Helper()
	began, n, failed := time.Now(), 0, []uint64(nil)
	for at := *seed; *runs > 0 && n < *runs || *runs == 0 && time.Since(began) < timeOfSeeds; at++ {
		n++
		if !t.Run(fmt.Sprintf("seed-%d", at), func(t *testing.T) { run(t, at) }) {
			failed = append(failed, at)
		}
	}
	t.Logf("%d runs, seeds %d to %d, in %s; failed: %v", n, *seed, *seed+uint64(n)-1,
		time.Since(began).Round(time.Millisecond), failed)
}
