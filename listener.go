package tidemark

import "github.com/tidemarkio/tidemark/processor/worker"

// RebalanceListener is told what the group decides about this instance (Kafka's ConsumerRebalanceListener, by task).
// Nil functions are not called.
type RebalanceListener = worker.RebalanceListener

// Events of a RebalanceListener.
type (
	// TasksRevoked are tasks that are about to leave this instance.
	TasksRevoked = worker.TasksRevoked
	// TasksAssigned is what it has after a rebalance.
	TasksAssigned = worker.TasksAssigned
	// TasksLost are the tasks that it had when its membership ended.
	TasksLost = worker.TasksLost
)

// RestoreListener is told how restoring goes (Kafka Streams' StateRestoreListener). Nil functions are not called.
type RestoreListener = worker.RestoreListener

// Events of a RestoreListener.
type (
	// RestoreStart says that a store begins to be restored.
	RestoreStart = worker.RestoreStart
	// RestoreProgress says how far it is, how fast, and how long it will still take.
	RestoreProgress = worker.RestoreProgress
	// RestoreEnd says that a store is restored.
	RestoreEnd = worker.RestoreEnd
	// RestoreSuspended says how far a store is that is not restored to its end, and why.
	RestoreSuspended = worker.RestoreSuspended
)

// StandbyListener is told how standbys and warm-ups go (Kafka Streams' StandbyUpdateListener). Nil functions are not
// called.
type StandbyListener = worker.StandbyListener

// Events of a StandbyListener.
type (
	// StandbyUpdateStart says that a store begins to follow its changelog.
	StandbyUpdateStart = worker.StandbyUpdateStart
	// StandbyBatchLoaded says what one fetch brought.
	StandbyBatchLoaded = worker.StandbyBatchLoaded
	// StandbyUpdateSuspended says that a store does not follow any more, and why.
	StandbyUpdateSuspended = worker.StandbyUpdateSuspended
	// SuspendReason is why a standby does not follow any more.
	SuspendReason = worker.SuspendReason
)

// Reasons of StandbyUpdateSuspended.
const (
	// StandbyPromoted: the task runs here from now on.
	StandbyPromoted = worker.StandbyPromoted
	// StandbyMigrated: it is not wanted here any more, or the instance closes. The state stays on disk.
	StandbyMigrated = worker.StandbyMigrated
	// StandbyFailed: it begins again from its nearest base; the log says why.
	StandbyFailed = worker.StandbyFailed
)
