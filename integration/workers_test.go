package integration

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark"
	"github.com/tidemarkio/tidemark/checkpointing/storage/mem"
	"github.com/tidemarkio/tidemark/integration/broker"
)

// tasksByWorker counts the running tasks of each worker.
func (a *app) tasksByWorker() (counts []int) {
	a.t.Helper()
	s, err := a.app.Status(a.t.Context())
	require.NoError(a.t, err)
	for _, w := range s.Workers {
		counts = append(counts, len(w.Tasks))
	}
	return counts
}

// Workers come and go under load, with checkpoints beside: nothing is lost or doubled, no task is restored again, and
// tasks spread over the workers that there are.
func TestWorkersComeAndGo(t *testing.T) {
	s := newScenario(t, broker.Start(t))
	var restored atomic.Int64
	cfg := s.checkpointed(mem.New(), 100*time.Millisecond)
	cfg.RestoreListener.OnEnd = func(tidemark.RestoreEnd) { restored.Add(1) }
	a := s.run(repartitionTopology(s.in, s.out), cfg)
	a.awaitTasks(8)
	stop := s.load()
	for _, step := range []struct {
		add  bool
		want []int
	}{
		{true, []int{4, 4}},
		{true, []int{3, 3, 2}},
		{true, []int{2, 2, 2, 2}},
		{false, []int{3, 3, 2}},
		{false, []int{4, 4}},
		{true, []int{3, 3, 2}},
		{false, []int{4, 4}},
		{false, []int{8}},
	} {
		change := a.app.RemoveWorker
		if step.add {
			change = a.app.AddWorker
		}
		n, err := change(t.Context())
		require.NoError(t, err)
		require.Equal(t, len(step.want), n)
		require.ElementsMatch(t, step.want, a.tasksByWorker())
		s.cluster.AwaitCommitted(t, s.app, s.in, 60*time.Second)
	}
	_, err := a.app.RemoveWorker(t.Context())
	require.ErrorIs(t, err, tidemark.ErrLastWorker)
	stop()
	s.check()
	require.Equal(t, int64(4), restored.Load(), "each store once")
	a.close()
}

// Who has no time to add or remove a worker is told how things stand, and the application goes on as if nothing were.
func TestWorkersWithoutTime(t *testing.T) {
	s := newScenario(t, broker.Start(t))
	cfg := s.config()
	cfg.Workers = 2
	a := s.run(repartitionTopology(s.in, s.out), cfg)
	a.awaitTasks(8)
	stop := s.load()
	over, cancel := context.WithCancel(t.Context())
	cancel()
	for i := range 20 {
		change := a.app.RemoveWorker
		if i%2 == 0 {
			change = a.app.AddWorker
		}
		n, err := change(over)
		if err != nil && n > 1 {
			var gaveUp *tidemark.WorkersError
			require.ErrorAs(t, err, &gaveUp)
			require.ErrorIs(t, err, context.Canceled)
			require.Equal(t, n, gaveUp.Workers)
		}
		total := 0
		counts := a.tasksByWorker()
		for _, c := range counts {
			total += c
		}
		require.Len(t, counts, n)
		require.Equal(t, 8, total)
	}
	n, err := a.app.AddWorker(t.Context())
	require.NoError(t, err)
	require.Len(t, a.tasksByWorker(), n)
	stop()
	s.check()
	require.False(t, a.saw(tidemark.Restarting))
	a.close()
}

// What is asked for before Run is there when it runs.
func TestWorkersBeforeRun(t *testing.T) {
	s := newScenario(t, broker.Start(t))
	a, err := tidemark.New(repartitionTopology(s.in, s.out), s.config())
	require.NoError(t, err)
	n, err := a.AddWorker(t.Context())
	require.NoError(t, err)
	require.Equal(t, 2, n)
	require.NoError(t, a.Close())
}
