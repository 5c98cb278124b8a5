// Package processor is the Processor API and the Plan: what user code sees of the runtime, and what the runtime sees of
// a topology.
//
//	topology ──Build──► Plan ──Node.New(TaskContext)──► nodes of one task, joined by Attach
//	                                                        │
//	 task: ReceiveRaw ─► source ─► Receive ─► node ─► … ─► sink ─► Output
//	                                 │  Context[K, V]
//	                                 ▼
//	                     Processor[KIn, VIn, KOut, VOut]   stores, punctuators, Forward
//
// User code implements [Processor], and works with a [Context]; where the key stays, [FixedKeyProcessor] with a
// [FixedKeyContext]. Package topology emits a [Plan]; package processor/task makes a task's nodes from it, in this
// order: New of every node; Attach of every edge, parents and children in order of declaration; restore of the stores;
// Init; records and punctuators; Close.
//
// A task calls all of it from one goroutine at a time: processors, contexts, stores and outputs need no locks and must
// not be used from elsewhere. A [Plan] is immutable and shared.
//
// Errors. Whatever user code returns or panics with becomes a [UserError], and the handler of the application decides
// about the record; an error from below a node passes through it as it is. Package processor/worker and
// processor/assign are machinery and not covered by the promise of compatibility.
package processor
