package tidemark

import (
	"context"

	"github.com/tidemarkio/tidemark/processor/worker"
)

// Status is what an App shows of itself.
type Status struct {
	State     State
	Running   int // tasks that process
	Restoring int // tasks on their way
	Workers   []WorkerStatus
	// GlobalStores are how far the global stores are, in the order of their declaration.
	GlobalStores []GlobalStoreStatus
	// Checkpoints are those of the whole application.
	Checkpoints CheckpointStatus
}

// Parts of a Status.
type (
	// WorkerStatus is a worker with its tasks and counters.
	WorkerStatus = worker.Snapshot
	// TaskStatus is a task with its inputs and their lag.
	TaskStatus = worker.TaskSnapshot
	// GlobalStoreStatus is a global store with the partitions of its topic and their lag.
	GlobalStoreStatus = worker.GlobalSnapshot
)

// Status asks every worker for its state. It waits for a busy worker to finish its step.
func (a *App) Status(ctx context.Context) (Status, error) {
	a.mu.Lock()
	s := Status{State: a.mu.state}
	in := a.mu.run
	a.mu.Unlock()
	s.Checkpoints = a.checkpointStatus(in)
	if in == nil {
		return s, nil
	}
	s.Running, s.Restoring = in.manager.TaskStates()
	if in.global != nil {
		s.GlobalStores = in.global.Snapshot()
	}
	for _, w := range in.workers {
		ws, err := w.Snapshot(ctx)
		if err != nil {
			return s, err
		}
		s.Workers = append(s.Workers, ws)
	}
	return s, nil
}

func (a *App) setIncarnation(in *incarnation) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.mu.run = in
}
