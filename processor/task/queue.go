package task

import (
	"runtime/debug"

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

	own bool // copies of records that were held back; there is nothing to give back
}

// queue holds the fetched, unprocessed records of one input partition. Owned by the task goroutine.
type queue struct {
	tp     record.TopicPartition
	node   string // of the source
	source processor.Source
	timed  processor.PartitionSource    // source, if it extracts timestamps itself
	given  processor.TimestampExtractor // else the application's; nil: the record's own timestamp, which must be valid

	batches []Input
	at      int         // of the next record in batches[0]
	current *record.Raw // the record taken last
	// headTS is the timestamp of the next record, if headKnown. Extractors, which are user code, run as late as they can:
	// when the record is compared with those of other queues, or taken.
	headTS    int64
	headKnown bool
	headErr   error // why the next record has no timestamp

	// streamTime is the partition time: the highest timestamp processed, -1 before the first.
	streamTime int64
	// position is the offset behind the last processed record, or behind the last batch if all are processed.
	// Invariant: position never goes back, except by reset.
	position      int64
	highWatermark int64
	idle          queueIdle

	// between says that other tasks of the application write the partition.
	between bool
	lane    *lane // nil: no checkpoint has to do with it
}

func newQueue(tp record.TopicPartition, node string, source processor.Source) *queue {
	q := &queue{tp: tp, node: node, source: source, streamTime: -1}
	if t, ok := source.(processor.TimedSource); ok {
		q.timed = t.ForPartition()
		q.source = q.timed
	}
	return q
}

// reset empties the queue and sets where it continues.
func (q *queue) reset(p Position) {
	q.batches, q.at, q.position, q.streamTime, q.current = nil, 0, p.Offset, p.StreamTime, nil
	q.headKnown, q.headErr, q.idle = false, nil, queueIdle{}
	if q.lane != nil {
		q.lane.reset(p.Ahead)
	}
}

// committable is what a commit says about the input.
func (q *queue) committable(checkpoint int64) Position {
	p := Position{Offset: q.position, StreamTime: q.streamTime, Checkpoint: checkpoint}
	if q.lane != nil {
		q.lane.position(&p)
	}
	return p
}

func (q *queue) empty() bool { return len(q.batches) == 0 }

// headTimestamp returns the event time of the next record. The queue must not be empty. A record that has none comes
// before all others: it only waits to be dealt with.
func (q *queue) headTimestamp(t *Task) int64 {
	if !q.headKnown {
		q.headKnown = true
		if q.headTS, q.headErr = q.extract(t); q.headErr != nil {
			q.headTS = -1
		}
	}
	return q.headTS
}

// extract determines the event time of the next record. A panic of an extractor becomes an error.
func (q *queue) extract(t *Task) (timestamp int64, err error) {
	r := &q.batches[0].Records[q.at]
	if q.timed == nil && q.given == nil && r.Timestamp >= 0 {
		return r.Timestamp, nil
	}
	defer func() {
		if p := recover(); p != nil {
			err = &panicError{value: p, stack: debug.Stack()}
		}
	}()
	at := processor.Extraction{TopicPartition: q.tp, PartitionTime: q.streamTime, WallClock: t.wallClock}
	t.running = q.node
	switch {
	case q.timed != nil:
		return q.timed.Timestamp(r, at)
	case q.given != nil:
		return q.given(r, at)
	}
	return processor.FailOnInvalidTimestamp(r, at)
}

// next takes the next record, with its event time. The error says that it has none; a negative one, that it is to be
// dropped. A batch that is used up is released. The record holds until the following call of next.
func (q *queue) next(t *Task) (*record.Raw, error) {
	if q.lane != nil {
		return q.lane.next(t)
	}
	ts, err := q.headTimestamp(t), q.headErr
	b := &q.batches[0]
	r := &b.Records[q.at]
	if err == nil {
		r.Timestamp = ts
	}
	q.current, q.headErr = r, nil
	q.at++
	// Without an extractor the next timestamp is at hand, and one that is valid needs no more care.
	if q.at < len(b.Records) {
		q.position = r.Offset + 1
		q.headTS = b.Records[q.at].Timestamp
		q.headKnown = q.timed == nil && q.given == nil && q.headTS >= 0
		return r, err
	}
	q.position = b.Next
	t.released = append(t.released, b.Token)
	q.batches[0] = Input{}
	q.batches, q.at = q.batches[1:], 0
	q.headKnown = false
	return r, err
}

// last returns a copy of the record taken last.
func (q *queue) last() record.Raw { return *q.current }

// Add queues a batch. The records must continue where the last batch of the partition ended.
func (t *Task) Add(in Input) {
	q := t.byInput[in.TopicPartition]
	q.heard(in.HighWatermark)
	if len(in.Records) == 0 {
		// Markers only. The position moves behind what is queued: at once if nothing is.
		if q.empty() || len(q.batches) == 1 && q.batches[0].own {
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
	if q.lane == nil && q.between && marked(in.Records) {
		t.alignment.addLane(q, nil)
	}
	q.batches = append(q.batches, in)
	if len(q.batches) == 1 {
		q.at = 0
		q.headKnown = false
		q.idle.deadline, q.idle.enforced = 0, false
	}
	if q.lane != nil {
		q.lane.look(in.Records)
		if len(q.batches) == 1 {
			q.lane.settle()
		}
		t.alignment.refresh()
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

// Place returns where the task is in an input, and where that ended as last seen (last stable offset).
func (t *Task) Place(tp record.TopicPartition) (position, end int64) {
	q := t.byInput[tp]
	return q.position, q.highWatermark
}

// Lag returns, by input, how many offsets lie between the position and the end of the partition as last seen.
func (t *Task) Lag(tp record.TopicPartition) int64 {
	q := t.byInput[tp]
	return max(0, q.highWatermark-q.position)
}
