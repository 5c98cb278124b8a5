package worker

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/topology"
)

// another makes a second worker of a member, with a fetcher and a producer of its own. It does not run.
func (m *member) another() *Worker {
	cfg := m.worker.cfg
	cfg.Index, cfg.Fetcher, cfg.Producer = 1, newFakeFetcher(m.c), &fakeProducer{c: m.c}
	return New(cfg)
}

// at counts the running tasks of a worker.
func at(t *testing.T, w *Worker) int {
	t.Helper()
	s, err := w.Snapshot(t.Context())
	require.NoError(t, err)
	return len(s.Tasks)
}

// run runs a worker until the end of the test.
func (m *member) run(w *Worker) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = w.Run(ctx)
	}()
	m.t.Cleanup(func() { cancel(); <-ended })
}

// A commit hangs, and who adds or removes a worker has no time: every task goes on where it is, and nothing is lost.
// The next call does what is left.
func TestWorkersChangeWithoutTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		var gate *gatedProducer
		m := newMember(t, c, countPlan(t, topology.InMemory()), func(cfg *Config) { gate = gated(cfg) })
		m.start()
		second := m.another()
		m.run(second)
		m.assign(taskID(0), taskID(1))
		introduced(t, c, in0, in1)

		gate.held.Store(true)
		c.produce(in0, keys(3)...)
		<-gate.sending
		short := func() context.Context {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			t.Cleanup(cancel)
			return ctx
		}
		err := m.manager.AddWorker(short(), second)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, &GaveUpError{Kept: true, Err: context.DeadlineExceeded}, err)
		require.Equal(t, []int{2, 0}, []int{at(t, m.worker), at(t, second)})
		gate.held.Store(false)
		gate.release <- struct{}{}
		c.produce(in0, keys(3)...)
		c.produce(in1, keys(5)...)
		until(t, "all commits", func() bool { return c.committed(in0) == 6 && c.committed(in1) == 5 })

		moved, err := m.manager.spread(t.Context())
		require.NoError(t, err)
		require.Equal(t, 1, moved)
		require.Equal(t, []int{1, 1}, []int{at(t, m.worker), at(t, second)})
		c.produce(in0, keys(2)...)
		c.produce(in1, keys(2)...)
		until(t, "all commits", func() bool { return c.committed(in0) == 8 && c.committed(in1) == 7 })

		gate.held.Store(true)
		tp := in0
		if w, _ := m.manager.WorkerOf(taskID(0)); w == second {
			tp = in1
		}
		c.produce(tp, "x")
		<-gate.sending
		err = m.manager.RemoveWorker(short(), m.worker)
		require.Equal(t, &GaveUpError{Kept: true, Err: context.DeadlineExceeded}, err)
		require.Len(t, m.manager.workers(), 2)
		gate.held.Store(false)
		gate.release <- struct{}{}
		require.NoError(t, m.manager.RemoveWorker(t.Context(), m.worker))
		require.Equal(t, []int{0, 2}, []int{at(t, m.worker), at(t, second)})
		c.produce(in0, "y")
		c.produce(in1, "z")
		until(t, "all commits", func() bool { return c.committed(in0)+c.committed(in1) == 18 })
		require.NoError(t, m.close(true))
		require.Len(t, c.read(out0), 18)
	})
}

// A group that takes tasks after a hand-over was withdrawn gets them.
func TestStopAfterAWithdrawnHandOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		m, gate := gatedMember(t, c, taskID(0))
		c.produce(in0, keys(3)...)
		<-gate.sending
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		h := &handover{within: true, done: make(chan struct{})}
		only := map[record.TaskID]bool{taskID(0): true}
		for h.tasks == nil { // who sends a command with no time left may be heard or not
			_ = m.worker.give(ctx, h, only)
		}
		revoked := make(chan struct{})
		go func() {
			defer close(revoked)
			m.assign()
		}()
		synctest.Wait()
		close(gate.release)
		<-revoked
		require.Empty(t, m.manager.Tasks())
		require.Equal(t, int64(3), c.committed(in0))
		require.NoError(t, m.close(true))
	})
}

// A worker that is busy, or does not run yet, holds up nobody who hands it a task.
func TestBusyWorkerAdoptsLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		m := newMember(t, c, countPlan(t, topology.InMemory()), nil)
		m.start()
		m.assign(taskID(0), taskID(1))
		introduced(t, c, in0, in1)
		second := m.another()
		require.NoError(t, m.manager.AddWorker(t.Context(), second))
		c.produce(in0, keys(4)...)
		c.produce(in1, keys(4)...)
		until(t, "one of them", func() bool { return c.committed(in0)+c.committed(in1) == 4 })
		m.run(second)
		until(t, "both", func() bool { return c.committed(in0)+c.committed(in1) == 8 })
		require.NoError(t, m.close(true))
	})
}

// What a worker has been handed and never saw is not forgotten when it ends.
func TestAdoptedByAWorkerThatEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		m := newMember(t, c, countPlan(t, topology.InMemory()), nil)
		m.start()
		m.assign(taskID(0), taskID(1))
		introduced(t, c, in0, in1)
		second := m.another()
		require.NoError(t, m.manager.AddWorker(t.Context(), second))
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		require.NoError(t, second.Run(ended))
		require.ErrorIs(t, second.adopt(&handover{}), ErrStopped)
		tasks := second.Abandon()
		require.Len(t, tasks, 1)
		require.NoError(t, tasks[0].Close(false))
		require.NoError(t, m.close(true))
	})
}
