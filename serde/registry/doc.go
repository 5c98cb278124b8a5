// Package registry talks to a schema registry for the serdes of packages avro, protobuf and jsonschema: Confluent's
// REST interface and wire format (docs/format/registry.md), which Karapace, Apicurio (its ccompat interface), Redpanda
// and others speak too.
//
//	serde.Append ──► Writer ──► subject, schema ──► POST /subjects/…   once: the id is kept
//	serde.Decode ──► ByID   ──► id              ──► GET /schemas/ids/… once per id: what is built from it is kept
//
// Both are called on task goroutines, so the first record that is written, and the first one that is read of each id,
// waits for the registry: for Config.Timeout at most, retries included. Everything after it is a map read without a
// lock. Close of an application waits for such a call, too. Register of a serde asks ahead, before the application
// runs.
//
// # What a failure does
//
// A registry that does not answer, or refuses, is no record's fault. The error is a [serde.UnavailableError]: no
// handler is asked, nothing is skipped, and the application starts again from its last commit, or stops if somebody has
// to change something first (credentials, a schema that is refused). An id that the registry answers not to know is a
// bad record: the handler for decoding decides. It is asked for again after five seconds.
//
// # Subjects
//
// A serde has one subject, chosen by a [Naming] when it is made, and uses it wherever it is used: on the topic, and on
// the repartition and changelog topics that keep the same type. Kafka Streams instead registers a subject for each
// internal topic, such as app-store-changelog-value. Here internal topics register nothing of their own, and need no
// clean-up in the registry; their records carry the ids of the serde's subject.
//
// As with Confluent's serdes a key contains the id of its schema: a new schema gives equal keys other bytes, and so
// other partitions and other entries in stores. Keep the schemas of keys as they are, or use the built-in serdes for
// keys.
package registry
