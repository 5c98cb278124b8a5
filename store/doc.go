// Package store keeps the state of tasks: typed stores over uncommitted writes, committed state in memory, and one
// database per task.
//
//	processor ──Put/Get──► KeyValue[K, V]                 typed façade: serdes, record cache
//	                           │ key bytes
//	                       active table                   uncommitted (epoch e+1), sealed (e), committed, cached reads
//	                           │ freeze (memory, age, close)
//	                       frozen table                   committed; immutable while a flush writes it
//	                           │ flush goroutine
//	                       Engine                         Badger (badger.go) or memory (mem.go)
//
// Reads fall through from top to bottom, range scans merge the layers. What the changelog has is durable; the engine
// only saves the next start the work of reading it again. Therefore it need not see every epoch: a hot key is encoded
// once per epoch and written to disk once per flush.
//
// # Who calls what
//
// A [Set] is the stores of one task, owned by the task goroutine. The worker drives an epoch in this order:
//
//  1. processors write; [Set.UncommittedBytes] asks for an early commit
//  2. [Set.FlushCaches]: caches emit; the listeners may write to stores further down
//  3. [Set.Seal]: the dirty keys go to the changelog batches, the next epoch begins
//  4. the transaction is sent; the task may process the next epoch meanwhile
//  5. [Set.Commit] or [Set.Rollback]; only then may the batches be reused
//
// Restoring: [Set.Checkpoint] tells what is on disk; then [Set.Replay] and [Set.Replayed] in turn; then processing.
//
// Opening and closing a task: [StateDir.Trusted], [StateDir.Remove] if it is not; [StateDir.MarkOpen], [OpenSet], …,
// [Set.Close], [StateDir.MarkClean]. A [*CorruptError] from OpenSet: Remove, open again, restore.
//
// # Snapshots
//
//	Commit ──► [Set.Snapshot] ──flush──► engine at a version ──► [Snapshot.Full]  ──┐
//	                              └────► change files        ──► [Snapshot.Since] ──┴► [WriteEntries] ──► file
//	file ──► [ReadEntries] ──► [MergeFull] ──► [Install] ──► directory of a task
//	                                      └──► [ChangelogRecords] ──► [Set.Replay], or whoever reads state
//
// A set may begin with a snapshot that is still to be loaded ([Lazy]): until Install has made a database of it, reads
// that find nothing in memory go to the files, which have indexes ([FileIndex]) for that.
//
// Taking a snapshot is what the task waits for: new tables, and no copy. All the rest goes on beside it, on the
// goroutine of whoever reads, and ends when the set closes.
//
// Global stores are a set of their own, which one goroutine fills and flushes; the tasks read the engine through views:
// [Set.View], [Global].
//
// # Invariants
//
// What Commit has not confirmed never reaches the frozen table or the engine. A flush writes the state of exactly one
// checkpoint. A frozen table is never written. Values and byte slices that were read from or put into a store are
// shared and must not be modified.
//
// # Goroutines
//
// One per running flush, at most one per set, and one that loads the snapshot of a [Lazy]; [Set.Close] waits for them.
// Badger has its own, which end in Close.
//
// # Compatibility
//
// The package's API is covered by the compatibility promise; [Engine], [Set] and [StateDir] are for the runtime.
package store
