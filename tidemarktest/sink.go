package tidemarktest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"

	"github.com/tidemarkio/tidemark/eos"
	"github.com/tidemarkio/tidemark/processor/task"
)

// Sink is a two-phase sink in memory (eos.Sink), in the place of a database. Make it with [NewSink], and give it to
// topology.SinkTo. Rows are in it from [Driver.Commit] on, exactly once whatever fails. It is safe for concurrent use.
type Sink[R any] struct {
	mu       sync.Mutex
	fault    func(step SinkStep, name eos.TransactionName) error
	rows     []R
	prepared map[eos.TransactionName][]R
	owners   map[eos.SinkTask]*sinkConn[R]
}

// SinkStep is a moment in the life of a [Sink]'s transactions.
type SinkStep string

// Steps, in the order in which they come. Those that end in d come after the effect: their failure is a lost answer.
const (
	SinkConnect   SinkStep = "connect"
	SinkRecover   SinkStep = "recover"
	SinkRecovered SinkStep = "recovered"
	SinkPrepare   SinkStep = "prepare"
	SinkPrepared  SinkStep = "prepared"
	SinkCommit    SinkStep = "commit"
	SinkCommitted SinkStep = "committed"
	SinkAbort     SinkStep = "abort"
	SinkAborted   SinkStep = "aborted"
)

// NewSink makes an empty sink.
func NewSink[R any]() *Sink[R] {
	return &Sink[R]{prepared: make(map[eos.TransactionName][]R), owners: make(map[eos.SinkTask]*sinkConn[R])}
}

// FailWith has fault asked at every step; its error is that of the step. The name is empty where there is none yet. nil
// ends it. A driver whose commit fails stops, and [Driver.Crash] starts it again: a crash in that step.
func (s *Sink[R]) FailWith(fault func(step SinkStep, name eos.TransactionName) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = fault
}

// Rows returns what is committed, in the order of the commits.
func (s *Sink[R]) Rows() []R {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.rows)
}

// Prepared names what is prepared and not ended; nothing between two commits.
func (s *Sink[R]) Prepared() []eos.TransactionName {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.preparedLocked(func(eos.TransactionName) bool { return true })
}

func (s *Sink[R]) preparedLocked(is func(n eos.TransactionName) bool) []eos.TransactionName {
	var names []eos.TransactionName
	for n := range s.prepared {
		if is(n) {
			names = append(names, n)
		}
	}
	slices.SortFunc(names, func(a, b eos.TransactionName) int {
		if c := a.Task.Compare(b.Task); c != 0 {
			return c
		}
		return int(int64(a.Epoch) - int64(b.Epoch))
	})
	return names
}

// String implements eos.Sink.
func (s *Sink[R]) String() string { return "memory" }

// Idempotent implements eos.Sink.
func (s *Sink[R]) Idempotent() bool { return false }

// SizeBytes implements eos.Sink.
func (s *Sink[R]) SizeBytes(R) int { return 1 }

// Connect implements eos.Sink.
func (s *Sink[R]) Connect(_ context.Context, at eos.SinkTask) (eos.SinkConn[R], error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at.Logger = nil // at is a key from here on
	return &sinkConn[R]{sink: s, at: at}, s.stepLocked(SinkConnect, eos.TransactionName{})
}

func (s *Sink[R]) stepLocked(step SinkStep, name eos.TransactionName) error {
	if s.fault == nil {
		return nil
	}
	return s.fault(step, name)
}

// sinkConn is the connection of one task. The last one to recover is the owner.
type sinkConn[R any] struct {
	sink *Sink[R]
	at   eos.SinkTask
}

// Recover implements eos.Participant.
func (c *sinkConn[R]) Recover(context.Context) ([]eos.TransactionName, error) {
	s := c.sink
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.stepLocked(SinkRecover, eos.TransactionName{}); err != nil {
		return nil, err
	}
	s.owners[c.at] = c
	names := s.preparedLocked(func(n eos.TransactionName) bool { return n.For(c.at) })
	return names, s.stepLocked(SinkRecovered, eos.TransactionName{})
}

// Prepare implements eos.SinkConn.
func (c *sinkConn[R]) Prepare(_ context.Context, name eos.TransactionName, rows []R) error {
	s := c.sink
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.stepLocked(SinkPrepare, name); err != nil {
		return err
	}
	if s.owners[c.at] != c {
		return fmt.Errorf("tidemarktest: task %s has another owner at the sink: %w", name.Task, eos.ErrFenced)
	}
	if _, ok := s.prepared[name]; ok {
		return fmt.Errorf("tidemarktest: %s is prepared already", name)
	}
	s.prepared[name] = slices.Clone(rows)
	return s.stepLocked(SinkPrepared, name)
}

// Commit implements eos.Participant.
func (c *sinkConn[R]) Commit(_ context.Context, name eos.TransactionName) error {
	s := c.sink
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.stepLocked(SinkCommit, name); err != nil {
		return err
	}
	rows, ok := s.prepared[name]
	if !ok {
		return eos.ErrNotPrepared
	}
	delete(s.prepared, name)
	s.rows = append(s.rows, rows...)
	return s.stepLocked(SinkCommitted, name)
}

// Abort implements eos.Participant.
func (c *sinkConn[R]) Abort(_ context.Context, name eos.TransactionName) error {
	s := c.sink
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.stepLocked(SinkAbort, name); err != nil {
		return err
	}
	delete(s.prepared, name)
	return s.stepLocked(SinkAborted, name)
}

// Close implements eos.Participant.
func (c *sinkConn[R]) Close() error { return nil }

// connectSinks takes a task over at its sinks, as a restart does.
func (r *runner) connectSinks(t *task.Task) error {
	r.d.starts++
	return t.ConnectSinks(context.Background(), "start"+strconv.Itoa(r.d.starts), []eos.Metadata{r.last})
}

// prepareSinks does the first half of a commit in other systems.
func prepareSinks(epochs []*task.Epoch) (all []task.External, err error) {
	for _, e := range epochs {
		if e == nil {
			continue
		}
		for _, x := range e.Externals {
			if err := x.Prepare(context.Background()); err != nil {
				return nil, err
			}
			all = append(all, x)
		}
	}
	return all, nil
}

// commitSinks does the second half. After an error the driver stops, and its next start ends what is prepared.
func commitSinks(externals []task.External) error {
	for _, x := range externals {
		if err := x.Conn.Commit(context.Background(), x.Name); err != nil && !errors.Is(err, eos.ErrNotPrepared) {
			return fmt.Errorf("tidemarktest: commit %s: %w", x.Name, err)
		}
	}
	return nil
}
