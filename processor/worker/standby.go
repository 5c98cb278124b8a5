package worker

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/store"
)

// Pauses before a standby begins again that failed.
const (
	standbyRetryFirst = time.Second
	standbyRetryMax   = time.Minute
)

// standby is a task whose state is kept up to date here while another member runs it.
//
//	waiting ──► opening ──► restoring ──► following ──► taken: promoted, or closed
//	   ▲           │            │             │
//	   └───────────┴── failed ──┴─────────────┘
//
// A goroutine of its own brings it to following, in which the follower has its stores. Whoever takes it says so by
// ending hurry, waits for done, and has the stores then.
type standby struct {
	id  record.TaskID
	all *Standbys
	// before is closed when the task's directory is free; nil: it is.
	before <-chan struct{}
	// give ends everything, hurry only what a new owner does not wait for: it would have to open the task itself.
	give, hurry context.CancelFunc
	done        chan struct{}
	// broken gets why the follower has let it go. Capacity 1.
	broken chan error

	// Guarded by Standbys.mu.
	warmUp  bool
	state   StandbyState
	failure string
	taken   SuspendReason // 0: it is not
	replica *replica      // owned as replica says; nil: nothing is open

	// Owned by the follower: when a warm-up may ask for its task, again, and the pause behind that.
	askAt    time.Time
	askAfter time.Duration
}

// run is the standby's goroutine. hurry ends before ctx does, or with it.
func (s *standby) run(ctx, hurry context.Context) {
	defer close(s.done)
	if s.before != nil {
		select {
		case <-s.before:
		case <-hurry.Done():
			return
		}
	}
	pause := standbyRetryFirst
	for {
		began := s.all.clock().Now()
		err := s.once(ctx, hurry)
		if hurry.Err() != nil {
			s.suspended(s.reason())
			return
		}
		s.failed(err)
		if s.all.clock().Since(began) > standbyRetryMax {
			pause = standbyRetryFirst
		}
		select {
		case <-s.all.clock().After(pause):
			pause = min(2*pause, standbyRetryMax)
		case <-hurry.Done():
			return
		}
	}
}

// once brings the standby to following, and returns when that has ended. What is open then stays.
func (s *standby) once(ctx, hurry context.Context) error {
	r := s.all.cfg.Restorer
	if err := r.standbys.Acquire(hurry, 1); err != nil {
		return err
	}
	err := s.bringUp(ctx, hurry)
	r.standbys.Release(1)
	if err != nil {
		return err
	}
	if err := s.all.attach(hurry, s); err != nil {
		return err
	}
	select {
	case err := <-s.broken:
		return err
	case <-hurry.Done():
		return s.all.detach(ctx, s)
	}
}

// bringUp opens the stores and reads what the changelogs have now. When hurry ends the stores stay open.
func (s *standby) bringUp(ctx, hurry context.Context) error {
	s.become(StandbyOpening, nil)
	p, err := s.all.cfg.Restorer.openStandby(ctx, s.id)
	if err != nil {
		return err
	}
	s.become(StandbyRestoring, p)
	for _, l := range p.follows {
		call(s.all.cfg.Listener.OnUpdateStart, StandbyUpdateStart{
			Task: s.id, Store: l.store, TopicPartition: l.tp, WarmUp: s.isWarmUp(), From: l.from, Base: l.base,
		})
	}
	return s.all.cfg.Restorer.catchUp(hurry, p, s.loaded)
}

// loaded tells of records.
func (s *standby) loaded(l *followedLog, records int) {
	call(s.all.cfg.Listener.OnBatchLoaded, StandbyBatchLoaded{
		Task: s.id, Store: l.store, TopicPartition: l.tp, Records: records, Position: l.at.Load(), End: l.end.Load(),
	})
}

// suspended tells that the stores do not follow any more.
func (s *standby) suspended(why SuspendReason) {
	p := s.opened()
	if p == nil {
		return
	}
	for _, l := range p.follows {
		call(s.all.cfg.Listener.OnUpdateSuspended, StandbyUpdateSuspended{
			Task: s.id, Store: l.store, TopicPartition: l.tp, Position: l.at.Load(), End: l.end.Load(), Reason: why,
		})
	}
}

// failed puts away what is open, so that the next attempt begins again. It is no reason to stop the instance: the task
// runs elsewhere.
func (s *standby) failed(err error) {
	if err == nil {
		return
	}
	r := s.all.cfg.Restorer
	r.cfg.Logger.Error("a standby has failed: it begins again from its nearest base", slog.String("task", s.id.String()),
		slog.Any("error", err))
	s.suspended(StandbyFailed)
	p := s.opened()
	s.all.mu.Lock()
	s.state, s.replica, s.failure = StandbyWaiting, nil, err.Error()
	s.all.mu.Unlock()
	if p == nil {
		return
	}
	closed := p.task.Close(false)
	if _, corrupt := errors.AsType[*store.CorruptError](err); corrupt { // else opening decides what it is good for
		closed = errors.Join(closed, p.o.discard(s.id, err.Error()))
	}
	if closed != nil {
		r.cfg.Logger.Error("closing a standby that failed", slog.String("task", s.id.String()), slog.Any("error", closed))
	}
}

func (s *standby) become(state StandbyState, p *replica) {
	s.all.mu.Lock()
	s.state = state
	if p != nil {
		s.replica = p
	}
	s.all.mu.Unlock()
}

func (s *standby) isWarmUp() bool {
	s.all.mu.Lock()
	defer s.all.mu.Unlock()
	return s.warmUp
}

func (s *standby) reason() SuspendReason {
	s.all.mu.Lock()
	defer s.all.mu.Unlock()
	return s.taken
}

// opened returns what is open, nil if nothing is.
func (s *standby) opened() *replica {
	s.all.mu.Lock()
	defer s.all.mu.Unlock()
	return s.replica
}

// result waits for the end of the standby, which was taken, and returns what it leaves open: nil if that is nothing. If
// ctx ends nothing more is opened for it.
func (s *standby) result(ctx context.Context) *replica {
	select {
	case <-s.done:
	case <-ctx.Done():
		s.give()
		<-s.done
	}
	return s.opened()
}

// snapshot shows the standby. Standbys.mu is held.
func (s *standby) snapshotLocked() StandbySnapshot {
	out := StandbySnapshot{ID: s.id, WarmUp: s.warmUp, State: s.state, Failure: s.failure}
	p := s.replica
	if p == nil {
		return out
	}
	for _, l := range p.follows {
		out.Stores = append(out.Stores, StandbyStore{
			Store: l.store, TopicPartition: l.tp, Position: l.at.Load(), End: l.end.Load(),
		})
	}
	out.Lag = p.lag()
	if at := p.caughtUp.Load(); at > 0 {
		out.CaughtUp = time.UnixMilli(at)
		return out // what it reads since comes at the pace of its owner
	}
	if done, took := p.position()-p.from, s.all.clock().Since(p.began); done > 0 && took > 0 {
		out.Remaining = time.Duration(float64(took) / float64(done) * float64(out.Lag))
	}
	return out
}
