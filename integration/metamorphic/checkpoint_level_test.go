package metamorphic

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/tidemarkio/tidemark/integration/conformance/cases"
	"github.com/tidemarkio/tidemark/internal/sim"
	"github.com/tidemarkio/tidemark/record"
)

// checkpointScenario is one for clusters without global stores, of which checkpoints have no part.
func checkpointScenario(r *rand.Rand) *scenario {
	for {
		s := clusterScenario(r)
		plan, err := buildPlan(s)
		if err != nil || len(plan.Globals) == 0 {
			return s
		}
	}
}

// checkpointRun makes checkpoints in a disturbed run in partitions, and compares what a new application makes of each
// with an undisturbed run.
func checkpointRun(s *scenario, seed uint64) (err error) {
	want, err := onDriver(s, undisturbed)
	if err != nil {
		return err
	}
	r := rand.New(rand.NewPCG(seed, 3))
	how := newCluster(r)
	how.disk, how.checkpoints = false, true
	c, topics, phases, err := run(s, how, r, "")
	if err != nil {
		return fmt.Errorf("cluster: %w", err)
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	if err := compareAs(s.class, want, collect(topics, c.Records)); err != nil {
		return err
	}
	completed := c.Completed()
	r.Shuffle(len(completed), func(i, j int) { completed[i], completed[j] = completed[j], completed[i] })
	for _, cp := range completed[:min(len(completed), 2)] {
		got, err := fromCheckpoint(c, cp, topics, phases, r)
		if err == nil {
			err = compareAs(s.class, want, got)
		}
		if err != nil {
			return fmt.Errorf("from checkpoint %d: %w", cp.ID, err)
		}
	}
	return nil
}

// fromCheckpoint runs a clone to the end, through the phases of the run it is made from.
func fromCheckpoint(
	c *sim.Cluster, cp *sim.Checkpoint, topics []string, phases []map[record.TopicPartition]int, r *rand.Rand,
) (got outputs, err error) {
	clone, err := c.Clone(cp, r, 1+r.IntN(3), "")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, clone.Close()) }()
	for _, ends := range phases {
		clone.Continue(c, ends)
		if err := clone.Settle(); err != nil {
			return nil, err
		}
	}
	return collect(topics, func(topic string) []record.Raw {
		return append(c.Before(cp, topic), clone.Records(topic)...)
	}), nil
}

func compareAs(c class, want, got outputs) error {
	switch c {
	case ordered:
		return compare(want, got, perKey)
	case matched:
		return compare(want, got, anyOrder)
	default:
		return compare(want, got, lastValues)
	}
}

func collect(topics []string, records func(topic string) []record.Raw) outputs {
	out := make(outputs)
	for _, topic := range topics {
		for _, rec := range records(topic) {
			out[topic] = append(out[topic], cases.Output{Key: bytesOf(rec.Key), Value: bytesOf(rec.Value), TS: rec.Timestamp})
		}
	}
	return out
}

func TestCheckpoints(t *testing.T) {
	t.Parallel()
	level(t, checkpointScenario, checkpointRun, minimise)
}
