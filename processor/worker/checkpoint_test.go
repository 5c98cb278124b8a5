package worker

import (
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/checkpointing"
	"github.com/tidemarkio/tidemark/eos"
	"github.com/tidemarkio/tidemark/processor/task"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/topology"
)

// acks is what a worker has said about checkpoints.
type acks struct {
	mu       sync.Mutex
	cuts     []checkpointing.Cut
	declined []checkpointing.Decline
}

func (a *acks) wire(cfg *Config) {
	cfg.OnCut = func(c checkpointing.Cut) {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.cuts = append(a.cuts, c)
		if c.Snapshot != nil {
			c.Snapshot.Release()
		}
	}
	cfg.OnDecline = func(d checkpointing.Decline) {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.declined = append(a.declined, d)
	}
}

func (a *acks) count() (cuts, declined int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.cuts), len(a.declined)
}

// checkpointed makes a member whose tasks have no channels: their checkpoints begin with the trigger.
func checkpointed(t *testing.T, c *cluster, change func(*Config)) (*member, *acks) {
	t.Helper()
	a := &acks{}
	m := newMember(t, c, countPlan(t, topology.InMemory()), func(cfg *Config) {
		a.wire(cfg)
		if change != nil {
			change(cfg)
		}
	})
	m.channels = &task.Channels{}
	m.start()
	return m, a
}

func TestCheckpointOfAWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		c.produce(in0, keys(10)...)
		m, a := checkpointed(t, c, nil)
		m.assign(taskID(0), taskID(1))
		until(t, "the first commit", func() bool { return c.committed(in0) == 10 })
		require.NoError(t, m.worker.Checkpoint(t.Context(), checkpointing.Barrier{ID: 1}))
		require.NoError(t, m.worker.Checkpoint(t.Context(), checkpointing.Barrier{ID: 1}), "heard twice")
		until(t, "two cuts", func() bool { n, _ := a.count(); return n == 2 })
		slices.SortFunc(a.cuts, func(x, y checkpointing.Cut) int { return x.Task.Compare(y.Task) })
		require.Equal(t, []checkpointing.InputPosition{{Topic: "in", Offset: 10, StreamTimeMs: 9}}, a.cuts[0].Inputs)
		require.Equal(t, taskID(1), a.cuts[1].Task)
		meta, err := eos.ParseMetadata(c.offsets[in0].Metadata)
		require.NoError(t, err)
		require.Equal(t, int64(1), meta.Checkpoint)
		require.Equal(t, a.cuts[0].Epoch, meta.Epoch)
		require.NoError(t, m.worker.CheckpointEnded(t.Context(), 1))

		// A task that comes while a checkpoint is in progress takes part in it, unless an owner before had begun it.
		m.assign(taskID(0))
		require.NoError(t, m.worker.Checkpoint(t.Context(), checkpointing.Barrier{ID: 2}))
		until(t, "the cut of the task that stayed", func() bool { n, _ := a.count(); return n == 3 })
		m.assign(taskID(0), taskID(1))
		until(t, "the cut of the task that came", func() bool { n, _ := a.count(); return n == 4 })
		require.Equal(t, taskID(1), a.cuts[3].Task)
		m.assign(taskID(0))
		m.assign(taskID(0), taskID(1))
		until(t, "it declines", func() bool { _, n := a.count(); return n == 1 })
		require.Equal(t, taskID(1), a.declined[0].Task)
		require.True(t, a.declined[0].NotRunning)
		require.NoError(t, m.close(true))
	})
}

// TestDroppedCut lets the commit of a cut fail: in a transaction the cut is made again, without one it is given up.
func TestDroppedCut(t *testing.T) {
	for _, g := range []eos.Guarantee{eos.ExactlyOnceV2, eos.AtLeastOnce} {
		t.Run(g.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster()
				m, a := checkpointed(t, c, func(cfg *Config) { cfg.Guarantee = g })
				m.assign(taskID(0))
				until(t, "the task", func() bool { return len(c.offsetsOf()) == 1 })
				failures := 1
				c.mu.Lock()
				c.fault = func(call string) (bool, error) {
					if call == "send" && failures > 0 {
						failures--
						return false, eos.ErrAborted
					}
					return false, nil
				}
				c.mu.Unlock()
				require.NoError(t, m.worker.Checkpoint(t.Context(), checkpointing.Barrier{ID: 1}))
				until(t, "an answer", func() bool { cuts, declined := a.count(); return cuts+declined == 1 })
				require.Equal(t, g == eos.ExactlyOnceV2, len(a.cuts) == 1)
				require.NoError(t, m.close(true))
			})
		})
	}
}

func (c *cluster) offsetsOf() (tps []record.TopicPartition) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for tp := range c.offsets {
		tps = append(tps, tp)
	}
	return tps
}
