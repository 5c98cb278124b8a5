package record

import (
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
	// Headers are shared by all records made from one input record: change them by WithHeader and WithoutHeader, never in
	// place.
	Headers []Header
	// NullKey says that the key is null although K has no nil. Key is then K's zero value.
	NullKey bool
	// NullValue says that the value is null (a tombstone) although V has no nil. Value is then V's zero value.
	NullValue bool
}

// Time returns the event time.
func (r Record[K, V]) Time() time.Time { return time.UnixMilli(r.Timestamp) }

// Raw is a record as it was read from a topic partition. Key and Value alias the fetched buffer and must not be
// modified; nil is null.
type Raw struct {
	Key       []byte
	Value     []byte
	Headers   []Header
	Timestamp int64
	Offset    int64
}
