package task

import (
	"github.com/tidemarkio/tidemark/checkpointing"
	"github.com/tidemarkio/tidemark/eos"
	"github.com/tidemarkio/tidemark/record"
)

// hold keeps a copy of the queue's first record, whose channel is blocked, so that the fetched buffer it lies in can be
// given back. It returns false if there is no room; the task then processes nothing until it has cut.
func (l *lane) hold(ch int, r *record.Raw) bool {
	if l.queue.batches[0].own {
		l.held = append(l.held, *r) // a copy already, and counted
		return true
	}
	if !l.align.room(heldBytes(r)) || l.kept[ch] == 0 && !l.expressible(ch) {
		l.align.overflow()
		return false
	}
	l.kept[ch]++
	l.align.bytes += heldBytes(r)
	l.held = append(l.held, copyOf(r))
	return true
}

// forget counts a copy off that is held back no longer.
func (l *lane) forget(ch int, r *record.Raw) {
	if l.queue.batches[0].own && ch != unknownChannel {
		l.kept[ch]--
		l.align.bytes -= heldBytes(r)
	}
}

// expressible tells whether the offset's metadata has room for one more channel that lags behind.
func (l *lane) expressible(ch int) bool {
	n := 0
	for i, id := range l.upstream {
		lags := i == ch || l.kept[i] > 0
		if l.ahead != nil {
			_, excepted := l.ahead.Except[id]
			lags = lags || excepted
		}
		if lags {
			n += eos.ExceptionBytes(id)
		}
	}
	return n <= eos.AheadBytesMax
}

// release lets go what is held back: it becomes the first batch of the queue, before what was fetched later. Some of it
// may be held back again, behind the barrier of a newer checkpoint.
func (l *lane) release() {
	if len(l.held) == 0 {
		return
	}
	q := l.queue
	back := Input{TopicPartition: q.tp, Records: l.held, own: true}
	l.held = nil
	switch {
	case q.empty():
		q.idle.deadline, q.idle.enforced = 0, false
	case q.batches[0].own:
		back.Records = append(back.Records, q.batches[0].Records[q.at:]...)
		q.batches = q.batches[1:]
	default:
		q.batches[0].Records = q.batches[0].Records[q.at:]
	}
	q.batches = append([]Input{back}, q.batches...)
	q.at, q.headKnown = 0, false
}

// copies calls fn with the channel and offset of each record that is held back or was let go and not yet processed, in
// the order of offsets.
func (l *lane) copies(fn func(ch int, offset int64)) {
	visit := func(records []record.Raw) {
		for i := range records {
			origin, _, _ := checkpointing.SplitHeaders(records[i].Headers)
			fn(l.channelOf(origin), records[i].Offset) // only records of known channels are held back
		}
	}
	visit(l.held)
	if q := l.queue; !q.empty() && q.batches[0].own {
		visit(q.batches[0].Records[q.at:])
	}
}

// frontier returns for each channel the offset up to which its records are processed, and where the log continues
// behind all that was looked at, now or before the last start.
func (l *lane) frontier() (processed []int64, next int64) {
	next = l.queue.position
	processed = make([]int64, len(l.upstream))
	for i := range processed {
		processed[i] = next
	}
	if l.ahead != nil && l.ahead.Next > next {
		for i, id := range l.upstream {
			at, excepted := l.ahead.Except[id]
			if !excepted {
				at = l.ahead.Next
			}
			processed[i] = max(processed[i], at)
		}
		next = l.ahead.Next
	}
	behind := make([]bool, len(l.upstream))
	l.copies(func(ch int, offset int64) {
		if !behind[ch] {
			behind[ch], processed[ch] = true, offset
		}
	})
	return processed, next
}

// position is what a commit says: the offset of the first record that is not processed, and what is beyond it.
func (l *lane) position(p *Position) {
	if l.ahead == nil && len(l.held) == 0 && (l.queue.empty() || !l.queue.batches[0].own) {
		return
	}
	l.copies(func(_ int, offset int64) { p.Offset = min(p.Offset, offset) })
	processed, next := l.frontier()
	if next <= p.Offset {
		return
	}
	ahead := &eos.Ahead{Next: next}
	for i, at := range processed {
		if at < next {
			if ahead.Except == nil {
				ahead.Except = make(map[record.TaskID]int64)
			}
			ahead.Except[l.upstream[i]] = at
		}
	}
	p.Ahead = ahead
}

// strays tells whether a record waits of which nobody knows the sender.
func (l *lane) strays() bool {
	q := l.queue
	for i := range q.batches {
		records := q.batches[i].Records
		if i == 0 {
			records = records[q.at:]
		}
		for j := range records {
			if origin, _, _ := checkpointing.SplitHeaders(records[j].Headers); l.channelOf(origin) == unknownChannel {
				return true
			}
		}
	}
	return false
}

// recordBytes is what a copy takes beside what it points to.
const recordBytes = 120

func heldBytes(r *record.Raw) int {
	n := recordBytes + len(r.Key) + len(r.Value)
	for _, h := range r.Headers {
		n += len(h.Value)
	}
	return n
}

// copyOf copies a record into memory of its own: one allocation for all bytes. Null stays null, and empty empty.
func copyOf(r *record.Raw) record.Raw {
	c := *r
	buffer := make([]byte, 0, heldBytes(r)-recordBytes)
	take := func(b []byte) []byte {
		if b == nil {
			return nil
		}
		at := len(buffer)
		buffer = append(buffer, b...)
		return buffer[at:len(buffer):len(buffer)]
	}
	c.Key, c.Value = take(r.Key), take(r.Value)
	c.Headers = make([]record.Header, len(r.Headers))
	for i, h := range r.Headers {
		c.Headers[i] = record.Header{Key: h.Key, Value: take(h.Value)}
	}
	return c
}
