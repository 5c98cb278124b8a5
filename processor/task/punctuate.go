package task

import (
	"errors"
	"fmt"
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

// schedule is a punctuator, or an alarm, which knows itself when it is due.
type schedule struct {
	node      string
	kind      processor.PunctuationType
	interval  int64 // ms
	due       int64
	fn        func(timestamp int64) error
	cancelled bool

	alarm processor.Alarm // nil: a punctuator
	name  string          // of the alarm

	// sealed and committed are due at the end of the sealed and of the last committed epoch.
	sealed, committed int64
}

func (s *schedule) dueAt() int64 {
	if s.alarm != nil {
		return s.alarm.Due()
	}
	return s.due
}

// fire calls user code.
func (s *schedule) fire(now int64) error {
	if s.alarm != nil {
		return s.alarm.Fire(now)
	}
	s.due += ((now-s.due)/s.interval + 1) * s.interval
	return s.fn(now)
}

func (s *schedule) during() string {
	if s.alarm != nil {
		return processor.DuringTimer
	}
	return processor.DuringPunctuator
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
	s.sealed, s.committed = s.due, s.due
	t.punctuators.list = append(t.punctuators.list, s)
	t.punctuators.update()
	return func() {
		s.cancelled = true
		t.punctuators.update()
	}
}

// AddAlarm implements processor.TaskContext.
func (t *Task) AddAlarm(
	node, name string, kind processor.PunctuationType, a processor.Alarm,
) (changed func(), err error) {
	for _, s := range t.punctuators.list {
		if s.alarm != nil && s.name == name && s.kind == kind {
			return nil, fmt.Errorf("task %s: the timers in store %q belong to node %q already: give each node a store",
				t.cfg.ID, name, s.node)
		}
	}
	t.punctuators.list = append(t.punctuators.list, &schedule{node: node, name: name, kind: kind, alarm: a})
	t.punctuators.update()
	return t.punctuators.update, nil
}

// seal, commit and rollback let schedules share the fate of what they caused: one that fired in an epoch that is
// dropped is due again.
func (p *punctuators) seal() {
	for _, s := range p.list {
		s.sealed = s.due
	}
}

func (p *punctuators) commit() {
	for _, s := range p.list {
		s.committed = s.sealed
	}
}

func (p *punctuators) rollback() {
	for _, s := range p.list {
		s.due, s.sealed = s.committed, s.committed
		if s.alarm != nil {
			s.alarm.Reset()
		}
	}
	p.update()
}

// update recomputes when the next schedule is due and forgets cancelled ones.
func (p *punctuators) update() {
	p.nextStream, p.nextWall = math.MaxInt64, math.MaxInt64
	for _, s := range p.list {
		switch {
		case s.cancelled:
		case s.kind == processor.StreamTime:
			p.nextStream = min(p.nextStream, s.dueAt())
		default:
			p.nextWall = min(p.nextWall, s.dueAt())
		}
	}
}

// punctuate fires every due schedule of the kind once; the next time a punctuator is due is the first multiple of the
// interval (counted from the first one) that lies in the future. An error or panic goes to the handler; what comes back
// is final.
//
// A punctuator has no record: what it writes carries its own time and no headers.
func (t *Task) punctuate(kind processor.PunctuationType, now int64) error {
	before := *t.meta
	defer func() { *t.meta = before }()
	*t.meta = processor.RecordMetadata{Context: store.Context{Timestamp: now}, Offset: -1}
	for next := 0; next < len(t.punctuators.list); { // a schedule may add others while it runs
		s := t.punctuators.list[next]
		next++
		if s.cancelled || s.kind != kind || s.dueAt() > now {
			continue
		}
		if err := t.fire(s, now); err != nil {
			return err
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

// fire calls a schedule that is due. Of an alarm's timers the others still fire when one has failed.
func (t *Task) fire(s *schedule, now int64) error {
	for {
		t.running = s.node
		err := guard(func() error { return s.fire(now) })
		if err == nil {
			return nil
		}
		var user *processor.UserError
		var panicked *panicError
		if s.alarm != nil && !errors.As(err, &user) && !errors.As(err, &panicked) {
			return fmt.Errorf("task %s: timers %q: %w", t.cfg.ID, s.name, err) // it would come again
		}
		if err := t.failedWithout(err, s.during(), now); err != nil || s.alarm == nil {
			return err
		}
	}
}
