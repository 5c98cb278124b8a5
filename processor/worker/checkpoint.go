package worker

import (
	"context"
	"slices"

	"github.com/tidemarkio/tidemark/checkpointing"
	"github.com/tidemarkio/tidemark/eos"
	"github.com/tidemarkio/tidemark/processor/task"
)

// Checkpoint tells the tasks of the worker that a checkpoint was triggered. Those that start later, until it is said to
// be over, hear of it too. Checkpoints are to come in the order of their ids.
func (w *Worker) Checkpoint(ctx context.Context, b checkpointing.Barrier) error {
	return w.do(ctx, func(context.Context) error {
		if slices.ContainsFunc(w.triggered, func(other checkpointing.Barrier) bool { return other.ID == b.ID }) {
			return nil
		}
		w.triggered = append(w.triggered, b)
		for _, r := range w.tasks {
			r.task.Checkpoint(b)
			w.collect(r)
		}
		return nil
	})
}

// CheckpointEnded says that a checkpoint has completed or was aborted. Tasks that still wait for its barriers go on.
func (w *Worker) CheckpointEnded(ctx context.Context, id int64) error {
	return w.do(ctx, func(context.Context) error {
		w.triggered = slices.DeleteFunc(w.triggered, func(b checkpointing.Barrier) bool { return b.ID == id })
		if w.ended = append(w.ended, id); len(w.ended) > endedMax {
			w.ended = w.ended[1:]
		}
		for _, r := range w.tasks {
			r.task.Abandon(id)
			w.collect(r)
		}
		return nil
	})
}

// endedMax bounds how many checkpoints that are over a worker remembers. Of an older one, or one from before the worker
// started, a task gives up waiting when a newer barrier comes, or after its timeout.
const endedMax = 32

// join lets a task that starts take part in what is in progress, if it can.
func (w *Worker) join(r *running) {
	for _, id := range w.ended {
		r.task.Abandon(id)
	}
	for _, b := range w.triggered {
		if w.cfg.Guarantee == eos.AtLeastOnce {
			// An owner before may have sent its barriers without committing: a second cut would lie elsewhere.
			r.task.Abandon(b.ID)
			w.decline(checkpointing.Decline{
				ID: b.ID, Task: r.task.ID(), Reason: "the task was started anew in the middle of it", NotRunning: true,
			})
			continue
		}
		r.task.Checkpoint(b)
	}
	w.collect(r)
}

// leave hands out what a task has finished, and declines what nobody can finish without it.
func (w *Worker) leave(r *running) {
	w.collect(r)
	for _, id := range r.task.Checkpointing() {
		w.decline(checkpointing.Decline{
			ID: id, Task: r.task.ID(), Reason: "the task moves to another instance", NotRunning: true,
		})
	}
}

// collect hands out what a task has to say about checkpoints.
func (w *Worker) collect(r *running) {
	for _, c := range r.task.Cuts() {
		switch {
		case w.cfg.OnCut != nil:
			w.cfg.OnCut(c)
		case c.Snapshot != nil:
			c.Snapshot.Release()
		}
	}
	for _, d := range r.task.Declined() {
		w.decline(d)
	}
}

func (w *Worker) decline(d checkpointing.Decline) {
	if w.cfg.OnDecline != nil {
		w.cfg.OnDecline(d)
	}
}

// droppedCuts gives up the cuts of an epoch whose commit failed, if its barriers may have been read: without
// transactions there is no taking them back.
func (w *Worker) droppedCuts(r *running, e *task.Epoch) {
	if w.cfg.Guarantee != eos.AtLeastOnce {
		return
	}
	for _, id := range e.Cuts {
		r.task.Decline(id, "its barriers were sent in a commit that failed")
	}
}
