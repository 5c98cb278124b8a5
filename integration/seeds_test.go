package integration

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

var (
	runs = flag.Int("runs", 0, "`runs` of each seeded test; 0: as many as there is time for")
	seed = flag.Uint64("seed", 1, "`seed` of the first run; each further one has the next")
)

// timeOfSeeds bounds a seeded test if the number of runs is not given.
const timeOfSeeds = 8 * time.Second

// ofSeeds runs a test with one seed after the other, as subtests that are named by them.
func ofSeeds(t *testing.T, run func(t *testing.T, r *rand.Rand)) {
	t.Helper()
	began := time.Now()
	for i := 0; *runs == 0 && time.Since(began) < timeOfSeeds || i < *runs; i++ {
		s := *seed + uint64(i)
		ok := t.Run(fmt.Sprintf("seed=%d", s), func(t *testing.T) { run(t, rand.New(rand.NewPCG(s, 0))) })
		if !ok {
			t.Fatalf("repeat it with -runs 1 -seed %d", s)
		}
	}
	t.Logf("%d runs in %v", max(1, *runs), time.Since(began).Round(time.Millisecond))
}
