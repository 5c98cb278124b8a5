package worker

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/tidemarkio/tidemark/internal/clock"
	"github.com/tidemarkio/tidemark/processor/assign"
	"github.com/tidemarkio/tidemark/processor/task"
	"github.com/tidemarkio/tidemark/record"
)

// StandbysConfig is what Standbys are made from.
type StandbysConfig struct {
	Restorer *Restorer
	// Fetcher is for the standbys alone.
	Fetcher Fetcher
	// AcceptableLag is how far behind a warm-up may be that asks for its task (acceptable.recovery.lag).
	AcceptableLag int64
	// OnCaughtUp is told of a warm-up whose lag is acceptable, and again after growing pauses while it stays a warm-up.
	// Called by the follower; it must not wait.
	OnCaughtUp func(id record.TaskID)
	// Poll is how often the ends are asked for of changelogs from which nothing comes, and the committed positions of
	// input topics that are changelogs. Defaults to a second.
	Poll     time.Duration
	Listener StandbyListener
}

// Standbys are the tasks whose state this member keeps up to date while others run them: replicas that wait for a
// crash, and warm-ups that are to run here. Run is the follower: one goroutine with one Fetcher, which has the stores
// of all of them.
type Standbys struct {
	cfg      StandbysConfig
	commands chan command
	stopped  chan struct{}

	mu struct {
		sync.Mutex
		all map[record.TaskID]*standby
	}

	// Owned by the follower.
	attached map[record.TaskID]*standby
	byLog    map[record.TopicPartition][]*followedLog
	limits   map[record.TopicPartition]int64
}

// NewStandbys makes Standbys; nothing follows before Run runs.
func NewStandbys(cfg StandbysConfig) *Standbys {
	if cfg.Poll <= 0 {
		cfg.Poll = time.Second
	}
	s := &Standbys{
		cfg: cfg, commands: make(chan command), stopped: make(chan struct{}),
		attached: make(map[record.TaskID]*standby), byLog: make(map[record.TopicPartition][]*followedLog),
		limits: make(map[record.TopicPartition]int64),
	}
	s.mu.all = make(map[record.TaskID]*standby)
	return s
}

func (s *Standbys) clock() clock.Clock { return s.cfg.Restorer.cfg.Clock }

// Run follows until ctx ends.
func (s *Standbys) Run(ctx context.Context) {
	defer close(s.stopped)
	var watch sync.WaitGroup
	defer watch.Wait()
	watch.Go(func() { s.watch(ctx) })
	for {
		select {
		case c := <-s.commands:
			c.done <- c.run(ctx)
		case f := <-s.cfg.Fetcher.Batches():
			s.fetched(f)
		case <-ctx.Done():
			return
		}
	}
}

// do runs fn on the follower and waits for it.
func (s *Standbys) do(ctx context.Context, fn func() error) error {
	c := command{run: func(context.Context) error { return fn() }, done: make(chan error, 1)}
	select {
	case s.commands <- c:
	case <-s.stopped:
		return ErrStopped
	case <-ctx.Done():
		return ctx.Err()
	}
	return <-c.done
}

// start makes a standby, or tells the one that there is what it is. before is closed when the task's directory is free.
// background runs its goroutine.
func (s *Standbys) start(id record.TaskID, warmUp bool, before <-chan struct{}, background *sync.WaitGroup) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if at := s.mu.all[id]; at != nil {
		at.warmUp = warmUp
		return
	}
	ctx, give := context.WithCancel(context.Background())
	soon, hurry := context.WithCancel(ctx)
	at := &standby{
		id: id, all: s, before: before, give: give, hurry: hurry, done: make(chan struct{}), broken: make(chan error, 1),
		warmUp: warmUp,
	}
	s.mu.all[id] = at
	background.Go(func() {
		defer give()
		at.run(ctx, soon)
	})
}

// take ends a standby; nil if there is none. Its stores are the caller's once it is done: see standby.result.
func (s *Standbys) take(id record.TaskID, why SuspendReason) *standby {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := s.mu.all[id]
	if at == nil {
		return nil
	}
	delete(s.mu.all, id)
	at.taken = why
	at.hurry()
	// A new owner waits for a snapshot that is being loaded, unless it would start without.
	if why != StandbyPromoted || s.cfg.Restorer.cfg.Lazy && at.replica == nil {
		at.give()
	}
	return at
}

// ids lists the standbys.
func (s *Standbys) ids() []record.TaskID {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.SortedFunc(maps.Keys(s.mu.all), record.TaskID.Compare)
}

// report tells the leader of the standbys, and how far those are whose stores are open.
func (s *Standbys) report(sub *assign.Subscription) {
	sub.Following = s.ids()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range sub.Following {
		one := s.mu.all[id]
		delete(sub.Positions, id)
		if one == nil {
			continue
		}
		if one.warmUp {
			sub.Warming = append(sub.Warming, id)
		}
		if one.replica == nil {
			continue
		}
		sub.Positions[id] = one.replica.position()
		if one.state == StandbyFollowing && one.replica.lag() <= s.cfg.AcceptableLag {
			sub.Ready = append(sub.Ready, id)
		}
	}
}

// Snapshot shows the standbys, by task.
func (s *Standbys) Snapshot() []StandbySnapshot {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []StandbySnapshot
	for _, one := range s.mu.all {
		out = append(out, one.snapshotLocked())
	}
	slices.SortFunc(out, func(a, b StandbySnapshot) int { return a.ID.Compare(b.ID) })
	return out
}

// attach gives the stores of a standby to the follower.
func (s *Standbys) attach(ctx context.Context, at *standby) error {
	return s.do(ctx, func() error {
		at.become(StandbyFollowing, nil)
		s.attached[at.id] = at
		at.askAt, at.askAfter = time.Time{}, s.cfg.Poll
		for _, l := range at.replica.follows {
			s.byLog[l.tp] = append(s.byLog[l.tp], l)
			if l.limited() {
				s.limits[l.tp] = max(s.limits[l.tp], l.end.Load())
			}
		}
		for _, l := range at.replica.follows { // once all are there: two stores may have one log
			if l.limited() {
				s.resume(l.tp)
			} else {
				s.cfg.Fetcher.Add(l.tp, l.at.Load())
			}
		}
		s.consider(at)
		return nil
	})
}

// detach takes the stores back.
func (s *Standbys) detach(ctx context.Context, at *standby) error {
	err := s.do(context.WithoutCancel(ctx), func() error {
		s.drop(at)
		return nil
	})
	if errors.Is(err, ErrStopped) {
		return nil // then nobody else has them either
	}
	return err
}

// drop forgets a standby.
func (s *Standbys) drop(at *standby) {
	if s.attached[at.id] != at {
		return
	}
	delete(s.attached, at.id)
	for _, l := range at.replica.follows {
		rest := slices.DeleteFunc(s.byLog[l.tp], func(o *followedLog) bool { return o == l })
		if len(rest) > 0 {
			s.byLog[l.tp] = rest
			continue
		}
		delete(s.byLog, l.tp)
		delete(s.limits, l.tp)
		s.cfg.Fetcher.Remove(l.tp)
	}
}

// letGo is drop with the reason for the standby's goroutine.
func (s *Standbys) letGo(at *standby, err error) {
	s.drop(at)
	select {
	case at.broken <- err:
	default: // it has one already
	}
}

// Read runs fn with the stores of a standby that follows: it waits for the follower to come by, at most until ctx ends.
// fn must be quick and change nothing. Its error, or panic, is the caller's. [ErrNoTask]: there is none.
func (s *Standbys) Read(ctx context.Context, id record.TaskID, fn func(t *task.Task, st Staleness) error) error {
	err := s.do(ctx, func() (err error) {
		defer func() {
			if r := recover(); r != nil {
				err = fmt.Errorf("task %s: a reader panicked: %v\n%s", id, r, debug.Stack())
			}
		}()
		at := s.attached[id]
		if at == nil {
			return ErrNoTask
		}
		p := at.replica
		return fn(p.task, p.staleness())
	})
	if errors.Is(err, ErrStopped) {
		return ErrNoTask
	}
	return err
}
