package task

import (
	"fmt"
	"math"

	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/store"
)

// expiry deletes what expires in stores with a TTL. Unlike punctuators it comes before what moved time is processed:
// then nobody sees an entry that has expired, and the order of results does not depend on when a commit falls. Owned by
// the task goroutine.
type expiry struct {
	byStream, byWall []store.Expiring
}

func newExpiry(stores []store.Expiring) (e expiry) {
	for _, s := range stores {
		if s.Time() == store.WallClock {
			e.byWall = append(e.byWall, s)
		} else {
			e.byStream = append(e.byStream, s)
		}
	}
	return e
}

// nextWall is when the next entry may expire by the wall clock.
func (e *expiry) nextWall() int64 {
	next := int64(math.MaxInt64)
	for _, s := range e.byWall {
		next = min(next, s.Due())
	}
	return next
}

func (e *expiry) reset() {
	for _, list := range [2][]store.Expiring{e.byStream, e.byWall} {
		for _, s := range list {
			s.Reset()
		}
	}
}

// advance moves stream time.
func (t *Task) advance(streamTime int64) error {
	t.streamTime, t.times.Stream = streamTime, streamTime
	if len(t.expiry.byStream) == 0 {
		return nil
	}
	return t.expire(t.expiry.byStream, streamTime)
}

// tick moves the wall clock.
func (t *Task) tick(wallClock int64) error {
	t.wallClock, t.times.Wall = wallClock, wallClock
	if len(t.expiry.byWall) == 0 {
		return nil
	}
	return t.expire(t.expiry.byWall, wallClock)
}

// expire deletes what is due. User code downstream may fail on the tombstones: if the handler lets it pass, the rest
// expires all the same.
func (t *Task) expire(stores []store.Expiring, now int64) error {
	before := *t.meta
	defer func() { *t.meta = before }()
	for _, s := range stores {
		for now >= s.Due() {
			t.dirty, t.running = true, s.Name()
			*t.meta = processor.RecordMetadata{Context: store.Context{Timestamp: now}, Offset: -1}
			err := guard(func() error { return s.Expire(now) })
			if err == nil {
				break
			}
			if !isUsers(err) {
				return fmt.Errorf("task %s: expiry in store %q: %w", t.cfg.ID, s.Name(), err)
			}
			if err := t.failedWithout(err, processor.DuringExpiry, now); err != nil {
				return err
			}
		}
	}
	return nil
}
