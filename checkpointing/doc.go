// Package checkpointing makes consistent snapshots of a whole application beside its processing, keeps them, and finds
// them again.
//
//	coordinator ──trigger──► control topic ──► tasks ◄──barriers── tasks upstream          coordinator.go, barrier.go
//	                                             │ a committed epoch
//	                                            Cut                                         cut.go
//	                                             │ files, in the background
//	                                          Exporter ──► storage.Storage                  exporter.go
//	                                             │ ack               ▲
//	coordinator ◄────────── control topic ◄──────┘                   │
//	     ├── all acks: manifest, completed ──────────────────────────┤                      publish.go, manifest.go
//	     └── what nobody needs is deleted ───────────────────────────┤                      retention.go
//	                                                                 │
//	restore, offline readers, command line ◄── Loader, Reader ───────┘                      load.go, reader.go
//
// A checkpoint is a folder of the storage with a manifest, which is written last: without it there is no checkpoint. A
// task's state is one full file and the increments behind it, which may lie in the folders of earlier checkpoints. A
// savepoint has all of its files in its own folder, and is never deleted by this library.
//
// Nothing here decides what is exactly once: that do the transactions. What fails here costs a checkpoint.
//
// # Who calls what
//
// The worker takes a Cut after a commit and gives it to [Exporter.Export], which returns at once. The coordinator is a
// state machine whose actions its owner carries out: [Publish] with [PublishManifest], [Clean] with [Cleaner.Clean]; it
// begins with what [Stored] says, from [ScanStored].
//
// # Goroutines
//
// One for each exported cut, which ends with the cut's checkpoint or with [Exporter.Close].
package checkpointing
