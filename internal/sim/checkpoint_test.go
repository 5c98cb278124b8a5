package sim_test

import (
	"errors"
	"flag"
	"fmt"
	"hash/fnv"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/internal/sim"
	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/topology"
)

var (
	runs = flag.Int("runs", 0, "`runs` of each test; 0: as many as there is time for")
	seed = flag.Uint64("seed", 1, "`seed` of the first run; each further one has the next")
)

// timeOf bounds a test if the number of runs is not given.
const timeOf = 5 * time.Second

// scenario is a topology, and what is compared of its results.
type scenario struct {
	plan    *processor.Plan
	caching bool
	// sequences are topics in which each key has the same results in the same order, whatever the order between
	// partitions; of others only the last value of each key is.
	sequences, lasts []string
	inputs           []string
}

// newScenario makes up a topology that does not care in which order partitions are read: streams that change their key
// at every hop and are counted, beside topics of users that join them late; tables joined by foreign key, which is a
// cycle; tables that are grouped anew.
func newScenario(r *rand.Rand) (*scenario, error) {
	s := &scenario{caching: r.IntN(3) == 0}
	b := topology.NewBuilder()
	if !s.caching {
		s.hops(b, r)
	}
	if s.caching || r.IntN(2) == 0 {
		s.joined(b, r)
	}
	var err error
	s.plan, err = b.Build()
	return s, err
}

func (s *scenario) hops(b *topology.Builder, r *rand.Rand) {
	stream := topology.Stream(b, "a", serde.String, serde.String)
	s.inputs = append(s.inputs, "a")
	for hop := range 2 + r.IntN(2) {
		keys := 1 + r.IntN(9)
		stream = topology.SelectKey(stream, func(key, value string) string { return rekey(hop, keys, key, value) }, nil)
		if r.IntN(3) == 0 {
			stream = stream.Repartition()
		} else {
			stream = topology.MapValues(topology.Count(stream.GroupByKey()).ToStream(),
				func(n int64) string { return strconv.FormatInt(n, 10) }, serde.String)
		}
		if r.IntN(3) == 0 {
			topic := fmt.Sprintf("b%d", hop)
			s.inputs = append(s.inputs, topic)
			stream = stream.Merge(topology.Stream(b, topic, serde.String, serde.String))
		}
	}
	// What is merged in may come in any order, so it is counted once more.
	counts := topology.Count(topology.GroupBy(stream, func(key, _ string) string { return key + "!" }, nil))
	counts.ToStream().To("counts")
	s.sequences = append(s.sequences, "counts")
}

func (s *scenario) joined(b *topology.Builder, r *rand.Rand) {
	left := topology.Table(b, "l", serde.String, serde.String)
	s.inputs = append(s.inputs, "l", "r")
	if r.IntN(2) == 0 { // a hop before the cycle
		stream := topology.SelectKey(topology.Stream(b, "m", serde.String, serde.String),
			func(key, _ string) string { return key + "m" }, nil)
		left = topology.MapTableValues(topology.Count(stream.GroupByKey()),
			func(n int64) string { return strconv.FormatInt(n, 10) }, serde.String)
		s.inputs[len(s.inputs)-2] = "m"
	}
	joined := topology.LeftForeignKeyJoin(left, topology.Table(b, "r", serde.String, serde.String),
		func(v string) string { return v }, func(l string, r topology.Optional[string]) string { return l + "/" + r.Value },
		serde.String)
	joined.ToStream().To("joined")
	groups := topology.CountTable(topology.GroupTableBy(joined,
		func(_, v string) (string, string) { return "g" + v[:1], v }, nil, nil))
	groups.ToStream().To("groups")
	s.lasts = append(s.lasts, "joined", "groups")
}

func rekey(hop, keys int, key, value string) string {
	h := fnv.New32a()
	_, _ = fmt.Fprint(h, hop, key, value)
	return fmt.Sprintf("h%d-%d", hop, h.Sum32()%uint32(keys))
}

// feed pipes random records among random steps.
func (s *scenario) feed(c *sim.Cluster, r *rand.Rand) error {
	for i := range 20 + r.IntN(60) {
		topic := s.inputs[r.IntN(len(s.inputs))]
		rec := record.Raw{
			Key: strconv.AppendInt([]byte("k"), r.Int64N(12), 10), Value: strconv.AppendInt(nil, r.Int64N(4), 10),
			Timestamp: int64(i),
		}
		if topic == "r" {
			rec.Key = rec.Key[1:] // what the others refer to
		}
		if (topic == "l" || topic == "r") && r.IntN(6) == 0 {
			rec.Value = nil
		}
		if err := c.Pipe(topic, rec); err != nil {
			return err
		}
		for range r.IntN(5) {
			if err := c.Step(); err != nil {
				return err
			}
		}
	}
	return c.Settle()
}

// zero is a count that caches may have left out as a whole.
var zero = string(make([]byte, 8))

// results is what is compared of a run.
func (s *scenario) results(records func(topic string) []record.Raw) map[string]map[string][]string {
	all := make(map[string]map[string][]string)
	for _, topic := range slices.Concat(s.sequences, s.lasts) {
		keys := make(map[string][]string)
		for _, r := range records(topic) {
			key, value := string(r.Key), string(r.Value)
			if r.Value == nil {
				value = "null"
			}
			if slices.Contains(s.lasts, topic) {
				keys[key] = nil
			}
			keys[key] = append(keys[key], value)
		}
		maps.DeleteFunc(keys, func(_ string, values []string) bool {
			last := values[len(values)-1]
			return slices.Contains(s.lasts, topic) && (last == "null" || last == zero)
		})
		all[topic] = keys
	}
	return all
}

// checkpointRun runs a scenario with checkpoints among everything else that happens, and then one more from each of a
// few checkpoints to the end. All must come to the same.
func checkpointRun(t *testing.T, n uint64) (events sim.Events, completed int, err error) {
	t.Helper()
	r := rand.New(rand.NewPCG(n, 1))
	s, err := newScenario(r)
	if err != nil {
		return events, 0, err
	}
	cfg := sim.Config{
		Plan: s.plan, Rand: r, Partitions: int32(1 + r.IntN(4)), Instances: 1 + r.IntN(3), Caching: s.caching,
		Checkpoints: true,
	}
	if r.IntN(2) == 0 {
		cfg.AlignmentBufferBytes = 1 + r.Int64N(2000)
	}
	if r.IntN(60) == 0 {
		cfg.Dir = t.TempDir()
	}
	c, err := sim.New(cfg)
	if err != nil {
		return events, 0, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	if err := s.feed(c, r); err != nil {
		return c.Events, 0, err
	}
	checkpoints := c.Completed()
	completed = len(checkpoints)
	r.Shuffle(completed, func(i, j int) { checkpoints[i], checkpoints[j] = checkpoints[j], checkpoints[i] })
	for _, cp := range checkpoints[:min(completed, 3)] {
		if err := s.fromCheckpoint(t, c, cp, r); err != nil {
			return c.Events, completed, fmt.Errorf("from checkpoint %d: %w", cp.ID, err)
		}
	}
	return c.Events, completed, nil
}

// fromCheckpoint runs a clone to the end and compares it with the cluster it was made from.
func (s *scenario) fromCheckpoint(t *testing.T, c *sim.Cluster, cp *sim.Checkpoint, r *rand.Rand) (err error) {
	t.Helper()
	dir := ""
	if r.IntN(60) == 0 {
		dir = t.TempDir()
	}
	clone, err := c.Clone(cp, r, 1+r.IntN(3), dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, clone.Close()) }()
	for range r.IntN(10) {
		if err := clone.Step(); err != nil {
			return err
		}
	}
	clone.Continue(c, c.Inputs())
	if err := clone.Settle(); err != nil {
		return err
	}
	want := s.results(c.Records)
	got := s.results(func(topic string) []record.Raw { return append(c.Before(cp, topic), clone.Records(topic)...) })
	if !reflect.DeepEqual(want, got) {
		return fmt.Errorf("results differ:\nuninterrupted %v\nbefore and after the cut %v", want, got)
	}
	w, g := c.State(), clone.State()
	maps.DeleteFunc(w, func(_, value string) bool { return value == zero })
	maps.DeleteFunc(g, func(_, value string) bool { return value == zero })
	if !reflect.DeepEqual(w, g) {
		return fmt.Errorf("state differs:\nuninterrupted %q\nfrom the cut %q", w, g)
	}
	return nil
}

// TestCheckpointsAreConsistentCuts is the proof of barriers: whatever happens while checkpoints are made, each that
// completes leads to the same results.
func TestCheckpointsAreConsistentCuts(t *testing.T) {
	t.Parallel()
	began, n, completed, first := time.Now(), 0, 0, *seed
	var sum sim.Events
	for at := first; *runs > 0 && n < *runs || *runs == 0 && time.Since(began) < timeOf; at++ {
		events, done, err := checkpointRun(t, at)
		require.NoError(t, err, "seed %d", at)
		n++
		completed += done
		sum.Add(events)
	}
	t.Logf("%d runs from seed %d: %d checkpoints completed; %+v", n, first, completed, sum)
	require.Positive(t, completed)
	require.Positive(t, sum.Unaligned)
	require.Positive(t, sum.InFlight)
}
