package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/tidemarkio/tidemark/processor/task"
	"github.com/tidemarkio/tidemark/record"
)

// Sizes of the loop.
const (
	// stepRecords is how many records a task may process before the worker looks at commits and other tasks.
	stepRecords = 1024
	// pollEvents is how many events are taken before tasks step: whoever asks without end must not stop them.
	pollEvents = 1024
	// idleWait bounds the wait of an idle worker; anything that happens wakes it earlier.
	idleWait = 100 * time.Millisecond
)

// Run is the worker goroutine. It ends when ctx does, after it has committed what was processed, or with the first
// error that no retry mends.
func (w *Worker) Run(ctx context.Context) error {
	defer close(w.done)
	defer w.adopted.close()
	commits, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop() // the last commit must outlive ctx
	go w.committer.run(commits)
	defer w.committer.wait()
	defer stop()
	timer := w.cfg.Clock.NewTimer(idleWait)
	defer timer.Stop()
	for ctx.Err() == nil {
		worked, err := w.pass(ctx)
		if err != nil {
			return err
		}
		if worked {
			continue
		}
		timer.Reset(w.waitFor())
		started, stalled := w.cfg.Clock.Now(), w.full()
		err = w.wait(ctx, timer.C)
		w.stats.waited(w.cfg.Clock.Since(started), stalled)
		if err != nil {
			return err
		}
	}
	return nil
}

// pass polls what has arrived, lets every task step, and commits when it is time. It reports whether any task worked.
func (w *Worker) pass(ctx context.Context) (worked bool, err error) {
	if err := w.poll(ctx); err != nil {
		return false, err
	}
	w.handOver()
	now := w.cfg.Clock.NowMs()
	w.view.note(w, time.UnixMilli(now))
	if !w.full() {
		for _, r := range w.tasks {
			if r.leaving || w.cfg.Pauses.Paused(r.task.ID()) {
				continue
			}
			w.view.enter(r.task.ID(), w.cfg.Clock.Now())
			n, err := r.task.Process(stepRecords, now)
			w.release(r)
			worked = worked || n > 0
			w.stats.Processed += uint64(n)
			if err == nil {
				err = r.task.Punctuate(now)
			}
			if err != nil {
				return worked, err
			}
			w.view.leave()
			w.collect(r)
		}
	}
	before := w.inflight
	err = w.commitIfDue()
	// A task that asked for the commit has stopped for it: it goes on as soon as its epoch is sealed.
	return worked || w.inflight != before, err
}

// poll takes what waits in channels, without waiting itself.
func (w *Worker) poll(ctx context.Context) error {
	for range pollEvents {
		select {
		case c := <-w.commands:
			w.execute(ctx, c)
			if w.failed != nil {
				return w.failed
			}
		case <-w.adopted.wake:
			w.adoptAll()
		case o := <-w.committer.outcomes:
			if err := w.settle(o); err != nil {
				return err
			}
		case f := <-w.cfg.Fetcher.Batches():
			if err := w.fetched(ctx, f); err != nil {
				return err
			}
		default:
			return nil
		}
	}
	return nil
}

// execute runs a command. Hand-overs come first: the command may be about their tasks.
func (w *Worker) execute(ctx context.Context, c command) {
	w.dropWithdrawn()
	w.adoptAll()
	c.done <- c.run(ctx)
}

// wait blocks until something arrives or the timer fires.
func (w *Worker) wait(ctx context.Context, timer <-chan time.Time) error {
	select {
	case <-ctx.Done():
		return nil
	case c := <-w.commands:
		w.execute(ctx, c)
		return w.failed
	case <-w.adopted.wake:
		w.adoptAll()
		return nil
	case o := <-w.committer.outcomes:
		return w.settle(o)
	case f := <-w.cfg.Fetcher.Batches():
		return w.fetched(ctx, f)
	case <-timer:
		return nil
	}
}

// waitFor returns how long the worker may sleep: to the next commit, the next punctuator, or the end of a wait for an
// input.
func (w *Worker) waitFor() time.Duration {
	d := idleWait
	now := w.cfg.Clock.Now()
	for _, r := range w.tasks {
		if r.leaving {
			continue // it waits for the commit in flight
		}
		if w.inflight == nil && r.task.Dirty() {
			due := w.sealedAt.Add(w.cfg.CommitInterval)
			if w.backoff.until.After(due) {
				due = w.backoff.until
			}
			d = min(d, due.Sub(now))
		}
		if w.cfg.Pauses.Paused(r.task.ID()) {
			continue
		}
		next := min(r.task.NextWallClock(), r.task.IdleUntil())
		if next < now.Add(d).UnixMilli() {
			d = min(d, time.UnixMilli(next).Sub(now))
		}
	}
	return max(d, 0)
}

// fetched hands a batch to its task, or deals with the end of fetching.
func (w *Worker) fetched(ctx context.Context, f *Fetched) error {
	r := w.byInput[f.TopicPartition]
	if r == nil || w.cfg.Fetcher.Stale(f) {
		w.cfg.Fetcher.Release(f)
		return nil
	}
	switch {
	case f.Err == nil:
		r.task.Add(task.Input{
			TopicPartition: f.TopicPartition, Records: f.Records, Next: f.Next, HighWatermark: f.HighWatermark, Token: f,
		})
		w.release(r)
		return nil
	case errors.Is(f.Err, ErrOffsetOutOfRange):
		return w.outOfRange(ctx, r, f.TopicPartition)
	}
	return fmt.Errorf("task %s: fetch %s: %w", r.task.ID(), f.TopicPartition, f.Err)
}

// outOfRange moves an input whose position the log no longer has, as auto.offset.reset says. Records between the two
// places are gone: retention deleted them, or somebody did.
func (w *Worker) outOfRange(ctx context.Context, r *running, tp record.TopicPartition) error {
	// What was processed is committed first: it will not be read again. And the batches of an epoch in flight are the
	// task's until its outcome is known.
	w.commitNow(ctx, []*running{r})
	if w.failed != nil || w.inflight != nil {
		return w.failed
	}
	to, err := w.cfg.ResetOffset(ctx, tp)
	if err != nil {
		return fmt.Errorf("task %s: %s: the committed position %d is out of range: %w",
			r.task.ID(), tp, r.committed[tp].Offset, err)
	}
	w.cfg.Logger.Error("input position out of range: records were lost to the topic's retention",
		slog.String("task", r.task.ID().String()), slog.String("topic", tp.Topic), slog.Int("partition", int(tp.Partition)),
		slog.Int64("position", r.committed[tp].Offset), slog.Int64("continue_at", to))
	p := r.committed[tp]
	if to < p.Offset {
		p.Ahead = nil // of a log that is no more
	}
	p.Offset = to
	r.committed[tp] = p
	return w.rollback(r)
}

// release gives used-up batches back to the fetcher, which fetches the next ones.
func (w *Worker) release(r *running) {
	for _, token := range r.task.Released() {
		w.cfg.Fetcher.Release(token.(*Fetched)) //nolint:forcetypeassert,errcheck // fetched put it there
	}
}
