// Package eos holds what exactly-once rests on: the port to a transactional producer, the classes of its errors, the
// text that travels with committed offsets, the port to systems outside of Kafka that take part in commits, and the
// guarantees a user can choose.
//
//	epoch ─► Begin ─► Send ∥ SendOffsets ─► Commit ──ok──► the epoch is durable
//	                       │                  │
//	                     error             unknown ─► Init ─► committed offsets tell
//	                       ▼
//	                  Init (aborts) ─► drop the epoch, rewind
//
// The protocol itself is processor/worker/commit.go; this package has no goroutine and does no I/O.
package eos
