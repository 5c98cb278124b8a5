// Package avro is a serde for Apache Avro with a schema registry, byte for byte that of Confluent's
// KafkaAvroSerializer.
//
//	value T ──Append──► header │ Avro binary     under the id of the serde's schema
//	value T ◄─Decode─── header │ Avro binary     of any schema that resolves to the serde's: fields may have been added
//	                      id ──► writer's schema (from the registry, once per id)    with a default, removed, renamed
//	                                                                                 with an alias, or promoted
//
// T is a struct, whose fields match those of the schema by their avro tags or names, or map[string]any for generic
// records, or the Go type of a schema that is no record. Nullable fields are pointers. Append and Decode run on task
// goroutines; when they wait for the registry, and what a failure does, is in package registry.
//
// The encoding is done by github.com/twmb/avro. Avro maps have no order: do not use them in keys, which need the same
// bytes each time.
package avro
