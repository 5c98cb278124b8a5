// Package jsonschema is a serde for JSON with a schema registry, in the wire format of Confluent's
// KafkaJsonSchemaSerializer.
//
//	value T ──Append──► header │ JSON     checked against the schema, unless Validation is Never
//	value T ◄─Decode─── header │ JSON     checked only with OnWriteAndRead
//
// The schema is derived from T, or given as text: draft 2020-12, or draft-07 if "$schema" says so. The words "format"
// and "content…" are annotations and check nothing; numbers are compared as float64.
//
// Without a check on read, evolution is that of encoding/json: fields that T does not know are ignored, missing ones
// are zero. The check on read is against the serde's own schema, not the writer's: it says what the program relies on.
// So Decode needs no registry at all; only the first Append asks it, on a task goroutine: see package registry.
//
// Encoding is encoding/json without HTML escapes, checks are done by github.com/google/jsonschema-go; both allocate.
// Equal values have equal bytes as long as T and its fields' order stay the same.
package jsonschema
