package worker

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/topology"
)

// Tasks that stay process on while others are handed over: they wait neither for the commit that is in flight nor for
// that of the others.
func TestHandOverStopsNobodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		m, gate := gatedMember(t, c, taskID(0), taskID(1))
		c.produce(in0, keys(3)...)
		<-gate.sending
		revoked := make(chan struct{})
		go func() {
			m.assign(taskID(1))
			close(revoked)
		}()
		synctest.Wait()
		processed := func(p int32) uint64 {
			s, err := m.worker.Snapshot(t.Context())
			require.NoError(t, err)
			for _, ts := range s.Tasks {
				if ts.ID == taskID(p) {
					return ts.Metrics.Processed
				}
			}
			return 0
		}
		c.produce(in1, keys(5)...)
		c.produce(in0, "late") // for the next owner
		synctest.Wait()
		require.Equal(t, uint64(5), processed(1), "the worker waits for a commit")
		require.Equal(t, uint64(3), processed(0), "a task that leaves takes nothing more")
		close(gate.release)
		<-revoked
		require.Equal(t, int64(3), c.committed(in0))
		m.assign(taskID(0), taskID(1))
		until(t, "all commits", func() bool { return c.committed(in0) == 4 && c.committed(in1) == 5 })
		require.NoError(t, m.close(true))
		require.ElementsMatch(t, append(counted(append(keys(3), "late")), counted(keys(5))...), c.read(out0))
	})
}

// A hand-over of tasks that are not there, twice, and without a commit.
func TestHandOverOfNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		m := newMember(t, c, countPlan(t, topology.InMemory()), nil)
		m.start()
		for _, commit := range []bool{true, false} {
			stopped, err := m.worker.Stop(t.Context(), nil, commit)
			require.NoError(t, err)
			require.Empty(t, stopped)
		}
		require.NoError(t, m.close(true))
		_, err := m.worker.Stop(context.Background(), nil, true)
		require.ErrorIs(t, err, ErrStopped)
	})
}
