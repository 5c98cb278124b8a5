// Package worker is the shell around tasks: goroutines, the group's decisions, and the commit protocol.
//
//	Group ──► Manager (rebalance.go) ──restore──► Restorer (restorer.go, takeover.go)
//	              │ Start / Stop                       │ task, positions
//	              ▼                                    ▼
//	Fetcher ──► Worker.Run (loop.go): poll ─► task.Process ─► task.Seal ──┐
//	              ▲                                                       ▼
//	              └──── outcome ──── committer (commit.go): Begin ─► Send ∥ SendOffsets ─► Commit ──► Producer
//
// Around the commit external.go prepares what goes to systems outside of Kafka, and ends it as the commit decides.
//
// Beside them Global (global.go) keeps the global stores: a task that reads whole topics, without a group and without
// transactions. It is opened before the group runs, and closed when the workers have ended.
//
// Goroutines: one per worker (loop.go), one per worker for commits, one per task while it is restored or closed. A
// task belongs to one of them at a time and is handed over by message; the only lock is the Manager's, over the list
// of tasks.
//
// Obligations, in order: initialise the producers, Run the workers, run the group with the Manager as its handler; to
// end: Manager.Close while workers and membership are alive, then the group, then the workers.
//
// The package is exported for the runtime only and is outside of the compatibility promise.
package worker
