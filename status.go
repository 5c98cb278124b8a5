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
	// Standbys are the tasks of other instances whose state is kept up to date here, by task: standbys and warm-ups.
	Standbys []StandbyStatus
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
	// StandbyStatus is a standby or warm-up with its stores, their lag, and how long catching up will take.
	StandbyStatus = worker.StandbySnapshot
	// StandbyStoreStatus is how far a store of a standby is.
	StandbyStoreStatus = worker.StandbyStore
	// StandbyState is what a standby is doing.
	StandbyState = worker.StandbyState
	// GlobalStoreStatus is a global store with the partitions of its topic and their lag.
	GlobalStoreStatus = worker.GlobalSnapshot
)

// States of a standby, in the order in which it passes through them.
const (
	// StandbyWaiting: for the task to be closed here, for one of the slots of RestoreParallel, or to try again.
	StandbyWaiting = worker.StandbyWaiting
	// StandbyOpening: it looks for a base and opens it, which may be to load a snapshot.
	StandbyOpening = worker.StandbyOpening
	// StandbyRestoring: it reads its changelogs to where they ended when it began.
	StandbyRestoring = worker.StandbyRestoring
	// StandbyFollowing: it reads what comes.
	StandbyFollowing = worker.StandbyFollowing
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
	s.Standbys = in.manager.Standbys()
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
