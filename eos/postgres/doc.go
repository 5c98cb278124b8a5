// Package postgres writes streams to PostgreSQL, for topology.SinkTo: exactly once with prepared transactions
// ([TwoPhase]), or by upserts that may be repeated ([Upsert]).
//
//	TwoPhase   BEGIN ─► COPY or upserts ─► PREPARE TRANSACTION 'tidemark:…' ─► Kafka commit ─► COMMIT PREPARED
//	Upsert     BEGIN ─► upserts ─► COMMIT ─► Kafka commit
//
// Each task has a session of its own, which holds an advisory lock for the task and the sink. The lock is the fence:
// who takes a task over ends the session that has it, and from then on nobody else can prepare anything for the task,
// not even with a request that is already on its way. A pooler between us and the server must therefore pool sessions,
// not transactions.
//
// Prepared transactions hold their row locks and keep the server from vacuuming. They last as long as a Kafka commit,
// or until the task runs again somewhere: [Prepared] lists them for who watches a server.
//
// The driver is pgx. Methods are called by the goroutines of the workers and of restores; a connection serves one at a
// time.
package postgres
