package record

// Batch is an append-only run of encoded records for one topic partition.
//
// All keys and values lie in one buffer and are found by lengths, so that an epoch of a hundred thousand records costs
// the garbage collector two objects instead of two hundred thousand. Not safe for concurrent use.
type Batch struct {
	TopicPartition TopicPartition

	data    []byte
	entries []batchEntry
	headers []Header
}

// batchEntry locates one record. A length of -1 is null.
type batchEntry struct {
	timestamp int64
	offset    int // of the key in data; the value follows it
	keyLen    int32
	valueLen  int32
	header    int32 // of the first header in headers
	headerLen int32
}

// Append copies a record into the batch; a nil key or value is null.
func (b *Batch) Append(key, value []byte, timestamp int64, headers []Header) {
	e := batchEntry{timestamp: timestamp, offset: len(b.data), keyLen: -1, valueLen: -1, header: int32(len(b.headers))}
	if b.data == nil {
		b.data = []byte{} // or empty keys and values would come out of At as nil, which is null
	}
	if key != nil {
		e.keyLen = int32(len(key))
		b.data = append(b.data, key...)
	}
	if value != nil {
		e.valueLen = int32(len(value))
		b.data = append(b.data, value...)
	}
	if len(headers) > 0 {
		e.headerLen = int32(len(headers))
		b.headers = append(b.headers, headers...)
	}
	b.entries = append(b.entries, e)
}

// AddHeader adds a header to the last record, behind those it has.
func (b *Batch) AddHeader(h Header) {
	b.headers = append(b.headers, h)
	b.entries[len(b.entries)-1].headerLen++
}

// Len returns the number of records.
func (b *Batch) Len() int { return len(b.entries) }

// Bytes returns the bytes that keys and values take.
func (b *Batch) Bytes() int { return len(b.data) }

// At returns the i-th record; its Offset is i. The slices alias the batch and hold until Reset.
func (b *Batch) At(i int) Raw {
	e := &b.entries[i]
	r := Raw{Timestamp: e.timestamp, Offset: int64(i)}
	at := e.offset
	if e.keyLen >= 0 {
		r.Key = b.data[at : at+int(e.keyLen) : at+int(e.keyLen)]
		at += int(e.keyLen)
	}
	if e.valueLen >= 0 {
		r.Value = b.data[at : at+int(e.valueLen) : at+int(e.valueLen)]
	}
	if e.headerLen > 0 {
		r.Headers = b.headers[e.header : e.header+e.headerLen : e.header+e.headerLen]
	}
	return r
}

// Reset empties the batch and keeps its memory for reuse.
func (b *Batch) Reset() {
	clear(b.headers) // do not hold on to header values of the last epoch
	b.data, b.entries, b.headers = b.data[:0], b.entries[:0], b.headers[:0]
}

// Remove takes the i-th record out; those behind it move up. For the rare record that a broker refuses.
func (b *Batch) Remove(i int) { b.entries = append(b.entries[:i], b.entries[i+1:]...) }
