// Package tidemarktest runs a topology in memory, for tests: no broker, no disk, no waiting.
//
//	Input.Pipe ─► in-memory topic ─► the real task: queues ─► processors ─► stores ─► outputs ─┐
//	                    ▲                                                                      │
//	                    └── internal topics, and user topics that the topology reads ◄─────────┤
//	Output.Read ◄──────────────────────────────────────────────────── in-memory topic ◄────────┘
//	                                                    Commit: stores ─► changelogs ─► Crash restores from them
//
// It is the counterpart of Kafka Streams' TopologyTestDriver, and more than a simulation: tasks, stores, epochs, record
// caches and error handlers are those of production, only what lies around them is replaced. There is one task per
// sub-topology ([SingleTask] makes it one in all), and every topic has one partition.
//
// # Order
//
// Piping a record returns when it is processed, and with it everything that it caused: what was written to an internal
// topic, or to any topic that the topology reads, is queued and processed after the record at hand, first in first out
// per topic; among several queues the lowest timestamp goes first. Nothing runs beside the test.
//
// # Time
//
// Stream time follows the records. The wall clock stands still, at the Unix epoch at first, until
// [Driver.AdvanceWallClock] moves it.
//
// # Commits
//
// Written records can be read at once, committed or not. Commits happen when a processor asks for one, or the test by
// [Driver.Commit]; they show where record caches are on ([WithCaching]), and after [Driver.Crash].
//
// # Sinks outside of Kafka
//
// A [Sink] in memory takes the place of a database in topology.SinkTo. Rows are prepared and committed by a commit, and
// a crash in any step of it ([Sink.FailWith]) leaves each row there once.
//
// # Errors
//
// An error or panic of user code is handled as in production: the handler decides ([WithHandlers]), and without one the
// driver stops. Pipe and the methods of [Driver] then fail the test; those whose names begin with Try return the error,
// for tests that expect it. A stopped driver only takes Crash and Close.
//
// # Goroutines
//
// A driver and its topics belong to one goroutine, and drivers share nothing: tests may run in parallel.
package tidemarktest
