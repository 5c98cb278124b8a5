package worker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/tidemarkio/tidemark/record"
)

// Workers may come and go while the application runs (KIP-663). Tasks change their worker without being closed: they
// are committed there and go on here, as the same task of the same member.

// GaveUpError says that a change of the workers was given up, since its context ended, and how things stand: every task
// runs, or is being restored, at one of the workers.
type GaveUpError struct {
	// Kept says that the worker is one of those that tasks run at: after AddWorker it may have got some already, after
	// RemoveWorker it has some left.
	Kept bool
	// Moved is how many tasks have moved.
	Moved int
	// Err is that of the context.
	Err error
}

func (e *GaveUpError) Error() string {
	return fmt.Sprintf("worker: given up after %d tasks had moved: %v", e.Moved, e.Err)
}

// Unwrap returns the error of the context.
func (e *GaveUpError) Unwrap() error { return e.Err }

// AddWorker takes a worker that runs, and moves tasks to it until all workers have about as many. *[GaveUpError]: ctx
// ended before.
func (m *Manager) AddWorker(ctx context.Context, w *Worker) error {
	unlock, err := m.lockHandover(ctx)
	if err != nil {
		return gaveUp(ctx, err, false, 0)
	}
	defer unlock()
	m.mu.Lock()
	m.mu.workers = append(slices.Clone(m.mu.workers), w)
	m.mu.Unlock()
	moved, err := m.spread(ctx)
	return gaveUp(ctx, err, true, moved)
}

// RemoveWorker moves the tasks of a worker to the others. It has none afterwards, and its Run may end. *[GaveUpError]:
// ctx ended before, and it stays one of the workers.
func (m *Manager) RemoveWorker(ctx context.Context, w *Worker) error {
	unlock, err := m.lockHandover(ctx)
	if err != nil {
		return gaveUp(ctx, err, true, 0)
	}
	defer unlock()
	m.mu.Lock()
	before := m.mu.workers
	rest := slices.DeleteFunc(slices.Clone(before), func(other *Worker) bool { return other == w })
	if len(rest) == 0 {
		m.mu.Unlock()
		return errors.New("worker: the last worker cannot be removed")
	}
	m.mu.workers = rest
	m.mu.Unlock()
	for moved := 0; ; moved++ {
		m.mu.Lock()
		to := m.leastLoadedLocked()
		m.mu.Unlock()
		more, err := m.shift(ctx, w, to)
		if err != nil {
			if err = gaveUp(ctx, err, true, moved); isGaveUp(err) {
				m.mu.Lock()
				m.mu.workers = before
				m.mu.Unlock()
			}
			return err
		}
		if !more {
			return nil
		}
	}
}

// gaveUp makes a GaveUpError of the error of a context; other errors stay.
func gaveUp(ctx context.Context, err error, kept bool, moved int) error {
	if err == nil || ctx.Err() == nil || !errors.Is(err, ctx.Err()) {
		return err
	}
	return &GaveUpError{Kept: kept, Moved: moved, Err: ctx.Err()}
}

func isGaveUp(err error) bool {
	_, ok := errors.AsType[*GaveUpError](err)
	return ok
}

// lockHandover keeps the group from taking tasks from their workers.
func (m *Manager) lockHandover(ctx context.Context) (unlock func(), err error) {
	select {
	case m.handover <- struct{}{}:
		return func() { <-m.handover }, nil
	case <-m.ending:
		return nil, ErrStopped
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// spread moves tasks from the workers with the most to the one with the fewest, until that changes nothing.
func (m *Manager) spread(ctx context.Context) (moved int, err error) {
	for ; ; moved++ {
		m.mu.Lock()
		n := m.loadLocked()
		to, most := m.leastLoadedLocked(), m.mu.workers[0]
		for _, w := range m.mu.workers {
			if n[w] > n[most] {
				most = w
			}
		}
		m.mu.Unlock()
		if n[most]-n[to] < 2 {
			return moved, nil
		}
		if _, err := m.shift(ctx, most, to); err != nil {
			return moved, err
		}
	}
}

// shift moves one task of a worker to another, by preference one that runs: those that are still being restored are
// only told to start there. more is false if there is none.
func (m *Manager) shift(ctx context.Context, from, to *Worker) (more bool, err error) {
	for {
		m.mu.Lock()
		var o *owned
		for _, other := range m.mu.tasks {
			if other.worker != from {
				continue
			}
			if o == nil || other.running && !o.running || other.running == o.running && other.id.Compare(o.id) < 0 {
				o = other
			}
		}
		switch {
		case o == nil:
			m.mu.Unlock()
			return false, nil
		case o.running:
			m.mu.Unlock()
			return true, m.move(ctx, o, to)
		case !o.starting:
			o.worker = to
			m.mu.Unlock()
			return true, nil
		}
		m.mu.Unlock()
		select {
		case <-o.settled:
			if m.stillborn(o) {
				return false, fmt.Errorf("worker: task %s did not start: %w", o.id, ErrStopped)
			}
		case <-m.ending:
			return false, ErrStopped
		case <-ctx.Done():
			return true, ctx.Err()
		}
	}
}

// stillborn reports that a task has settled and does not run: the application stops, or is about to.
func (m *Manager) stillborn(o *owned) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return !o.running
}

// move gives a running task to another worker. If ctx ends before the worker has let go of it, it stays there. If
// anything else fails the application has to start again: the task is nowhere.
func (m *Manager) move(ctx context.Context, o *owned, to *Worker) error {
	h := &handover{within: true, done: make(chan struct{})}
	if err := o.worker.give(ctx, h, map[record.TaskID]bool{o.id: true}); err != nil {
		return fmt.Errorf("task %s: move from worker %d: %w", o.id, o.worker.cfg.Index, err)
	}
	m.mu.Lock()
	o.worker = to
	m.mu.Unlock()
	if err := to.adopt(h); err != nil {
		err = fmt.Errorf("task %s: move to worker %d: %w", o.id, to.cfg.Index, err)
		for _, t := range h.stopped {
			err = errors.Join(err, t.Close(false))
		}
		return err
	}
	return nil
}

// adopted are hand-overs on their way to a worker. Who hands over does not wait: a worker that is busy with a slow
// processor takes them when it comes by, and there is no way back meanwhile.
type adopted struct {
	wake chan struct{}
	mu   sync.Mutex
	list []*handover
	// closed: the worker has ended, and takes nothing any more.
	closed bool
}

// adopt gives the worker tasks that another one has handed over. [ErrStopped]: it has ended, and they are the caller's.
func (w *Worker) adopt(h *handover) error {
	w.adopted.mu.Lock()
	defer w.adopted.mu.Unlock()
	if w.adopted.closed {
		return ErrStopped
	}
	w.adopted.list = append(w.adopted.list, h)
	select {
	case w.adopted.wake <- struct{}{}:
	default:
	}
	return nil
}

func (a *adopted) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closed = true
}

// adoptAll begins with what was adopted.
func (w *Worker) adoptAll() {
	w.adopted.mu.Lock()
	list := w.adopted.list
	w.adopted.list = nil
	w.adopted.mu.Unlock()
	for _, h := range list {
		w.unsettled = append(w.unsettled, h.unsettled...)
		for _, r := range h.tasks {
			r.task.RequestCommit() // which says whose transactions it is in from now on
			w.begins(&running{task: r.task, committed: r.committed})
		}
	}
}

// unsettledOf returns what the next commit has to end of a task's transactions in other systems.
func (w *Worker) unsettledOf(r *running) (list []unsettled) {
	for _, u := range w.unsettled {
		if u.Name.Task == r.task.ID() {
			list = append(list, u)
		}
	}
	return list
}
