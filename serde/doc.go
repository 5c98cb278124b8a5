// Package serde turns values into the bytes of keys and values, and back.
//
//	          ┌────────────── Decode ──────────────┐
//	Raw bytes │                                    ▼ K, V   (sources, stores, repartition topics)
//	          ▲                                    │
//	          └────────────── Append ──────────────┘        (sinks, changelogs, repartition topics)
//
// A [Serde] is stateless: one instance serves all tasks and goroutines. [String], [Bytes], [Int64], [Int32], [Float64]
// and [Bool] write what the serializers of Kafka's Java client write; [JSON] serves any type; [Nullable] gives a type
// without nil a null. Null itself is never encoded: the runtime writes it as a record without key or value.
//
// Obligations of an own Serde: Append appends and keeps nothing, Decode reads all of its input and says in its error
// what it expected and found, and two values that are to be the same key have the same bytes.
package serde
