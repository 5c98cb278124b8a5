package record

import (
	"slices"
	"time"
)

// Header is one record header. A nil Value is a null header value.
type Header struct {
	Key   string
	Value []byte
}

// Record is a typed record on its way through the processors of a task.
type Record[K, V any] struct {
	Key   K
	Value V
	// Timestamp is the event time in milliseconds since the Unix epoch.
	Timestamp int64
	// Headers are shared by all records made from one input record: append to a clone, never in place.
	Headers []Header
	// NullKey says that the key is null although K has no nil. Key is then K's zero value.
	NullKey bool
	// NullValue says that the value is null (a tombstone) although V has no nil. Value is then V's zero value.
	NullValue bool
}

// Time returns the event time.
func (r Record[K, V]) Time() time.Time { return time.UnixMilli(r.Timestamp) }

// Header returns the last header of that name.
func (r Record[K, V]) Header(name string) (value []byte, found bool) {
	for _, h := range slices.Backward(r.Headers) {
		if h.Key == name {
			return h.Value, true
		}
	}
	return nil, false
}

// Raw is a record as it was read from a topic partition. Key and Value alias the fetched buffer and must not be
// modified; nil is null.
type Raw struct {
	Key       []byte
	Value     []byte
	Headers   []Header
	Timestamp int64
	Offset    int64
}
