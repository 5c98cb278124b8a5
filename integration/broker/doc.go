// Package broker gives tests a Kafka: an embedded one by default, a real one when TIDEMARK_INTEGRATION=real; and
// looks at it with plain sarama requests, so that what a test verifies does not depend on the code under test.
//
//	test ──► Start ──► kfake in this process            (default: milliseconds)
//	   │           └─► Apache Kafka from Maven jars     (TIDEMARK_INTEGRATION=real: seconds, needs java, mvn and flock)
//	   └──► CreateTopic, Produce, ReadCommitted, EndOffsets, CommittedOffsets
//
// [Start] shares one cluster among all tests of the binary: use [Name] for topics, groups and application ids. A test
// that kills its broker takes one of its own with [StartPrivate]. A real broker ends with the test binary, however
// that ends.
//
// Where a real broker is wanted and cannot start, the test is skipped; with TIDEMARK_REQUIRE_KAFKA=1, as in CI, it
// fails.
//
// Methods may be called from several tests at once, except [Cluster.Kill9] and [Cluster.Restart].
package broker
