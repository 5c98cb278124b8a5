// Package kafka is the only door to Kafka: it implements the ports [eos.Producer], [worker.Fetcher], [worker.Group],
// [worker.Admin] and [changelog.Reader] over sarama's protocol types.
//
//	            ┌► Fetcher  ─ fetch ────► leaders          one set of connections each, because Kafka serves
//	Client ─────┼► Reader   ─ fetch ────► leaders          one connection's requests in order: a long poll
//	brokers,    ├► Producer ─ produce ──► leaders          must not hold back a commit
//	leaders,    │          └─ txn, offsets ► coordinators
//	coordinators├► Group    ─ join, beat ► coordinator
//	            └► Admin    ─ all else ──► any, leaders
//
// Order of obligations: NewClient, then any of the others, which do no I/O until used; close them, then the Client,
// whose Close also ends what was forgotten. Client and Admin are safe for concurrent use, the others belong to one
// goroutine at a time as their ports say.
//
// Connections are never repaired: one that failed is dropped, and the error (connError) says that its last request may
// have been executed. What that means is decided in one place each: Producer.connLost for transactions, retriable for
// everything that may simply be repeated. An end of the caller's context cuts the connection, because sarama waits for
// an answer under a lock.
//
// sarama's own client, producer and consumer group are not used: they sleep inside, take no context, and cost several
// channel hops per record. Its metrics and its global logger stay untouched.
package kafka
