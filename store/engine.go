package store

import "iter"

// Engine is the port to what keeps committed state: Badger on disk, or memory. One engine serves all stores of one
// task; a store's keys carry its prefix.
//
// Get, Scan and Empty may run beside one Flush; everything else belongs to the task goroutine.
type Engine interface {
	// Get appends the value of key to dst. The result is the caller's.
	Get(key, dst []byte) (value []byte, found bool, err error)
	// Scan yields entries with lo <= key < hi in byte order, or in reverse. A nil hi means no upper bound. The slices
	// hold until the next step; leaving the loop releases everything.
	Scan(lo, hi []byte, reverse bool) iter.Seq2[Entry, error]
	// Flush writes entries in ascending key order, then the checkpoint, such that a crash at any point leaves a state
	// from which replaying the changelog behind the old checkpoint gives the right result.
	Flush(entries iter.Seq[Entry], checkpoint Checkpoint) error
	// Checkpoint returns the last one flushed; false if there is none.
	Checkpoint() (Checkpoint, bool, error)
	// Empty reports that nothing was ever flushed, so that look-ups need not ask.
	Empty() bool
	// ApproximateCount estimates the number of keys with the prefix.
	ApproximateCount(prefix []byte) (uint64, error)
	// Close releases the engine; it does not flush.
	Close() error
}

// Entry is one key of an engine. A nil Value in Flush deletes the key.
type Entry struct {
	Key   []byte
	Value []byte
}
