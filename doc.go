// Package tidemark runs stateful stream processing on Apache Kafka inside a Go service: the model of Kafka Streams,
// exactly once, with state in local Badger databases that are mirrored to compacted changelog topics.
//
//	                 ┌──────────────────────────── App ────────────────────────────┐
//	input topics ──► │ fetcher ─► worker: task ─► processors ─► stores, outputs    │
//	                 │                │                                            │
//	                 │            committer: one transaction                       │ ──► output topics
//	                 │            changelogs + outputs + input offsets             │ ──► changelog topics
//	                 └──────────────────────────────────────────────────────────────┘
//
// A program describes a topology, makes an App of it, and runs it:
//
//	b := topology.NewBuilder()
//	lines := topology.Stream(b, "lines", serde.String, serde.String)
//	words := topology.FlatMapValues(lines, strings.Fields, serde.String)
//	counts := topology.Count(
//		topology.GroupBy(words, func(_, w string) string { return w }, serde.String, topology.Named("by-word")),
//		topology.As("counts"))
//	counts.ToStream().To("word-counts")
//
//	app, err := tidemark.New(b, tidemark.Config{ApplicationID: "word-count", Brokers: []string{"localhost:9092"}})
//	if err != nil {
//		log.Fatal(err) // every mistake in topology and configuration, all at once
//	}
//	err = app.Run(ctx) // returns when ctx ends, or when nothing can be retried any more
//
// Obligations, in order: New (no I/O), Run once, and end its context or Close. Start more instances with the same
// ApplicationID to share the work.
package tidemark
