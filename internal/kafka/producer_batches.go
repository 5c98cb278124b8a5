package kafka

import (
	"fmt"
	"math"
	"time"

	"github.com/IBM/sarama"

	"github.com/tidemarkio/tidemark/eos"
	"github.com/tidemarkio/tidemark/record"
)

const (
	// batchRecordsMax bounds one record batch: 8 Ki records keep the arrays of sarama.Record below 1 MiB.
	batchRecordsMax = 8 << 10
	// recordOverheadBytes is what one record takes beside key, value and headers, at most: length, attributes, timestamp
	// and offset deltas, lengths of key and value, number of headers.
	recordOverheadBytes = 5 + 1 + 10 + 5 + 5 + 5 + 5
	headerOverheadBytes = 5 + 5
	// batchOverheadBytes is the header of a record batch.
	batchOverheadBytes = 61
	// minRequestBytes is a limit below which batches make no sense.
	minRequestBytes = 1 << 10
	// pooledRecordsMax bounds what a producer keeps for reuse: about 8 MiB.
	pooledRecordsMax = 8 * batchRecordsMax
	// headerKeysMax bounds the cache of header keys as bytes.
	headerKeysMax = 256
)

// partition is what the producer knows of a partition during one epoch.
type partition struct {
	tp record.TopicPartition
	// sequence of the next record. Invariant: it moves only when a batch is acknowledged, and at most one batch is under
	// way, so a batch that is sent again has the same sequence by construction. Two batches under way would need the
	// broker to refuse the second when it refused the first, and a broker that has no state of this producer yet
	// accepts any first sequence.
	sequence int32
	// bytesMax is smaller than MaxRequestBytes once the broker refused a batch as too large.
	bytesMax int

	// The rest belongs to one Send.
	queue   []source
	sending *batchBuffer // under way or waiting to be sent again; nil: take the next records of the queue
	busy    bool         // under way
	retryAt time.Time
	backoff backoff
}

// source is a batch of the caller of which records from next on are still to be sent.
type source struct {
	batch *record.Batch
	index int // in the caller's list
	next  int
}

// batchBuffer holds one record batch for sarama. Its arrays are reused, so that building allocates nothing per record.
type batchBuffer struct {
	batch      sarama.RecordBatch
	records    []sarama.Record
	pointers   []*sarama.Record
	headers    []sarama.RecordHeader
	headerRefs []*sarama.RecordHeader

	source   int // index of the caller's batch
	from, to int // its records
	bytes    int // upper bound of the encoded size before compression
}

// takeBuffer returns a free buffer or a new one.
func (p *Producer) takeBuffer() *batchBuffer {
	if n := len(p.buffers); n > 0 {
		b := p.buffers[n-1]
		p.buffers = p.buffers[:n-1]
		return b
	}
	return &batchBuffer{}
}

// giveBuffer takes a buffer back, without what it refers to. The free buffers together keep room for pooledRecordsMax.
func (p *Producer) giveBuffer(b *batchBuffer) {
	room := 0
	for _, f := range p.buffers {
		room += cap(f.records)
	}
	if room+cap(b.records) > pooledRecordsMax {
		return
	}
	b.batch = sarama.RecordBatch{}
	clear(b.records)
	clear(b.headers)
	b.records, b.pointers = b.records[:0], b.pointers[:0]
	b.headers, b.headerRefs = b.headers[:0], b.headerRefs[:0]
	p.buffers = append(p.buffers, b)
}

// recordSize is an upper bound of what a record takes in a batch.
func recordSize(r *record.Raw) int {
	n := recordOverheadBytes + len(r.Key) + len(r.Value)
	for i := range r.Headers {
		n += headerOverheadBytes + len(r.Headers[i].Key) + len(r.Headers[i].Value)
	}
	return n
}

// fill builds the next record batch of a partition from its queue, which must not be empty.
func (p *Producer) fill(b *batchBuffer, part *partition) error {
	src := &part.queue[0]
	first := src.batch.At(src.next)
	base, newest := first.Timestamp, first.Timestamp
	limit := part.bytesMax
	b.source, b.from, b.bytes = src.index, src.next, batchOverheadBytes
	end := min(src.batch.Len(), src.next+batchRecordsMax)
	i := src.next
	for ; i < end; i++ {
		r := src.batch.At(i)
		size := recordSize(&r)
		if b.bytes+size > limit {
			if i > src.next {
				break
			}
			if b.bytes+size > p.cfg.MaxRequestBytes {
				return &eos.RecordTooLargeError{
					TopicPartition: part.tp, Batch: src.batch, Index: i, SizeBytes: size, LimitBytes: p.cfg.MaxRequestBytes,
				}
			}
		}
		if r.Timestamp < 0 || r.Timestamp > timestampMax {
			return fmt.Errorf("kafka: record %d for %s: timestamp %d: Kafka takes milliseconds since 1970, 0 to %d: %w", i,
				part.tp, r.Timestamp, timestampMax, eos.ErrFatal)
		}
		b.bytes += size
		newest = max(newest, r.Timestamp)
		b.records = append(b.records, sarama.Record{
			Key: r.Key, Value: r.Value, OffsetDelta: int64(i - src.next),
			TimestampDelta: time.Duration(r.Timestamp-base) * time.Millisecond,
		})
		if len(r.Headers) > 0 {
			b.records[len(b.records)-1].Headers = p.addHeaders(b, r.Headers)
		}
	}
	b.to = i
	for j := range b.records { // not earlier: append may have moved the array
		b.pointers = append(b.pointers, &b.records[j])
	}
	b.batch = sarama.RecordBatch{
		Version: 2, PartitionLeaderEpoch: -1, Codec: p.cfg.Compression, CompressionLevel: p.cfg.CompressionLevel,
		IsTransactional: p.transactional(), ProducerID: p.id, ProducerEpoch: p.epoch, FirstSequence: part.sequence,
		FirstTimestamp: time.UnixMilli(base), MaxTimestamp: time.UnixMilli(newest),
		LastOffsetDelta: int32(b.to - b.from - 1), Records: b.pointers,
	}
	return nil
}

// timestampMax is the largest timestamp that sarama's nanoseconds can hold (year 2262).
const timestampMax = math.MaxInt64 / int64(time.Millisecond)

// addHeaders copies headers into the buffer's arrays. The arrays may move: records before keep pointing to the old
// ones.
func (p *Producer) addHeaders(b *batchBuffer, headers []record.Header) []*sarama.RecordHeader {
	from := len(b.headerRefs)
	if cap(b.headers)-len(b.headers) < len(headers) {
		b.headers = make([]sarama.RecordHeader, 0, max(2*cap(b.headers), 64, len(headers)))
	}
	for _, h := range headers {
		b.headers = append(b.headers, sarama.RecordHeader{Key: p.headerKey(h.Key), Value: h.Value})
		b.headerRefs = append(b.headerRefs, &b.headers[len(b.headers)-1])
	}
	return b.headerRefs[from:len(b.headerRefs):len(b.headerRefs)]
}

// headerKey converts a header's name without allocating each time: names are few.
func (p *Producer) headerKey(s string) []byte {
	if b, ok := p.headerKeys[s]; ok {
		return b
	}
	if len(p.headerKeys) >= headerKeysMax {
		clear(p.headerKeys)
	}
	b := []byte(s)
	p.headerKeys[s] = b
	return b
}

// advance notes that a batch is acknowledged.
func (part *partition) advance(b *batchBuffer) {
	n := int64(part.sequence) + int64(b.to-b.from)
	part.sequence = int32(n & math.MaxInt32) // Kafka's sequences wrap from MaxInt32 to 0
	part.queue[0].next = b.to
	if b.to == part.queue[0].batch.Len() {
		part.queue = part.queue[1:]
	}
}
