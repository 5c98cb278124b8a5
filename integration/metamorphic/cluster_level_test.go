package metamorphic

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/tidemarkio/tidemark/integration/conformance/cases"
	"github.com/tidemarkio/tidemark/internal/sim"
	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/topology"
)

// cluster is how a scenario is run in partitions, drawn from the seed of the run.
type cluster struct {
	partitions int32
	instances  int
	// disk keeps the state of a run in directories, which is slow.
	disk, caching, optimize, checkpoints bool
}

func newCluster(r *rand.Rand) cluster {
	how := cluster{
		partitions: int32(1 + r.IntN(4)), instances: 1 + r.IntN(3), disk: r.IntN(40) == 0, caching: r.IntN(2) == 0,
		optimize: r.IntN(3) == 0,
	}
	if how.disk {
		how.partitions = min(how.partitions, 2)
	}
	return how
}

func clusterScenario(r *rand.Rand) *scenario {
	return newScenario(r, ordered+class(r.IntN(3)), 4)
}

// clusterRun compares an undisturbed run of the driver with one in partitions.
func clusterRun(s *scenario, seed uint64) error {
	want, err := onDriver(s, undisturbed)
	if err != nil {
		return err
	}
	r := rand.New(rand.NewPCG(seed, 2))
	got, err := onCluster(s, newCluster(r), r)
	if err != nil {
		return fmt.Errorf("cluster: %w", err)
	}
	return compareAs(s.class, want, got)
}

func onCluster(s *scenario, how cluster, r *rand.Rand) (out outputs, err error) {
	dir := ""
	if how.disk {
		if dir, err = os.MkdirTemp("", "metamorphic"); err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	}
	c, topics, _, err := run(s, how, r, dir)
	if err != nil {
		return nil, err
	}
	return collect(topics, c.Records), c.Close()
}

func buildPlan(s *scenario, opts ...topology.BuilderOption) (*processor.Plan, error) {
	b, err := cases.Build(&s.Case, opts...)
	if err != nil {
		return nil, err
	}
	return b.Build()
}

// run runs a scenario on a cluster to its end. It returns the topics to compare, and how much input there was when each
// phase ended: what comes in the next one must find what came before.
func run(
	s *scenario, how cluster, r *rand.Rand, dir string,
) (c *sim.Cluster, topics []string, phases []map[record.TopicPartition]int, err error) {
	var opts []topology.BuilderOption
	if how.optimize {
		opts = append(opts, topology.OptimizeAll())
	}
	b, err := cases.Build(&s.Case, opts...)
	if err != nil {
		return nil, nil, nil, err
	}
	plan, err := b.Build()
	if err != nil {
		return nil, nil, nil, err
	}
	c, err = sim.New(sim.Config{
		Plan: plan, Rand: r, Partitions: how.partitions, Instances: how.instances, Dir: dir, Checkpoints: how.checkpoints,
		// A cache leaves updates out, of which only the last is compared.
		Caching: how.caching && s.class == commutative,
	})
	if err != nil {
		return nil, nil, nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.Close())
		}
	}()
	settle := func() error {
		phases = append(phases, c.Inputs())
		return c.Settle()
	}
	for i, e := range s.Events {
		if i == s.preloaded || e.TS == flushMs && i > 0 && s.Events[i-1].TS < flushMs {
			// What comes now must find what came before, in whatever partition it is.
			if err := settle(); err != nil {
				return nil, nil, nil, err
			}
		}
		if err := c.Pipe(e.Topic, raw(e)); err != nil {
			return nil, nil, nil, err
		}
		for range r.IntN(4) {
			if err := c.Step(); err != nil {
				return nil, nil, nil, err
			}
		}
	}
	err = settle()
	return c, b.Sinks, phases, err
}

func raw(e cases.Event) record.Raw {
	r := record.Raw{Timestamp: e.TS}
	if e.Key != nil {
		r.Key = []byte(*e.Key)
	}
	if e.Value != nil {
		r.Value = append([]byte{}, *e.Value...)
	}
	return r
}

func bytesOf(b []byte) cases.Text {
	if b == nil {
		return nil
	}
	return cases.Some(string(b))
}

func TestCluster(t *testing.T) {
	t.Parallel()
	level(t, clusterScenario, clusterRun)
}
