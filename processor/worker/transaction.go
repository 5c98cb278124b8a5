package worker

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"

	"github.com/tidemarkio/tidemark/eos"
	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/processor/task"
	"github.com/tidemarkio/tidemark/record"
)

// transaction is one commit of a worker: an epoch of each task that has something to commit.
type transaction struct {
	tasks   []*running
	epochs  []*task.Epoch
	batches []*record.Batch // of all epochs, in their order
	offsets map[record.TopicPartition]eos.Offset
	member  eos.Member // at sealing
	ends    []int64    // behind each batch; set by the committer

	externals []task.External // of all epochs: what goes to other systems
	unsettled []unsettled     // what has to be ended there before
}

func (x *transaction) partitions() []record.TopicPartition {
	seen := make(map[record.TopicPartition]bool, len(x.batches))
	var tps []record.TopicPartition
	for _, b := range x.batches {
		if b.Len() > 0 && !seen[b.TopicPartition] {
			seen[b.TopicPartition] = true
			tps = append(tps, b.TopicPartition)
		}
	}
	return tps
}

func (x *transaction) includes(tasks []*running) bool {
	for _, r := range tasks {
		if slices.Contains(x.tasks, r) ||
			slices.ContainsFunc(x.unsettled, func(u unsettled) bool { return u.Name.Task == r.task.ID() }) {
			return true
		}
	}
	return false
}

// full reports that the uncommitted data has reached its limit and a commit is in flight: processing has to wait.
func (w *Worker) full() bool {
	return w.inflight != nil && w.uncommittedBytes() > 2*w.cfg.UncommittedBytesMax()
}

func (w *Worker) uncommittedBytes() int {
	n := 0
	for _, r := range w.tasks {
		n += r.task.UncommittedBytes()
	}
	return n
}

// commitIfDue seals the dirty tasks and sends their epochs off, when the interval has passed, a processor asks for it,
// or the buffers are full.
func (w *Worker) commitIfDue() error {
	if w.inflight != nil {
		return nil
	}
	now := w.cfg.Clock.Now()
	due := now.Sub(w.sealedAt) >= w.cfg.CommitInterval
	dirty := len(w.unsettled) > 0
	due = due || dirty
	for _, r := range w.tasks {
		due = due || r.task.CommitRequested() || r.task.CutDue()
		dirty = dirty || r.task.Dirty()
	}
	if !dirty || !due && w.uncommittedBytes() <= w.cfg.UncommittedBytesMax() || !w.backoff.ready(now) {
		return nil
	}
	return w.begin(w.tasks)
}

// begin seals tasks and hands the transaction to the committer.
func (w *Worker) begin(tasks []*running) error {
	start := w.cfg.Clock.Now()
	w.sealedAt = start
	x := &transaction{
		offsets: make(map[record.TopicPartition]eos.Offset), member: w.cfg.Member(), unsettled: w.unsettled,
	}
	for _, r := range tasks {
		w.view.enter(r.task.ID(), start) // cached updates are forwarded
		e, err := r.task.Seal()
		if err != nil {
			return err
		}
		w.view.leave()
		if e == nil {
			continue
		}
		x.tasks, x.epochs = append(x.tasks, r), append(x.epochs, e)
		x.batches = append(x.batches, e.Batches...)
		x.externals = append(x.externals, e.Externals...)
		prepared := e.Prepared()
		for tp, p := range e.Positions {
			m := eos.Metadata{
				TransactionalID: w.cfg.Producer.TransactionalID(), Epoch: e.Number, StreamTime: p.StreamTime,
				Checkpoint: p.Checkpoint, Ahead: p.Ahead, Prepared: prepared,
			}
			x.offsets[tp] = eos.Offset{Offset: p.Offset, Metadata: m.Encode()}
		}
	}
	if len(x.epochs) == 0 && len(x.unsettled) == 0 {
		return nil
	}
	w.inflight, w.unsettled = x, nil
	w.stats.Sealing += w.cfg.Clock.Since(start)
	w.committer.requests <- x
	return nil
}

// settle carries the outcome of a transaction into its tasks.
func (w *Worker) settle(o outcome) error {
	x := w.inflight
	w.inflight, w.unsettled = nil, o.unsettled
	switch {
	case o.committed && len(x.epochs) == 0: // it has only ended what was left
		w.backoff.reset()
		return nil
	case o.committed:
		w.backoff.reset()
		w.stats.Commits++
		return w.committed(x)
	case o.failed:
		return o.err
	case o.refused:
		return w.refused(x, o)
	}
	w.stats.DroppedCommits++
	delay, give := w.backoff.failed(w.cfg.Clock.Now())
	w.cfg.Logger.Warn("commit failed: dropped, and its input will be processed again", slog.Int("worker", w.cfg.Index),
		slog.Int("tasks", len(x.tasks)), slog.Duration("retry_in", delay), slog.Any("error", o.err))
	if give {
		return fmt.Errorf("%s: commits have failed for %s: %w", w.name(), w.cfg.RetryTimeout, o.err)
	}
	return w.dropped(x)
}

// committed makes the epochs readable as committed data.
func (w *Worker) committed(x *transaction) error {
	now, at := w.cfg.Clock.NowMs(), 0
	for i, r := range x.tasks {
		e := x.epochs[i]
		n := len(e.Batches)
		maps.Copy(r.committed, e.Positions)
		if err := r.task.Committed(x.ends[at:at+n], now); err != nil {
			return err
		}
		at += n
	}
	return nil
}

// dropped rolls the tasks of a failed transaction back, with everything they did since.
func (w *Worker) dropped(x *transaction) error {
	for i, r := range x.tasks {
		w.droppedCuts(r, x.epochs[i])
		if err := w.rollback(r); err != nil {
			return err
		}
	}
	return nil
}

// refused asks the production handler about a record that the broker does not take. If it may be left out, the same
// transaction is tried again without it. A record of a changelog cannot be left out: the store has it.
func (w *Worker) refused(x *transaction, o outcome) error {
	for i, e := range x.epochs {
		for j, b := range e.Batches {
			if b != o.record.Batch {
				continue
			}
			r := b.At(o.record.Index)
			if e.IsChangelog(j) {
				return fmt.Errorf("task %s: a value of a store is too large for its changelog: %w", e.Task, o.err)
			}
			return w.resend(x, x.tasks[i], b, o, processor.Failure{
				Stage: processor.Production, Task: e.Task, TopicPartition: b.TopicPartition, Record: r, Err: o.err,
			})
		}
	}
	return o.err
}

// resend leaves one record out of its batch, if the handler lets it, and tries the transaction again. A dead letter
// goes into the same transaction.
func (w *Worker) resend(x *transaction, r *running, b *record.Batch, o outcome, f processor.Failure) error {
	e := x.epochs[slices.Index(x.tasks, r)]
	if err := r.task.HandleRefused(w.cfg.OnProductionError, e, f); err != nil {
		return err
	}
	b.Remove(o.record.Index)
	x.batches = x.batches[:0]
	for _, e := range x.epochs {
		x.batches = append(x.batches, e.Batches...)
	}
	x.unsettled = w.unsettled
	w.inflight, w.unsettled = x, nil
	w.committer.requests <- x
	return nil
}

// await waits for the transaction in flight and settles it. When ctx ends it is interrupted, and waited for all the
// same: until its outcome is here the committer reads the tasks' batches, which must not be reused.
func (w *Worker) await(ctx context.Context) {
	ended := ctx.Done()
	for w.inflight != nil {
		select {
		case o := <-w.committer.outcomes:
			if err := w.settle(o); err != nil {
				w.failed = err // ends the worker: other tasks of the transaction are neither committed nor rolled back
				w.cfg.Logger.Error("commit failed while tasks were handed over", slog.Int("worker", w.cfg.Index),
					slog.Any("error", err))
			}
		case <-ended:
			w.committer.interrupt()
			ended = nil
		}
	}
}

// commitNow commits what tasks have processed, and waits. What cannot be committed is rolled back by the caller.
func (w *Worker) commitNow(ctx context.Context, tasks []*running) {
	w.await(ctx)
	if w.inflight != nil || w.failed != nil || ctx.Err() != nil {
		return
	}
	if err := w.begin(tasks); err != nil {
		w.cfg.Logger.Error("cannot commit before hand-over: the input will be processed again by the next owner",
			slog.Int("worker", w.cfg.Index), slog.Any("error", err))
		return
	}
	w.await(ctx)
}
