package integration

import (
	"context"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark"
	"github.com/tidemarkio/tidemark/checkpointing/storage"
	"github.com/tidemarkio/tidemark/checkpointing/storage/dir"
	"github.com/tidemarkio/tidemark/integration/broker"
)

// gatedStorage lets nobody read a whole snapshot before the gate is open, parts of it at any time.
type gatedStorage struct {
	storage.Storage

	gate chan struct{}
	// err is what reading a whole snapshot fails with behind the gate; nil if it works.
	err error

	mu    sync.Mutex
	parts int // that were read
}

func (g *gatedStorage) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	if strings.HasSuffix(name, ".snap") {
		select {
		case <-g.gate:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if g.err != nil {
			return nil, g.err
		}
	}
	return g.Storage.Open(ctx, name)
}

func (g *gatedStorage) ReadRange(ctx context.Context, name string, offset int64, p []byte) error {
	g.mu.Lock()
	g.parts++
	g.mu.Unlock()
	return storage.ReadRange(ctx, g.Storage, name, offset, p)
}

// loading lists the tasks of an App that run before all of their state is local.
func (a *app) loading() (tasks []string) {
	a.t.Helper()
	s, err := a.app.Status(a.t.Context())
	require.NoError(a.t, err)
	for _, w := range s.Workers {
		for _, task := range w.Tasks {
			if task.Loading != nil {
				tasks = append(tasks, task.ID.String())
			}
		}
	}
	return tasks
}

// lazily makes a checkpoint with increments and a tail behind it, and the configuration of an instance without local
// state that begins with it.
func (s *scenario) lazily() (*gatedStorage, tidemark.Config) {
	s.t.Helper()
	to := dir.New(s.t.TempDir())
	cfg := s.checkpointed(to, 0)
	cfg.Checkpointing.LazyRestore = true
	first := s.run(repartitionTopology(s.in, s.out), cfg)
	first.awaitRunning()
	for i := range 20 { // each commit writes each key again
		s.send(100)
		s.check()
		if i == 10 {
			_, err := first.app.TriggerCheckpoint(s.t.Context(), tidemark.CheckpointOptions{})
			require.NoError(s.t, err)
		}
	}
	_, err := first.app.TriggerCheckpoint(s.t.Context(), tidemark.CheckpointOptions{})
	require.NoError(s.t, err)
	require.NotEmpty(s.t, s.objects(to, ".idx"))
	s.send(500)
	s.check()
	first.close()
	gated := &gatedStorage{Storage: to, gate: make(chan struct{})}
	next := s.checkpointed(gated, 0)
	next.Checkpointing.LazyRestore = true
	return gated, next
}

// TestLazyRestore starts an instance without local state whose storage holds all loads back: it goes on counting where
// the last one was, and takes its snapshots over when they come.
func TestLazyRestore(t *testing.T) {
	s := newScenario(t, broker.Start(t))
	gated, cfg := s.lazily()
	var mu sync.Mutex
	var bases []string
	cfg.RestoreListener.OnEnd = func(r tidemark.RestoreEnd) {
		mu.Lock()
		defer mu.Unlock()
		bases = append(bases, r.Base)
	}
	second := s.run(repartitionTopology(s.in, s.out), cfg)
	second.awaitRunning()
	s.send(500)
	s.check()
	require.NotEmpty(t, second.loading(), "all results are there, and the state is not")
	gated.mu.Lock()
	require.NotZero(t, gated.parts)
	gated.mu.Unlock()
	mu.Lock()
	require.Contains(t, strings.Join(bases, " "), "snapshot")
	mu.Unlock()
	_, err := second.app.TriggerCheckpoint(t.Context(), tidemark.CheckpointOptions{})
	require.ErrorContains(t, err, "of the task's state is loaded from snapshot")

	close(gated.gate)
	eventually(t, "all state to be local", func() bool { return len(second.loading()) == 0 })
	s.send(500)
	s.check()
	_, err = second.app.TriggerCheckpoint(t.Context(), tidemark.CheckpointOptions{})
	require.NoError(t, err)
	second.close()

	mu.Lock()
	bases = nil
	mu.Unlock()
	third := s.run(repartitionTopology(s.in, s.out), cfg) // the same state directory
	third.awaitRunning()
	s.send(500)
	s.check()
	require.Empty(t, third.loading())
	mu.Lock()
	require.Contains(t, bases, "local")
	require.NotContains(t, strings.Join(bases, " "), "snapshot")
	mu.Unlock()
	third.close()
}

// TestLazyRestoreFails lets the loads fail when the tasks run already: the application starts again, from what is left.
func TestLazyRestoreFails(t *testing.T) {
	s := newScenario(t, broker.Start(t))
	gated, cfg := s.lazily()
	gated.err = &storage.Error{Storage: gated.String(), Op: "open", Err: storage.ErrNotFound}
	cfg.Restart = tidemark.RestartFixedDelay(10, 10*time.Millisecond)
	second := s.run(repartitionTopology(s.in, s.out), cfg)
	second.awaitRunning()
	s.send(500)
	s.check()
	close(gated.gate)
	eventually(t, "the restart", func() bool {
		return strings.Contains(second.log.String(), "the task failed with it before")
	})
	second.awaitRunning()
	s.send(500)
	s.check()
	require.Empty(t, second.loading())
	require.Contains(t, second.log.String(), "the task starts again from the next nearest base")
	second.close()
}
