package tidemark

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/tidemarkio/tidemark/processor/worker"
	"github.com/tidemarkio/tidemark/record"
)

// Status is what an App shows of itself.
type Status struct {
	State     State
	Running   int // tasks that process
	Restoring int // tasks on their way
	Workers   []WorkerStatus
	// Restores are the tasks on their way: what each is doing, how far it is, and how long that will take.
	Restores []RestoreStatus
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
	// BusyStatus is a worker that does not come back from a task.
	BusyStatus = worker.Busy
	// InputStatus is the place of a task in an input, its lag, and what is buffered of it.
	InputStatus = worker.InputSnapshot
	// TaskStatus is a task with its inputs and their lag.
	TaskStatus = worker.TaskSnapshot
	// RestoreStatus is a task that is on its way to a worker.
	RestoreStatus = worker.RestoreSnapshot
	// RestoreStoreStatus is how far a store of such a task is.
	RestoreStoreStatus = worker.RestoringStore
	// RestoreState is what such a task is doing.
	RestoreState = worker.RestoreState
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

// States of a task on its way, in the order in which it passes through them.
const (
	// RestoreWaiting: for the task to be closed here, or for one of the slots of RestoreParallel.
	RestoreWaiting = worker.RestoreWaiting
	// RestoreTakingOver: for what the owner before has committed to be decided.
	RestoreTakingOver = worker.RestoreTakingOver
	// RestoreOpening: it looks for a base and opens it, which may be to load a snapshot.
	RestoreOpening = worker.RestoreOpening
	// RestoreReplaying: it reads its changelogs.
	RestoreReplaying = worker.RestoreReplaying
	// RestoreStarting: it initialises sinks and processors.
	RestoreStarting = worker.RestoreStarting
)

// Status shows the App and asks every worker for its state. A worker in a slow processor does not answer: after a
// second it shows what was known before it went into it, and for how long it has been there (WorkerStatus.Busy). The
// ends of inputs, and with them their lag, are those that the brokers tell, at most a second ago; if these do not
// answer within one, those that came with the last records.
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
	s.Restores, s.Standbys = in.manager.Restores(), in.manager.Standbys()
	if in.global != nil {
		s.GlobalStores = in.global.Snapshot()
	}
	var err error
	s.Workers, err = in.workerStatus(ctx)
	return s, err
}

// workerPatience is how long Status waits for a worker that is busy.
const workerPatience = time.Second

// workerStatus asks all workers at once.
func (in *incarnation) workerStatus(ctx context.Context) ([]WorkerStatus, error) {
	workers := in.threads.workers()
	all, errs := make([]WorkerStatus, len(workers)), make([]error, len(workers))
	var wait sync.WaitGroup
	for i, w := range workers {
		wait.Go(func() { all[i], errs[i] = w.Look(ctx, workerPatience) })
	}
	wait.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	ends := in.ends.of(ctx, in, all)
	for i := range all {
		all[i].Ends(ends)
	}
	return all, nil
}

// Ages of what is known of the ends of inputs.
const (
	endsAgeMax  = time.Second
	endsTimeout = time.Second
)

// inputEnds remembers the ends of inputs for Status.
type inputEnds struct {
	mu    sync.Mutex // held by who asks
	asked time.Time
	known map[record.TopicPartition]int64
}

// of returns the ends of the workers' inputs, as far as they are known.
func (e *inputEnds) of(ctx context.Context, in *incarnation, workers []WorkerStatus) map[record.TopicPartition]int64 {
	var tps []record.TopicPartition
	for _, w := range workers {
		for _, t := range w.Tasks {
			for _, i := range t.Inputs {
				tps = append(tps, i.TopicPartition)
			}
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	missing := slices.ContainsFunc(tps, func(tp record.TopicPartition) bool { _, ok := e.known[tp]; return !ok })
	if len(tps) == 0 || !missing && in.app.clock.Since(e.asked) < endsAgeMax {
		return e.known
	}
	ctx, cancel := context.WithTimeout(ctx, endsTimeout)
	defer cancel()
	e.asked = in.app.clock.Now()
	known, err := in.admin.EndOffsets(ctx, tps, true)
	if err != nil {
		in.app.cfg.Logger.Debug("the ends of inputs are not known: their lag is that of the last fetch",
			slog.Any("error", err))
		return e.known
	}
	e.known = known
	return known
}

func (a *App) setIncarnation(in *incarnation) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.mu.run = in
}
