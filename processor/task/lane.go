package task

import (
	"bytes"

	"github.com/tidemarkio/tidemark/checkpointing"
	"github.com/tidemarkio/tidemark/eos"
	"github.com/tidemarkio/tidemark/record"
)

// lane is what a queue of a repartition topic knows while checkpoints are enabled. Several tasks write the partition,
// each of which is a channel; the records of one may have to wait while those of the others are processed.
//
//	log       … A1 B1 A| A2 B2 A3 B3 │ not fetched        A| is the barrier of task A
//	processed   A1 B1       B2                            A's records behind it are held back until the task has cut
//	held              A2
//	committed: offset of A2; ahead of it: all up to A3, except A's
//
// Invariant: unless the queue is empty or the lane is stuck, its first record is one to process. Owned by the task
// goroutine.
type lane struct {
	queue *queue
	align *alignment
	// first is the alignment's number of the lane's first channel; the others follow.
	first    int
	upstream []record.TaskID
	byOrigin map[string]int // number in upstream, by the text of the header
	// blocked are the channels whose records are held back, kept counts those that were copied and not yet processed.
	blocked []bool
	kept    []int
	// held are copies, in the order of offsets. When they are let go they become the first batch of the queue.
	held []record.Raw
	// ahead is what was processed before the last start or rollback, nil once that lies behind.
	ahead *eos.Ahead

	// headers are those of the queue's first record without ours, channel is where it comes from.
	headers []record.Header
	channel int
	// origin and originChannel are of the record before: most runs of records have one.
	origin        []byte
	originChannel int
}

// unknownChannel is of records that were written without checkpoints, or by a task that should not write here.
const unknownChannel = -1

func newLane(q *queue, a *alignment, first int, upstream []record.TaskID) *lane {
	l := &lane{
		queue: q, align: a, first: first, upstream: upstream, byOrigin: make(map[string]int),
		blocked: make([]bool, len(upstream)), kept: make([]int, len(upstream)), originChannel: unknownChannel,
	}
	for i, id := range upstream {
		l.byOrigin[string(checkpointing.AppendTask(nil, id))] = i
	}
	return l
}

// reset forgets what was held back and sets what is processed beyond the position.
func (l *lane) reset(ahead *eos.Ahead) {
	l.held, l.headers, l.ahead = nil, nil, ahead
	clear(l.blocked)
	clear(l.kept)
}

// marked tells whether a record names its task.
func marked(records []record.Raw) bool {
	for i := range records {
		if len(records[i].Headers) == 0 {
			continue
		}
		if origin, _, _ := checkpointing.SplitHeaders(records[i].Headers); origin != nil {
			return true
		}
	}
	return false
}

func (l *lane) channelOf(origin []byte) int {
	if origin == nil {
		return unknownChannel
	}
	if !bytes.Equal(origin, l.origin) {
		ch, ok := l.byOrigin[string(origin)]
		if !ok {
			return unknownChannel
		}
		l.origin, l.originChannel = bytes.Clone(origin), ch
	}
	return l.originChannel
}

// look tells the alignment of the barriers in a batch that has come, long before they are the first in the queue.
func (l *lane) look(records []record.Raw) {
	for i := range records {
		r := &records[i]
		if r.Key != nil || r.Value != nil {
			continue
		}
		if origin, barrier, _ := checkpointing.SplitHeaders(r.Headers); barrier != nil {
			l.align.seen(l, l.channelOf(origin), barrier, r.Offset)
		}
	}
}

// settle makes the first record of the queue one to process: it takes barriers, skips what is processed already, and
// holds back what has to wait.
func (l *lane) settle() {
	q := l.queue
	for !q.empty() {
		r := &q.batches[0].Records[q.at]
		origin, barrier, headers := checkpointing.SplitHeaders(r.Headers)
		ch := l.channelOf(origin)
		switch {
		case barrier == nil && l.processed(ch, r.Offset):
			l.forget(ch, r)
		case ch != unknownChannel && l.blocked[ch]:
			if !l.hold(ch, r) {
				return
			}
		case barrier != nil:
			l.forget(ch, r)
			l.align.arrived(l, ch, barrier, r.Offset)
		default:
			l.headers, l.channel = headers, ch
			return
		}
		l.step()
	}
}

func (l *lane) processed(ch int, offset int64) bool {
	if l.ahead == nil {
		return false
	}
	if offset >= l.ahead.Next {
		l.ahead = nil
		return false
	}
	id := record.GlobalTaskID() // never held back
	if ch != unknownChannel {
		id = l.upstream[ch]
	}
	return l.ahead.Processed(id, offset)
}

// next is queue.next for lanes.
func (l *lane) next(t *Task) (*record.Raw, error) {
	q := l.queue
	ts, err := q.headTimestamp(t), q.headErr
	r := &q.batches[0].Records[q.at]
	l.forget(l.channel, r)
	if l.channel == unknownChannel {
		l.align.stray()
	}
	r.Headers = l.headers
	if err == nil {
		r.Timestamp = ts
	}
	q.current, q.headErr = r, nil
	l.step()
	l.settle()
	return r, err
}

// step leaves the first record of the queue behind.
func (l *lane) step() {
	q := l.queue
	b := &q.batches[0]
	if !b.own {
		q.position = b.Records[q.at].Offset + 1
	}
	q.at++
	q.headKnown = false
	if q.at < len(b.Records) {
		return
	}
	if !b.own {
		q.position = b.Next
		l.align.task.released = append(l.align.task.released, b.Token)
	}
	q.batches[0] = Input{}
	q.batches, q.at = q.batches[1:], 0
}
