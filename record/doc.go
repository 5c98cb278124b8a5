// Package record is the vocabulary that every other package shares: records, topic partitions, task ids and epochs.
//
// It imports nothing. A record passes through Tidemark in three shapes:
//
//	broker ──► Raw (bytes, with offset) ──decode──► Record[K, V] (typed) ──encode──► Batch (bytes) ──► broker
//
// Null keys and values. A nil pointer, slice, map or interface is null. A type without nil (string, int64, a struct)
// says null through [Record.NullKey] and [Record.NullValue]; the field then holds the type's zero value.
//
// The types are values without locks. A Batch belongs to one goroutine at a time.
package record
