// Package sim runs an application of several instances in one goroutine, under a seeded choice of what happens next:
// the real tasks and stores, with topics in memory in place of a broker.
//
//	Pipe ─► log (topic, partition) ─► task of some instance ─► seal ─► one transaction per instance
//	              ▲                                                      │ commit: outputs, changelogs, offsets at once
//	              └──────────────────────────────────────────────────────┘ abort, crash: nothing of it
//
// Each Step draws what happens: a task processes some records, an instance seals and commits or aborts, its process is
// killed (before a transaction, within it, or behind the commit, of which it then does not learn), a task moves, state
// is flushed to disk, the wall clock goes on. A task that is opened again is restored as in production: from the state
// directory of its instance and the tail of the changelog, or from the whole changelog, compacted or not.
//
// Only what is committed is ever in a log: readers see what read_committed would show them.
package sim
