// Package metamorphic compares runs of random topologies that must come to the same: the undisturbed one, in which
// nothing is committed before the end, and one with commits, crashes, caches, partitions and rebalances at random
// moments. Nothing is expected of a topology but that, so the topologies and their inputs can be made up.
//
//	seed ─► generate: steps and events ─┬─► test driver, undisturbed ──► committed outputs ─┐
//	                                    ├─► test driver, commits, crashes, caches ──────────┼─► compare
//	                                    ├─► internal/sim: partitions, instances ────────────┤
//	                                    └─► processes on a broker, kill -9 ─────────────────┘
//
//	go test ./integration/metamorphic -runs N -seed S
//
// With TIDEMARK_INTEGRATION=real the processes run on a real Kafka, and also lose their disks. A difference is printed
// as a line of the conformance corpus (integration/conformance/FORMAT.md describes the steps),
// with the events and operators left out that the difference does not need, except that of processes.
package metamorphic
