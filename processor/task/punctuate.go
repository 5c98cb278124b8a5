package task

import (
	"math"
	"time"

	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/store"
)

// punctuators are the schedules of a task. Owned by the task goroutine.
type punctuators struct {
	list       []*schedule
	nextStream int64 // earliest due stream time; MaxInt64 if none
	nextWall   int64
}

type schedule struct {
	node      string
	kind      processor.PunctuationType
	interval  int64 // ms
	due       int64
	fn        func(timestamp int64) error
	cancelled bool
}

// Schedule implements processor.TaskContext. A stream-time schedule is first due at 0, that is on the first record; a
// wall-clock one after an interval (Kafka Streams).
func (t *Task) Schedule(
	node string, interval time.Duration, kind processor.PunctuationType, fn func(timestamp int64) error,
) (cancel func()) {
	s := &schedule{node: node, kind: kind, interval: max(1, interval.Milliseconds()), fn: fn}
	if kind == processor.WallClockTime {
		s.due = t.wallClock + s.interval
	}
	t.punctuators.list = append(t.punctuators.list, s)
	t.punctuators.update()
	return func() {
		s.cancelled = true
		t.punctuators.update()
	}
}

// update recomputes when the next schedule is due and forgets cancelled ones.
func (p *punctuators) update() {
	p.nextStream, p.nextWall = math.MaxInt64, math.MaxInt64
	for _, s := range p.list {
		switch {
		case s.cancelled:
		case s.kind == processor.StreamTime:
			p.nextStream = min(p.nextStream, s.due)
		default:
			p.nextWall = min(p.nextWall, s.due)
		}
	}
}

// punctuate fires every due schedule of the kind once; the next time due is the first multiple of the interval
// (counted from the first one) that lies in the future. An error or panic goes to the handler; what comes back is
// final.
//
// A punctuator has no record: what it writes carries its own time and no headers.
func (t *Task) punctuate(kind processor.PunctuationType, now int64) error {
	before := *t.meta
	defer func() { *t.meta = before }()
	*t.meta = processor.RecordMetadata{Context: store.Context{Timestamp: now}, Offset: -1}
	for next := 0; next < len(t.punctuators.list); { // a schedule may add others while it runs
		s := t.punctuators.list[next]
		next++
		if s.cancelled || s.kind != kind || s.due > now {
			continue
		}
		s.due += ((now-s.due)/s.interval + 1) * s.interval
		t.running = s.node
		if err := guard(func() error { return s.fn(now) }); err != nil {
			if err := t.failedWithout(err, processor.DuringPunctuator, now); err != nil {
				return err
			}
		}
	}
	live := t.punctuators.list[:0]
	for _, s := range t.punctuators.list {
		if !s.cancelled {
			live = append(live, s)
		}
	}
	t.punctuators.list = live
	t.punctuators.update()
	return nil
}
