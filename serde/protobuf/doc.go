// Package protobuf is a serde for Protocol Buffers with a schema registry, byte for byte that of Confluent's
// KafkaProtobufSerializer.
//
//	message ──Append──► header │ path of the message in its file │ Protobuf binary
//	message ◄─Decode─── header │ path of the message in its file │ Protobuf binary
//
// What is registered is the file that defines the message, after the files that it imports, each under its path; those
// that every registry knows (google/protobuf/…, google/type/…, confluent/…) are left out.
//
// Messages evolve by their field numbers, without the writer's schema: fields that a reader does not know are kept and
// written again, fields that a writer did not set have their defaults. So Decode needs no registry at all; only the
// first Append asks it, on a task goroutine: see package registry. Neither the id nor the path of what is read is
// compared with the serde's own, since a writer may be newer, and may have its messages in another order.
//
// Maps are written in the order of their keys, so that equal messages have equal bytes in this process. Protobuf does
// not promise that for other versions or languages: for keys use messages without maps and without unknown fields.
package protobuf
