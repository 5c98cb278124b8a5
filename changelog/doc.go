// Package changelog mirrors stores to compacted Kafka topics and brings them back.
//
//	store.Seal ──► record.Batch ──► (transaction) ──► <application-id>-<store>-changelog
//	                                                             │ read_committed
//	store.Set  ◄──────────────── Replay ◄────────────────────────┘
//
// A changelog has one partition per task, cleanup.policy=compact. Its records are plain: key and value as the store's
// serdes wrote them, a nil value for a delete, the record's timestamp is the value's. So any Kafka client can read it,
// and the format is Kafka Streams'.
//
// Replay runs on the goroutine that restores the task, before the task is handed to its worker. Obligations, in order:
// fence the previous owner; read the end of the changelog; replay up to it; only then process.
package changelog
