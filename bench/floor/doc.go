// Command floor is the physical limit that the library is measured against: count by key, exactly once, as bare as
// sarama's protocol types allow. No groups, no disk, no recovery, no errors but fatal ones; one broker. Do not use it
// for anything else.
//
//	fetch goroutine ──responses──► count goroutine ──epoch──► commit goroutine
//	 (decodes)                      (Go map per partition)     (AddPartitionsToTxn, Produce, TxnOffsetCommit, EndTxn)
//
// One such line of three goroutines per --threads, each with its own partitions, transactional id and connections. The
// count goroutine starts the next epoch while the last one is being committed.
//
// It writes what Tidemark and Kafka Streams write: for each key that an epoch changed (--cache on), or for each record
// (--cache off), its count to the output topic and to a changelog topic, both in the epoch's transaction. Options and
// the result line are those of bench/streams.
package main
