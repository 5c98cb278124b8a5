package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tidemarkio/tidemark/eos"
	"github.com/tidemarkio/tidemark/processor/task"
)

// Two-phase commit with systems outside of Kafka. The Kafka transaction decides: the metadata of its offsets names what
// is prepared, and until all of it is ended no later commit may take those names away.
//
//	end what is left ─► prepare ─► commit (commit.go) ─► committed: commit, again and again
//	       │                │                         ├► dropped:   abort
//	       └── dropped ◄────┘                         └► failed:    nothing: a later start finds the truth
//
// What cannot be ended now is left in the outcome, and stands at the beginning of the worker's next transaction. If the
// task leaves before, its next owner finds it by the names.

// unsettled is a prepared transaction that is decided and not ended yet.
type unsettled struct {
	task.External

	commit bool
}

// settleTimeout bounds how long ending decided transactions holds up the outcome of their commit. Longer than that, the
// other system is down, and the next transaction could not be prepared either.
const settleTimeout = 10 * time.Second

// settleDelay paces the attempts.
const (
	settleDelayFirst = 10 * time.Millisecond
	settleDelayMax   = time.Second
)

// preparedParallel bounds how many transactions of one commit are prepared at the same time.
const preparedParallel = 16

// twoPhase carries a transaction out together with its parts in other systems.
func (c *committer) twoPhase(ctx context.Context, x *transaction) outcome {
	if len(x.externals) == 0 && len(x.unsettled) == 0 {
		return c.commit(ctx, x)
	}
	left, err := c.settle(ctx, x.unsettled)
	if err != nil {
		return outcome{transaction: x, unsettled: left, err: err}
	}
	if len(x.offsets) == 0 { // there was nothing else to do
		return outcome{transaction: x, committed: true}
	}
	if err := c.prepare(ctx, x.externals); err != nil {
		left, abortErr := c.settle(ctx, decided(x.externals, false))
		return outcome{
			transaction: x, unsettled: left, err: errors.Join(err, abortErr), failed: eos.Classify(err) == eos.ClassFatal,
		}
	}
	o := c.commit(ctx, x)
	if o.failed {
		return o
	}
	o.unsettled, err = c.settle(ctx, decided(x.externals, o.committed))
	if err != nil {
		c.logger.Error("prepared transactions are decided and not ended: trying again before the next commit",
			slog.Bool("committed", o.committed), slog.Int("transactions", len(o.unsettled)), slog.Any("error", err))
	}
	return o
}

func (c *committer) prepare(ctx context.Context, externals []task.External) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(preparedParallel)
	for _, e := range externals {
		g.Go(func() error { return e.Prepare(ctx) })
	}
	return g.Wait()
}

func decided(externals []task.External, commit bool) []unsettled {
	out := make([]unsettled, len(externals))
	for i, e := range externals {
		out[i] = unsettled{External: e, commit: commit}
	}
	return out
}

// settle ends transactions as they are decided. It tries until settleTimeout or the end of ctx, and returns what is
// left then, and why.
func (c *committer) settle(ctx context.Context, list []unsettled) (left []unsettled, err error) {
	if len(list) == 0 {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	for attempt, delay := 1, settleDelayFirst; ; attempt, delay = attempt+1, min(2*delay, settleDelayMax) {
		errs := make([]error, len(list))
		g := errgroup.Group{}
		g.SetLimit(preparedParallel)
		for i, u := range list {
			g.Go(func() error {
				errs[i] = c.end(ctx, u, attempt)
				return nil
			})
		}
		_ = g.Wait() // the errors are in errs
		left = left[:0]
		for i, e := range errs {
			if e != nil {
				left = append(left, list[i])
			}
		}
		if err = errors.Join(errs...); err == nil {
			return nil, nil
		}
		list = append([]unsettled(nil), left...)
		if attempt == 1 {
			c.logger.Warn("cannot end prepared transactions, trying again", slog.Int("transactions", len(left)),
				slog.Any("error", err))
		}
		select {
		case <-c.clock.After(delay):
		case <-ctx.Done():
			return list, fmt.Errorf("worker: end prepared transactions: %w", err)
		}
	}
}

// end ends one transaction.
func (c *committer) end(ctx context.Context, u unsettled, attempt int) error {
	at := func(err error) error { return fmt.Errorf("task %s: sink %q: %w", u.Name.Task, u.Name.Sink, err) }
	if !u.commit {
		if err := u.Conn.Abort(ctx, u.Name); err != nil {
			return at(fmt.Errorf("abort %s: %w", u.Name, err))
		}
		return nil
	}
	err := u.Conn.Commit(ctx, u.Name)
	switch {
	case errors.Is(err, eos.ErrFenced):
		// A newer owner has the task. It has found the name in the committed offsets, or will.
		c.logger.Warn("a newer owner ends a prepared transaction", slog.String("transaction", u.Name.String()))
		return nil
	case errors.Is(err, eos.ErrNotPrepared):
		if attempt == 1 && u.Decided {
			c.logger.Error("a prepared transaction is gone before it was committed: it was ended by somebody else, and its "+
				"rows may be missing", slog.String("transaction", u.Name.String()))
		}
		return nil
	case err != nil:
		return at(fmt.Errorf("commit %s: %w", u.Name, err))
	}
	return nil
}
