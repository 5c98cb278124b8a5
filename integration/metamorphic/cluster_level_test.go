package metamorphic

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/tidemarkio/tidemark/integration/conformance/cases"
	"github.com/tidemarkio/tidemark/internal/sim"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/topology"
)

// cluster is how a scenario is run in partitions, drawn from the seed of the run.
type cluster struct {
	partitions int32
	instances  int
	// disk keeps the state of a run in directories, which is slow.
	disk, caching, optimize bool
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
	switch s.class {
	case ordered:
		return compare(want, got, perKey)
	case matched:
		return compare(want, got, anyOrder)
	default:
		return compare(want, got, lastValues)
	}
}

func onCluster(s *scenario, how cluster, r *rand.Rand) (out outputs, err error) {
	var opts []topology.BuilderOption
	if how.optimize {
		opts = append(opts, topology.OptimizeAll())
	}
	b, err := cases.Build(&s.Case, opts...)
	if err != nil {
		return nil, err
	}
	plan, err := b.Build()
	if err != nil {
		return nil, err
	}
	cfg := sim.Config{
		Plan: plan, Rand: r, Partitions: how.partitions, Instances: how.instances,
		// A cache leaves updates out, of which only the last is compared.
		Caching: how.caching && s.class == commutative,
	}
	if how.disk {
		if cfg.Dir, err = os.MkdirTemp("", "metamorphic"); err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(cfg.Dir)) }()
	}
	c, err := sim.New(cfg)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	for i, e := range s.Events {
		if i == s.preloaded || e.TS == flushMs && i > 0 && s.Events[i-1].TS < flushMs {
			// What comes now must find what came before, in whatever partition it is.
			if err := c.Settle(); err != nil {
				return nil, err
			}
		}
		if err := c.Pipe(e.Topic, raw(e)); err != nil {
			return nil, err
		}
		for range r.IntN(4) {
			if err := c.Step(); err != nil {
				return nil, err
			}
		}
	}
	if err := c.Settle(); err != nil {
		return nil, err
	}
	out = make(outputs)
	for _, topic := range b.Sinks {
		for _, rec := range c.Records(topic) {
			out[topic] = append(out[topic], cases.Output{Key: bytesOf(rec.Key), Value: bytesOf(rec.Value), TS: rec.Timestamp})
		}
	}
	return out, nil
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
	level(t, clusterScenario, clusterRun, minimise)
}
