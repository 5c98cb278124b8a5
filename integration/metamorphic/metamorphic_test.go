package metamorphic

import (
	"encoding/json"
	"flag"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidemarkio/tidemark/integration/conformance/cases"
)

var (
	runs = flag.Int("runs", 0, "`runs` of each level; 0: as many as there is time for")
	seed = flag.Uint64("seed", 1, "`seed` of the first run; each further one has the next")
)

// timeOf bounds a level if the number of runs is not given.
const timeOf = 6 * time.Second

// level does runs until there were enough, and reports the first difference, reduced to what it needs.
func level(
	t *testing.T, scenarioOf func(r *rand.Rand) *scenario, run func(s *scenario, seed uint64) error,
	reduce func(s *scenario, seed uint64, run func(s *scenario, seed uint64) error) *scenario,
) {
	t.Helper()
	began, n, refused, first := time.Now(), 0, 0, *seed
	for at := first; *runs > 0 && n < *runs || *runs == 0 && time.Since(began) < timeOf; at++ {
		s := scenarioOf(rand.New(rand.NewPCG(at, 0)))
		if _, err := cases.Build(&s.Case); err != nil {
			t.Fatalf("seed %d: %v\n%s", at, err, inJSON(s))
		}
		err := run(s, at)
		n++
		switch {
		case err == nil:
		case isRefused(err):
			refused++
		default:
			t.Fatalf("seed %d (%s): %v\nneeds:\n%s", at, s.class, err, inJSON(reduce(s, at, run)))
		}
	}
	t.Logf("%d runs passed, seeds %d to %d, in %v; %d topologies were refused", n-refused, first, first+uint64(n)-1,
		time.Since(began).Round(time.Millisecond), refused)
}

// isRefused reports that the topology was declared, but cannot be built: the generator does not know all rules.
func isRefused(err error) bool { return strings.HasPrefix(err.Error(), "open: ") }

func inJSON(s *scenario) string {
	c := s.Case
	c.ID, c.Group = "metamorphic", s.class.String()
	data, err := json.Marshal(c)
	if err != nil {
		return err.Error()
	}
	return string(data)
}

// asItIs reduces nothing: what depends on when processes are killed does not fail the same way twice.
func asItIs(s *scenario, _ uint64, _ func(s *scenario, seed uint64) error) *scenario { return s }

// minimise leaves out sinks, operators and events as long as the run still fails.
func minimise(s *scenario, seed uint64, run func(s *scenario, seed uint64) error) *scenario {
	fails := func(candidate *scenario) bool {
		if _, err := cases.Build(&candidate.Case); err != nil {
			return false
		}
		err := run(candidate, seed)
		return err != nil && !isRefused(err)
	}
	for changed := true; changed; {
		changed = false
		for i := range slices.Backward(s.Topology) {
			c := *s
			c.Topology = slices.Delete(slices.Clone(s.Topology), i, i+1)
			if len(c.Topology) > 0 && readsAll(&c) && fails(&c) {
				s, changed = &c, true
			}
		}
		for i := range slices.Backward(s.Events) {
			c := *s
			if c.Events = slices.Delete(slices.Clone(s.Events), i, i+1); i < s.preloaded {
				c.preloaded--
			}
			if fails(&c) {
				s, changed = &c, true
			}
		}
	}
	return s
}

// readsAll reports whether every topic that gets an event is read.
func readsAll(s *scenario) bool {
	for _, e := range s.Events {
		if e.Topic != "" && !slices.ContainsFunc(s.Topology, func(st cases.Step) bool {
			return st.Topic == e.Topic && st.Op != "to"
		}) {
			return false
		}
	}
	return true
}

func TestDriver(t *testing.T) {
	t.Parallel()
	level(t, func(r *rand.Rand) *scenario { return newScenario(r, class(r.IntN(2)), 1) }, driverRun, minimise)
}
