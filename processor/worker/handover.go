package worker

import (
	"context"
	"log/slog"
	"slices"
	"sync/atomic"

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
	tried bool
	// within says that the tasks go to another worker of this instance.
	within bool
	// fate is decided once: the worker takes the tasks, or who asked for a hand-over within the instance withdraws it.
	fate atomic.Int32
	done chan struct{}
	// The rest is valid when done is closed.

	stopped []*task.Task
	// unsettled are, of a hand-over within the instance, transactions of other systems that their next worker has to end.
	unsettled []unsettled
}

// Fates of a hand-over.
const (
	undecided int32 = iota
	taken
	withdrawn
)

// Stop takes tasks away: what they have done is committed, or dropped if commit is false or fails. The tasks come back
// unclosed, since closing a database takes time that a rebalance does not have. If ctx ends, the commit that is under
// way is interrupted.
func (w *Worker) Stop(ctx context.Context, ids map[record.TaskID]bool, commit bool) ([]*task.Task, error) {
	h := &handover{tried: !commit, done: make(chan struct{})}
	err := w.give(ctx, h, ids)
	return h.stopped, err
}

// give carries a hand-over out. If ctx ends before one within the instance is done, it is withdrawn: the tasks go on
// where they are, whatever their worker is doing.
func (w *Worker) give(ctx context.Context, h *handover, ids map[record.TaskID]bool) error {
	commit := !h.tried
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
		return err
	}
	select {
	case <-h.done:
	case <-w.done:
	case <-ctx.Done():
		if h.within {
			if h.fate.CompareAndSwap(undecided, withdrawn) {
				return ctx.Err()
			}
			select { // taken meanwhile
			case <-h.done:
			case <-w.done:
			}
			break
		}
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
		return nil
	default:
	}
	if err == nil {
		err = ErrStopped
	}
	return err
}

// dropWithdrawn lets the tasks of hand-overs go on that were withdrawn. A commit of theirs that is in flight is one
// like any other.
func (w *Worker) dropWithdrawn() {
	w.handovers = slices.DeleteFunc(w.handovers, func(h *handover) bool {
		if h.fate.Load() != withdrawn {
			return false
		}
		for _, r := range h.tasks {
			r.leaving = false
		}
		return true
	})
}

// handOver goes on with the hand-overs, as far as no commit is in flight.
func (w *Worker) handOver() {
	w.dropWithdrawn()
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
	if !h.fate.CompareAndSwap(undecided, taken) {
		w.dropWithdrawn()
		return
	}
	for i, other := range w.handovers {
		if other == h {
			w.handovers = append(w.handovers[:i], w.handovers[i+1:]...)
			break
		}
	}
	for _, r := range h.tasks {
		if h.within {
			h.unsettled = append(h.unsettled, w.unsettledOf(r)...)
		}
		w.leave(r)
		w.remove(r)
		if h.within || r.task.Dirty() || r.task.InFlight() { // within: also what was fetched, by another fetcher
			if err := r.task.Rollback(r.committed); err != nil {
				w.cfg.Logger.Error("cannot roll back", slog.String("task", r.task.ID().String()), slog.Any("error", err))
			}
		}
		w.release(r)
		h.stopped = append(h.stopped, r.task)
	}
	close(h.done)
}
