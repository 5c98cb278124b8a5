package tidemark

import "github.com/tidemarkio/tidemark/processor/worker"

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
)
