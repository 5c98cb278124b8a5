// Package cluster is the Kafka that the examples run on: a real one, or a broker inside the process. It is fed and
// read with another client than Tidemark's, so that what an example shows is what any reader would see.
//
//	example ──Connect──► Cluster ──Brokers──► tidemark.Config
//	                        └─────Client───► records in, results out
//
// Its methods may be called from any goroutine, Close and Finish once the others are done.
package cluster
