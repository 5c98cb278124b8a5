// Package task is the steppable core: one sub-topology of the plan on one partition of its inputs.
//
//	Add(batch) ─► queue per partition ─► Process: lowest timestamp first ─► source node (decode) ─► processors ─► sinks
//	                                                                            │                       │
//	                                                                            ▼                       ▼
//	                                                                         stores                 Output batches
//	Seal ─► *Epoch{changelog and output batches, input offsets} ─► (the worker's transaction) ─► Committed │ Rollback
//
// A task has no goroutine, clock, network or randomness of its own: time comes in as a value, input by Add, and what it
// wants written comes out of Seal. So the runtime, the test driver and a simulation run the same code. All methods
// belong to one goroutine at a time: the restoring one first, then the worker's.
//
// Obligations, in order: Open; restore through Stores (or not); Init with the input positions; then any number of
// Add/Process/Punctuate and Seal; each Seal is followed by exactly one Committed or Rollback, and at most one epoch is
// sealed at a time; Close.
//
// The package is exported for the runtime only and is outside of the compatibility promise.
package task
