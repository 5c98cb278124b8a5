package worker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tidemarkio/tidemark/eos"
	"github.com/tidemarkio/tidemark/record"
)

// commit carries one transaction out. This function is the guarantee: whatever happens, what it returns is the truth
// about the transaction, and in doubt it asks the broker.
//
//	committed  everything is visible, exactly once
//	dropped    nothing is; the inputs must be read again
//	failed     nobody knows or nobody can go on: the worker stops, and a later start finds the truth
func (c *committer) commit(ctx context.Context, x *transaction) outcome {
	if c.mustInit {
		if err := c.producer.Init(ctx); err != nil {
			return c.conclude(x, err)
		}
		c.mustInit = false
	}
	err := c.producer.Begin(ctx, x.partitions(), true)
	if err == nil {
		err = c.send(ctx, x)
	}
	if err == nil {
		err = c.producer.Commit(ctx)
	}
	if err == nil {
		return outcome{transaction: x, committed: true}
	}
	c.mustInit = true // ends the transaction, whatever its state: aborts it, or completes a prepared commit
	if eos.Classify(err) != eos.ClassUnknownOutcome {
		return c.conclude(x, err)
	}
	if err := c.producer.Init(ctx); err != nil {
		// Nobody knows whether it arrived, and reading the inputs again could count them twice.
		return outcome{transaction: x, failed: true, err: fmt.Errorf("after a commit of unknown outcome: %w", err)}
	}
	c.mustInit = false
	committed, err := c.arrived(ctx, x)
	if err != nil {
		return outcome{transaction: x, failed: true, err: err}
	}
	return outcome{transaction: x, committed: committed, err: err}
}

// send produces the records and adds the offsets. Under exactly-once the two go side by side: both only count once the
// transaction commits. Under at-least-once offsets must not overtake the records they vouch for.
func (c *committer) send(ctx context.Context, x *transaction) (err error) {
	if c.guarantee == eos.AtLeastOnce {
		if x.ends, err = c.producer.Send(ctx, x.batches); err != nil {
			return err
		}
		return c.sendOffsets(ctx, x)
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) {
		x.ends, err = c.producer.Send(ctx, x.batches)
		return err
	})
	g.Go(func() error { return c.sendOffsets(ctx, x) })
	return g.Wait()
}

// sendOffsets commits the input positions in the name of the group member. If the group is at another generation, the
// member is in the middle of a rebalance or already behind it. Under the cooperative protocol the partitions stay ours
// until we give them up, so the new identity may finish the transaction; only if membership was lost must it not.
func (c *committer) sendOffsets(ctx context.Context, x *transaction) error {
	for {
		m := c.member()
		if m.Generation < 0 || m.MemberID != x.member.MemberID && x.member.MemberID != "" {
			return fmt.Errorf("worker: no longer the member that processed these records: %w", eos.ErrAborted)
		}
		err := c.producer.SendOffsets(ctx, m, x.offsets)
		if eos.Classify(err) != eos.ClassGeneration {
			return err
		}
		if err := c.awaitGeneration(ctx, m, err); err != nil {
			return err
		}
	}
}

// generationWait bounds the wait for a new generation: longer than that, the rebalance is stuck at another member, and
// holding the transaction open would hold up everyone who reads our output.
const generationWait = 10 * time.Second

// awaitGeneration waits until the member's identity differs from the one that was refused.
func (c *committer) awaitGeneration(ctx context.Context, refused eos.Member, cause error) error {
	ctx, cancel := context.WithTimeout(ctx, generationWait)
	defer cancel()
	tick := c.clock.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for c.member() == refused {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("worker: %w: %w", eos.ErrAborted, cause)
		}
	}
	return nil
}

// arrived asks the group's committed offsets whether a transaction of unknown outcome is in. Its offsets carry the
// task's epoch and the transactional id, so that no other commit looks like it. Init has returned before: the outcome
// is decided and cannot change any more.
func (c *committer) arrived(ctx context.Context, x *transaction) (bool, error) {
	for {
		have, err := c.admin.CommittedOffsets(ctx, x.member.GroupID, x.inputs())
		switch {
		case errors.Is(err, ErrUnstableOffsets) && ctx.Err() == nil:
			continue // the markers are being written; the admin client backs off
		case err != nil:
			return false, fmt.Errorf("worker: find out whether the last commit arrived: %w", err)
		}
		for tp, want := range x.offsets {
			return have[tp] == want, nil
		}
		return false, nil
	}
}

// conclude turns an error before the commit point into an outcome: the transaction did not and cannot commit any more.
func (c *committer) conclude(x *transaction, err error) outcome {
	o := outcome{transaction: x, err: err}
	switch eos.Classify(err) {
	case eos.ClassFatal:
		o.failed = true
	case eos.ClassRecord:
		o.refused = errors.As(err, &o.record)
	case eos.ClassNone, eos.ClassGeneration, eos.ClassAborted, eos.ClassUnknownOutcome, eos.ClassFenced: // dropped
	}
	return o
}

// outcome is the truth about a transaction.
type outcome struct {
	transaction *transaction
	committed   bool
	failed      bool                     // the worker cannot go on
	refused     bool                     // one record was refused: the handler decides
	record      *eos.RecordTooLargeError // the refused record
	unsettled   []unsettled              // of other systems: decided, and still to be ended
	err         error                    // why it is not committed
}

// inputs are the partitions whose offsets the transaction carries.
func (x *transaction) inputs() []record.TopicPartition {
	tps := make([]record.TopicPartition, 0, len(x.offsets))
	for tp := range x.offsets {
		tps = append(tps, tp)
	}
	return tps
}
