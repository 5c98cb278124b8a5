// Package storage is the port to where checkpoints and savepoints are kept, and the wrappers around it.
//
//	exporter, coordinator ──► RateLimit ──► Encrypt ──► Storage ──► a directory   (package dir)
//	                                                        │──► an S3 bucket     (package s3)
//	restore ◄── LimitStalls ◄───────────────────────────────┤──► memory, for tests (package mem)
//	retention, CLI  ◄───────────────────────────────────────┘
//
// A [Storage] keeps objects under names such as word-count/chk-17/0_3-52-full.snap. An object is there whole or not at
// all, and is never changed. Package storagetest has the acceptance suite, which a backend of yours should pass too,
// and faults to test with.
//
// # Errors
//
// The type is the action. [ErrNotFound] and [ErrExists] are answers. Everything else is an [*Error] that says where it
// happened and whether the same call may succeed later: [Transient].
//
// # Goroutines
//
// A Storage is safe for concurrent use; a [Writer] and a reader belong to one goroutine. Nothing here starts
// goroutines that outlive a call, except that a Writer of package s3 sends parts beside Write, until Commit or Abort.
package storage
