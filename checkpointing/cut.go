package checkpointing

import (
	"context"
	"iter"

	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/store"
)

// Snapshot is the state of a task as of one committed epoch; *store.Snapshot implements it.
type Snapshot interface {
	// Checkpoint describes exactly this state.
	Checkpoint() store.Checkpoint
	// Version is the engine's; it grows.
	Version() uint64
	// Full yields all entries in key order.
	Full(ctx context.Context) iter.Seq2[store.Entry, error]
	// Since yields what has changed since a version, in key order; false if that is not known.
	Since(base uint64) (iter.Seq2[store.Entry, error], bool)
	// Release lets the version go. Every snapshot is released once.
	Release()
}

// Cut is a task's part of a checkpoint: its state and its place in the inputs, both as of the same committed epoch, and
// what was in flight to it. It is complete: the barrier of every channel has been seen. Whoever takes it releases the
// Snapshot.
type Cut struct {
	Barrier Barrier
	Task    record.TaskID
	Epoch   record.Epoch
	// WallTimeMs is when the epoch was committed, by the task's clock.
	WallTimeMs int64
	// Snapshot is nil for a task without stores.
	Snapshot Snapshot
	Inputs   []InputPosition
	// InFlight are the records of repartition topics that were sent before their task's cut and are processed behind this
	// one, as ranges of offsets: empty after an aligned cut outside of cycles. Between the records of a range lie those
	// of other tasks, which do not belong to it: take only those of Range.From, and no barriers.
	InFlight []Range
	// Unaligned says that the cut did not wait for all barriers.
	Unaligned bool
	Timings   Timings
}

// InputPosition is where a task's input continues behind a cut.
type InputPosition struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	// Offset of the first record that is not processed.
	Offset int64 `json:"offset"`
	// StreamTimeMs is the highest timestamp processed, -1 before the first.
	StreamTimeMs int64 `json:"streamTimeMs"`
	// Ahead are the tasks whose records are processed beyond Offset, and up to where.
	Ahead map[record.TaskID]int64 `json:"ahead,omitempty"`
}

// Range is a range of offsets [Start, End) in a repartition topic, of which only the records of one task count.
type Range struct {
	Topic     string        `json:"topic"`
	Partition int32         `json:"partition"`
	From      record.TaskID `json:"from"`
	Start     int64         `json:"start"`
	End       int64         `json:"end"`
}

// Timings are how long a task's part of a checkpoint took, in milliseconds, under the names of Flink's REST interface.
type Timings struct {
	// StartDelayMs is from the trigger to the first barrier.
	StartDelayMs int64 `json:"startDelayMs"`
	// AlignmentMs is from the first barrier to the cut.
	AlignmentMs int64 `json:"alignmentMs"`
	// SyncMs is how long the task stood still to freeze its state.
	SyncMs int64 `json:"syncMs"`
	// AsyncMs is from the cut to the last stored byte.
	AsyncMs int64 `json:"asyncMs"`
}

// Decline says that a task gives no snapshot for a checkpoint, which can therefore not complete.
type Decline struct {
	ID     int64
	Task   record.TaskID
	Reason string
	// NotRunning: the task was restored or moved meanwhile, which is no failure of the checkpoint's.
	NotRunning bool
}
