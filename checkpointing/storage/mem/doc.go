// Package mem keeps objects in memory: for tests, and for looking at what a checkpoint contains.
//
//	Create ──► Writer ──Commit──► map of names ──► Open, List
//
// Nothing survives the process, so it is no place for the checkpoints of a service. A Storage is safe for concurrent
// use and starts no goroutine.
package mem
