package worker

import (
	"context"
	"log/slog"

	"github.com/tidemarkio/tidemark/processor/task"
	"github.com/tidemarkio/tidemark/record"
)

// handover takes tasks from the worker for good, without stopping the others, which process on meanwhile:
//
//	leaving tasks stop ──► the commit in flight ends ──► theirs begins ──► its outcome is here ──► taken
//
// At most one transaction is in flight, so the others cannot commit while that of the leaving tasks is.
type handover struct {
	tasks []*running
	// tried says that the commit of the tasks has begun: what is not committed after it is dropped.
	tried   bool
	stopped []*task.Task // valid when done is closed
	done    chan struct{}
}

// Stop takes tasks away: what they have done is committed, or dropped if commit is false or fails. The tasks come back
// unclosed, since closing a database takes time that a rebalance does not have. If ctx ends, the commit that is under
// way is interrupted.
func (w *Worker) Stop(ctx context.Context, ids map[record.TaskID]bool, commit bool) ([]*task.Task, error) {
	h := &handover{tried: !commit, done: make(chan struct{})}
	err := w.do(ctx, func(context.Context) error {
		for _, r := range w.tasks {
			if ids[r.task.ID()] && !r.leaving {
				r.leaving = true
				h.tasks = append(h.tasks, r)
			}
		}
		if !commit {
			if w.inflight != nil && w.inflight.includes(h.tasks) {
				// Its outcome is somebody else's business now, but the batches it is sending are still the tasks'.
				w.await(ctx)
			}
			w.take(h)
			return nil
		}
		w.handovers = append(w.handovers, h)
		return nil
	})
	if err != nil {
		return nil, err
	}
	select {
	case <-h.done:
	case <-w.done:
	case <-ctx.Done():
		err = w.do(context.WithoutCancel(ctx), func(context.Context) error {
			select {
			case <-h.done: // meanwhile
			default:
				w.await(ctx) // which has ended: it interrupts
				w.take(h)
			}
			return nil
		})
	}
	select {
	case <-h.done:
		return h.stopped, nil
	default:
	}
	if err == nil {
		err = ErrStopped
	}
	return nil, err
}

// handOver goes on with the hand-overs, as far as no commit is in flight.
func (w *Worker) handOver() {
	for len(w.handovers) > 0 && w.inflight == nil && w.failed == nil {
		h := w.handovers[0]
		if !h.tried {
			h.tried = true
			if err := w.begin(h.tasks); err != nil {
				w.cfg.Logger.Error("cannot commit before hand-over: the input will be processed again by the next owner",
					slog.Int("worker", w.cfg.Index), slog.Any("error", err))
			}
			continue
		}
		w.take(h)
	}
}

// take gives the tasks of a hand-over away. What they have not committed is dropped.
func (w *Worker) take(h *handover) {
	for i, other := range w.handovers {
		if other == h {
			w.handovers = append(w.handovers[:i], w.handovers[i+1:]...)
			break
		}
	}
	for _, r := range h.tasks {
		w.leave(r)
		w.remove(r)
		if r.task.Dirty() || r.task.InFlight() {
			if err := r.task.Rollback(r.committed); err != nil {
				w.cfg.Logger.Error("cannot roll back", slog.String("task", r.task.ID().String()), slog.Any("error", err))
			}
		}
		h.stopped = append(h.stopped, r.task)
	}
	close(h.done)
}
