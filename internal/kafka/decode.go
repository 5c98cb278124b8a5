package kafka

import (
	"cmp"
	"encoding/binary"
	"errors"
	"reflect"
	"slices"

	"github.com/IBM/sarama"

	"github.com/tidemarkio/tidemark/record"
)

var (
	errOldFormat = errors.New("the log holds records in a format older than Kafka 0.11: rewrite the topic")
	errNoMarker  = errors.New("a control batch without a transaction marker")
)

// decoded is what one fetch brought of one partition, as a read_committed consumer sees it.
type decoded struct {
	records []record.Raw
	bytes   int // of their keys and values
	// next is the position behind what was fetched: it also moves over transaction markers, aborted records and the
	// batches that compaction emptied. It is the position asked for if nothing came.
	next int64
	// incomplete says that the next batch did not fit into the response.
	incomplete bool
}

// decodeBlock converts the batches of a response. Records below from, which share a batch with it, are left out.
//
// The broker lists the aborted transactions that overlap the response: producer and first offset. A producer is
// skipped from there until its abort marker, after which it may have begun another transaction.
func decodeBlock(block *sarama.FetchResponseBlock, from int64) (decoded, error) {
	d := decoded{next: from}
	aborted := slices.Clone(block.AbortedTransactions)
	slices.SortFunc(aborted, func(a, b *sarama.AbortedTransaction) int {
		return cmp.Compare(a.FirstOffset, b.FirstOffset)
	})
	skip := make(map[int64]bool, len(aborted))

	total := 0
	for _, set := range block.RecordsSet {
		if set.MsgSet != nil {
			return d, errOldFormat
		}
		if b := set.RecordBatch; !b.Control {
			total += len(b.Records)
		}
	}
	if total > 0 {
		d.records = make([]record.Raw, 0, total)
	}
	for _, set := range block.RecordsSet {
		b := set.RecordBatch
		if b.PartialTrailingRecord {
			break // the part of a batch at the end of the response; it comes again
		}
		for len(aborted) > 0 && aborted[0].FirstOffset <= b.LastOffset() {
			skip[aborted[0].ProducerID] = true
			aborted = aborted[1:]
		}
		d.next = max(d.next, b.LastOffset()+1)
		switch {
		case b.Control:
			abort, err := isAbortMarker(b)
			if err != nil {
				return d, err
			}
			if abort {
				delete(skip, b.ProducerID)
			}
		case b.IsTransactional && skip[b.ProducerID]:
		default:
			var bytes int
			d.records, bytes = appendBatch(d.records, b, from)
			d.bytes += bytes
		}
	}
	if d.next > from {
		return d, nil
	}
	if next, ok := behindEmptyBatches(block); ok && next > from && !partial(block) {
		d.next = next
		return d, nil
	}
	d.incomplete = partial(block) || block.LastStableOffset > from
	return d, nil
}

// appendBatch is the hot loop: one record at a time from sarama's shape into ours, without copying a byte. It fills the
// slots in place, since copying a whole struct with pointers passes the garbage collector's write barrier in bulk. dst
// has room for all.
func appendBatch(dst []record.Raw, b *sarama.RecordBatch, from int64) (to []record.Raw, bytes int) {
	first, fixed := int64(-1), int64(-1)
	if b.LogAppendTime {
		fixed = b.MaxTimestamp.UnixMilli()
	} else if !b.FirstTimestamp.IsZero() { // sarama's zero time is Kafka's -1: no timestamp
		first = b.FirstTimestamp.UnixMilli()
	}
	var headers headerArena
	for _, r := range b.Records {
		offset := b.FirstOffset + r.OffsetDelta
		if offset < from {
			continue
		}
		n := len(dst)
		dst = dst[:n+1]
		raw := &dst[n]
		// Clipped: an append to a key must not run into the record behind it.
		raw.Key, raw.Value = slices.Clip(r.Key), slices.Clip(r.Value)
		bytes += len(r.Key) + len(r.Value)
		raw.Offset, raw.Timestamp = offset, fixed
		if first >= 0 {
			raw.Timestamp = first + r.TimestampDelta.Milliseconds()
		}
		if len(r.Headers) > 0 {
			raw.Headers = headers.take(r.Headers, len(b.Records))
		}
	}
	return dst, bytes
}

// headerArena copies the headers of a batch's records into arrays that they share: with checkpoints every record of a
// repartition topic has one, and nearly all have the same name.
type headerArena struct {
	free []record.Header
	key  string // the last one
}

func (a *headerArena) take(headers []*sarama.RecordHeader, records int) []record.Header {
	n := len(headers)
	if len(a.free) < n {
		a.free = make([]record.Header, max(n, records))
	}
	dst := a.free[:n:n]
	a.free = a.free[n:]
	for i, h := range headers {
		if a.key != string(h.Key) {
			a.key = string(h.Key)
		}
		dst[i] = record.Header{Key: a.key, Value: h.Value}
	}
	return dst
}

// isAbortMarker reads the one record of a control batch: key = version int16, type int16; 0 aborts, 1 commits.
func isAbortMarker(b *sarama.RecordBatch) (bool, error) {
	if len(b.Records) == 0 || len(b.Records[0].Key) < 4 {
		return false, errNoMarker
	}
	return binary.BigEndian.Uint16(b.Records[0].Key[2:]) == 0, nil
}

// partial tells whether the response ends inside its first batch.
func partial(block *sarama.FetchResponseBlock) bool {
	return block.Partial || len(block.RecordsSet) == 1 && block.RecordsSet[0].RecordBatch != nil &&
		block.RecordsSet[0].RecordBatch.PartialTrailingRecord
}

// behindEmptyBatches returns the offset behind batches without records. Compaction leaves such batches to remember a
// producer's last sequence, and a response may hold nothing else; without this the position would stand still for
// ever. sarama drops them and keeps the offset in a field that it does not export, so we read it by reflection
// (TestBehindEmptyBatches fails if it goes away).
func behindEmptyBatches(block *sarama.FetchResponseBlock) (int64, bool) {
	f := reflect.ValueOf(block).Elem().FieldByName("recordsNextOffset")
	if f.Kind() != reflect.Pointer || f.IsNil() || f.Elem().Kind() != reflect.Int64 {
		return 0, false
	}
	return f.Elem().Int(), true
}
