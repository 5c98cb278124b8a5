package worker

import (
	"fmt"
	"time"

	"github.com/tidemarkio/tidemark/record"
)

// StandbyListener is told how standbys and warm-ups go (Kafka Streams' StandbyUpdateListener, KIP-988). Nil functions
// are not called. Calls come from several goroutines, those of one store in order; they hold up what they tell of.
type StandbyListener struct {
	// OnUpdateStart tells that a store begins to follow its changelog.
	OnUpdateStart func(StandbyUpdateStart)
	// OnBatchLoaded tells of records that were read into a store.
	OnBatchLoaded func(StandbyBatchLoaded)
	// OnUpdateSuspended tells that a store does not follow any more.
	OnUpdateSuspended func(StandbyUpdateSuspended)
}

// StandbyUpdateStart says from where a store of a standby follows its changelog.
type StandbyUpdateStart struct {
	Task           record.TaskID
	Store          string
	TopicPartition record.TopicPartition
	WarmUp         bool  // else a standby
	From           int64 // offset
	// Base is what is here already, as in RestoreStart: "local", "snapshot 17" or "none".
	Base string
}

// String is for logs.
func (e StandbyUpdateStart) String() string {
	return fmt.Sprintf("task %s store %s follows %s from %d, base %s", e.Task, e.Store, e.TopicPartition, e.From, e.Base)
}

// StandbyBatchLoaded says what one fetch brought.
type StandbyBatchLoaded struct {
	Task           record.TaskID
	Store          string
	TopicPartition record.TopicPartition
	Records        int
	Position, End  int64 // offsets: behind the batch, and of the changelog as far as it is known
}

// String is for logs.
func (e StandbyBatchLoaded) String() string {
	return fmt.Sprintf("task %s store %s has %d records more of %s, at %d of %d", e.Task, e.Store, e.Records,
		e.TopicPartition, e.Position, e.End)
}

// StandbyUpdateSuspended says that a store does not follow any more, and how far it is.
type StandbyUpdateSuspended struct {
	Task           record.TaskID
	Store          string
	TopicPartition record.TopicPartition
	Position, End  int64 // offsets
	Reason         SuspendReason
}

// String is for logs.
func (e StandbyUpdateSuspended) String() string {
	return fmt.Sprintf("task %s store %s %s at %d of %d of %s", e.Task, e.Store, e.Reason, e.Position, e.End,
		e.TopicPartition)
}

// SuspendReason is why a standby does not follow any more.
type SuspendReason int

// Reasons.
const (
	// StandbyPromoted: the task runs here from now on.
	StandbyPromoted SuspendReason = iota + 1
	// StandbyMigrated: it is not wanted here any more, or the instance closes. The state stays on disk.
	StandbyMigrated
	// StandbyFailed: it begins again from its nearest base; the log says why.
	StandbyFailed
)

// String returns the reason in one word.
func (r SuspendReason) String() string {
	switch r {
	case StandbyPromoted:
		return "promoted"
	case StandbyMigrated:
		return "migrated"
	case StandbyFailed:
		return "failed"
	}
	return fmt.Sprintf("SuspendReason(%d)", int(r))
}

// StandbyState is what a standby is doing.
type StandbyState int

// States of a standby, in the order in which it passes through them.
const (
	// StandbyWaiting: for the task to be closed here, for one of the slots of RestoreParallel, or to try again.
	StandbyWaiting StandbyState = iota
	// StandbyOpening: it looks for a base and opens it, which may be to load a snapshot.
	StandbyOpening
	// StandbyRestoring: it reads its changelogs to where they ended when it began.
	StandbyRestoring
	// StandbyFollowing: it reads what comes.
	StandbyFollowing
)

// String returns the state in one word.
func (s StandbyState) String() string {
	switch s {
	case StandbyWaiting:
		return "waiting"
	case StandbyOpening:
		return "opening"
	case StandbyRestoring:
		return "restoring"
	case StandbyFollowing:
		return "following"
	}
	return fmt.Sprintf("StandbyState(%d)", int(s))
}

// StandbySnapshot is what a standby or warm-up shows of itself.
type StandbySnapshot struct {
	ID record.TaskID
	// WarmUp says that the task is to run here once the state is near enough (max.warmup.replicas); else it is a standby
	// (num.standby.replicas).
	WarmUp bool
	State  StandbyState
	Stores []StandbyStore
	// Lag is the sum of the stores' lags, in offsets of their changelogs.
	Lag int64
	// CaughtUp is when it was at the end of all of its changelogs last; zero: never.
	CaughtUp time.Time
	// Remaining is how long it will take to catch up for the first time, at the pace so far; 0: it has, or nobody can
	// tell.
	Remaining time.Duration
	// Failure is why it began again last, "" if it never did.
	Failure string
}

// StandbyStore is how far a store of a standby is.
type StandbyStore struct {
	Store          string
	TopicPartition record.TopicPartition
	Position, End  int64 // offsets; the end is what is committed, as far as it is known
}

// Lag is how many offsets of the changelog are still to be read.
func (s StandbyStore) Lag() int64 { return max(0, s.End-s.Position) }
