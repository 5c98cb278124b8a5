// Package integration tests Tidemark as its users run it: whole applications, real processes, a broker that dies, and
// the result read back by an independent read_committed consumer.
//
//	test ──► broker.Start ──► kfake, or a real Kafka with TIDEMARK_INTEGRATION=real
//	  │
//	  ├──► tidemark.App in this process           (rebalances, bad input)
//	  └──► this test binary again, as an instance (kill -9, SIGSTOP, a storage that fails)
//
// Every scenario ends in the same verification, [checkCounts]: with caches off, each input record gives exactly one
// output, and the outputs of a key are 1, 2, 3 and so on. A record lost, doubled or reordered shows.
package integration
