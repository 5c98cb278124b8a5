package worker

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/tidemarkio/tidemark/record"
)

// Workers may come and go while the application runs (KIP-663). Tasks change their worker without being closed: they
// are committed there and go on here, as the same task of the same member.

// AddWorker takes a worker that runs, and moves tasks to it until all workers have about as many.
func (m *Manager) AddWorker(ctx context.Context, w *Worker) error {
	unlock, err := m.lockHandover(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	m.mu.Lock()
	m.mu.workers = append(slices.Clone(m.mu.workers), w)
	m.mu.Unlock()
	return m.spread(ctx)
}

// RemoveWorker moves the tasks of a worker to the others. It has none afterwards, and its Run may end.
func (m *Manager) RemoveWorker(ctx context.Context, w *Worker) error {
	unlock, err := m.lockHandover(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	m.mu.Lock()
	rest := slices.DeleteFunc(slices.Clone(m.mu.workers), func(other *Worker) bool { return other == w })
	if len(rest) == 0 {
		m.mu.Unlock()
		return errors.New("worker: the last worker cannot be removed")
	}
	m.mu.workers = rest
	m.mu.Unlock()
	for more := true; more; {
		m.mu.Lock()
		to := m.leastLoadedLocked()
		m.mu.Unlock()
		if more, err = m.shift(ctx, w, to); err != nil {
			return err
		}
	}
	return nil
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
func (m *Manager) spread(ctx context.Context) error {
	for {
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
			return nil
		}
		if _, err := m.shift(ctx, most, to); err != nil {
			return err
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

// move gives a running task to another worker. If that fails, the application has to start again: the task is nowhere.
func (m *Manager) move(ctx context.Context, o *owned, to *Worker) error {
	h := &handover{within: true, done: make(chan struct{})}
	if err := o.worker.give(ctx, h, map[record.TaskID]bool{o.id: true}); err != nil {
		return fmt.Errorf("task %s: move from worker %d: %w", o.id, o.worker.cfg.Index, err)
	}
	m.mu.Lock()
	o.worker = to
	m.mu.Unlock()
	if err := to.adopt(context.WithoutCancel(ctx), h); err != nil { // between two workers there is no way back
		err = fmt.Errorf("task %s: move to worker %d: %w", o.id, to.cfg.Index, err)
		for _, t := range h.stopped {
			err = errors.Join(err, t.Close(false))
		}
		return err
	}
	return nil
}

// adopt takes tasks that another worker has handed over.
func (w *Worker) adopt(ctx context.Context, h *handover) error {
	return w.do(ctx, func(context.Context) error {
		w.unsettled = append(w.unsettled, h.unsettled...)
		for _, r := range h.tasks {
			r.task.RequestCommit() // which says whose transactions it is in from now on
			w.begins(&running{task: r.task, committed: r.committed})
		}
		return nil
	})
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
