package tidemark

import (
	"time"

	"github.com/tidemarkio/tidemark/checkpointing"
)

// CheckpointListener is told how checkpoints of the whole application go, on every instance. Nil functions are not
// called.
type CheckpointListener struct {
	OnTriggered func(checkpointing.Trigger)
	OnCompleted func(checkpointing.Completed)
	OnAborted   func(checkpointing.Aborted)
}

// CheckpointStatus is what is known of checkpoints, of the whole application, from the control topic. It has what
// Flink's REST interface shows (jobs/:jobid/checkpoints).
type CheckpointStatus struct {
	// Enabled: there is a storage. The rest is empty if not.
	Enabled bool
	// Coordinator: this instance coordinates.
	Coordinator bool
	// Config is as it is in force, with what was changed at run time.
	Config checkpointing.Config
	// Completed, Failed, Skipped, Savepoints and FailedSavepoints were counted since this instance began to run. Skipped
	// are checkpoints that were given up because tasks were being restored or moved, or because a newer one was quicker.
	Completed, Failed, Skipped, Savepoints, FailedSavepoints int64
	// InProgress are checkpoints and savepoints that are being made.
	InProgress []CheckpointProgress
	// LastCompleted, LastSavepoint and LastFailed are those of the history, nil if there is none. In them is what each
	// task took.
	LastCompleted, LastSavepoint *checkpointing.Completed
	LastFailed                   *checkpointing.Aborted
	// LastRestored is the snapshot that a task of this instance was restored from last; nil if none was.
	LastRestored *RestoredSnapshot
	// History has the last ones, oldest first.
	History        []*checkpointing.Completed
	HistoryAborted []*checkpointing.Aborted
	// Retained are the ids of the checkpoints that are kept.
	Retained []int64
}

// CheckpointProgress is a checkpoint that is being made.
type CheckpointProgress struct {
	Trigger checkpointing.Trigger
	// Acked of Tasks tasks have acknowledged it.
	Acked, Tasks int
}

// RestoredSnapshot is what a task was restored from.
type RestoredSnapshot struct {
	Task string
	// Base as RestoreEnd names it, as in "snapshot 17".
	Base       string
	RestoredMs int64
	// RecordsRead is how many records of a changelog followed the snapshot, in Took.
	RecordsRead int64
	Took        time.Duration
}

// checkpointCounts count since the instance began to run; they are the App's, to outlive an incarnation.
type checkpointCounts struct {
	completed, failed, skipped, savepoints, failedSavepoints int64
	restored                                                 *RestoredSnapshot
}

// counting calls do with the counts.
func (a *App) counting(do func(c *checkpointCounts)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	do(&a.mu.checkpoints)
}

func (c *checkpointCounts) completion(done *checkpointing.Completed) {
	if done.Savepoint {
		c.savepoints++
	} else {
		c.completed++
	}
}

func (c *checkpointCounts) abortion(a *checkpointing.Aborted) {
	switch {
	case a.Savepoint:
		c.failedSavepoints++
	case a.Counted:
		c.failed++
	default:
		c.skipped++
	}
}

// checkpointStatus collects the status. in is nil while none runs.
func (a *App) checkpointStatus(in *incarnation) CheckpointStatus {
	if !a.cfg.Checkpointing.Enabled() {
		return CheckpointStatus{}
	}
	s := CheckpointStatus{Enabled: true, Config: a.cfg.Checkpointing}
	a.mu.Lock()
	counts := a.mu.checkpoints
	a.mu.Unlock()
	s.Completed, s.Failed, s.Skipped, s.LastRestored = counts.completed, counts.failed, counts.skipped, counts.restored
	s.Savepoints, s.FailedSavepoints = counts.savepoints, counts.failedSavepoints
	if in == nil || in.checkpoints == nil {
		return s
	}
	m := in.checkpoints
	s.Coordinator = m.ownsFirstTask()
	m.mu.Lock()
	defer m.mu.Unlock()
	v := m.mu.view
	s.Config = v.Overrides().Apply(s.Config)
	for _, t := range v.InProgress() {
		s.InProgress = append(s.InProgress, CheckpointProgress{Trigger: *t, Acked: v.AckCount(t.ID), Tasks: t.TaskCount()})
	}
	s.History, s.HistoryAborted = v.Completed(), v.Aborted()
	for _, c := range s.History {
		if c.Savepoint {
			s.LastSavepoint = c
		} else {
			s.LastCompleted, s.Retained = c, c.Retained
		}
	}
	for _, aborted := range s.HistoryAborted {
		if aborted.Counted || aborted.Savepoint {
			s.LastFailed = aborted
		}
	}
	return s
}
