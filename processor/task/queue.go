package task

import (
	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/record"
)

// Input is a fetched batch of one input partition.
type Input struct {
	TopicPartition record.TopicPartition
	Records        []record.Raw
	// Next is the position behind the batch, transaction markers included.
	Next          int64
	HighWatermark int64
	// Token comes back through Released once every record of the batch is processed.
	Token any
}

// timestamper is a source that extracts timestamps from records itself (timestamp.extractor).
type timestamper interface {
	// Timestamp returns the event time; partitionTime is the highest seen so far, -1 before the first. Negative: drop.
	Timestamp(r *record.Raw, partitionTime int64) int64
}

// queue holds the fetched, unprocessed records of one input partition. Owned by the task goroutine.
type queue struct {
	tp        record.TopicPartition
	source    processor.Source
	extractor timestamper // nil: the record's own timestamp

	batches []Input
	at      int         // of the next record in batches[0]
	headTS  int64       // timestamp of that record
	current *record.Raw // the record taken last

	// streamTime is the partition time: the highest timestamp processed, -1 before the first.
	streamTime int64
	// position is the offset behind the last processed record, or behind the last batch if all are processed.
	// Invariant: position never goes back, except by reset.
	position      int64
	highWatermark int64
}

func newQueue(tp record.TopicPartition, source processor.Source) *queue {
	q := &queue{tp: tp, source: source, streamTime: -1}
	q.extractor, _ = source.(timestamper)
	return q
}

// reset empties the queue and sets where it continues.
func (q *queue) reset(position, streamTime int64) {
	q.batches, q.at, q.position, q.streamTime, q.current = nil, 0, position, streamTime, nil
}

func (q *queue) empty() bool { return len(q.batches) == 0 }

// headTimestamp returns the event time of the next record. The queue must not be empty.
func (q *queue) headTimestamp() int64 { return q.headTS }

// loadHead extracts the timestamp of the next record.
func (q *queue) loadHead() {
	r := &q.batches[0].Records[q.at]
	q.headTS = r.Timestamp
	if q.extractor != nil {
		q.headTS = q.extractor.Timestamp(r, q.streamTime)
	}
}

// next takes the next record; drop says that its timestamp is negative. A batch that is used up is released.
// The record holds until the following call of next.
func (q *queue) next(released *[]any) (r *record.Raw, drop bool) {
	b := &q.batches[0]
	r = &b.Records[q.at]
	ts := q.headTS
	r.Timestamp = ts
	q.current = r
	q.at++
	if q.at < len(b.Records) {
		q.position = r.Offset + 1
		if q.extractor == nil {
			q.headTS = b.Records[q.at].Timestamp
		} else {
			// Partition time includes this record: the extractor of the next one may ask for it.
			q.headTS = q.extractor.Timestamp(&b.Records[q.at], max(q.streamTime, ts))
		}
		return r, ts < 0
	}
	q.position = b.Next
	*released = append(*released, b.Token)
	q.batches[0] = Input{}
	q.batches, q.at = q.batches[1:], 0
	if len(q.batches) > 0 {
		q.loadHead()
	}
	return r, ts < 0
}

// last returns a copy of the record taken last.
func (q *queue) last() record.Raw { return *q.current }

// Add queues a batch. The records must continue where the last batch of the partition ended.
func (t *Task) Add(in Input) {
	q := t.byInput[in.TopicPartition]
	q.highWatermark = in.HighWatermark
	if len(in.Records) == 0 {
		// Markers only. The position moves behind what is queued: at once if nothing is.
		if q.empty() {
			if in.Next > q.position {
				q.position = in.Next
				t.dirty = true
			}
		} else {
			q.batches[len(q.batches)-1].Next = in.Next
		}
		t.released = append(t.released, in.Token)
		return
	}
	q.batches = append(q.batches, in)
	if len(q.batches) == 1 {
		q.at = 0
		q.loadHead()
	}
}

// Buffered reports whether there are records to process.
func (t *Task) Buffered() bool {
	for _, q := range t.queues {
		if !q.empty() {
			return true
		}
	}
	return false
}

// Released hands back the tokens of batches that are used up. The slice is the task's until the next call.
func (t *Task) Released() []any {
	r := t.released
	t.released = t.released[len(t.released):]
	return r
}

// Lag returns, by input, how many offsets lie between the position and the end of the partition as last seen.
func (t *Task) Lag(tp record.TopicPartition) int64 {
	q := t.byInput[tp]
	return max(0, q.highWatermark-q.position)
}
