package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/tidemarkio/tidemark/eos"
	"github.com/tidemarkio/tidemark/record"
)

// Taking over from a dead owner. Its last transaction may still be open, and would stay so until its timeout. An owner
// that gave the task up has ended it; so what is still undecided after a moment belongs to the dead, and is ended by
// initialising its transactional id, which also fences it should it only have slept.
const (
	// patience is how long a living owner's commit markers may take to arrive.
	patience = 250 * time.Millisecond
	// pollFirst and pollMax pace the questions to the broker.
	pollFirst = 5 * time.Millisecond
	pollMax   = 200 * time.Millisecond
)

// stableOffsets reads the group's committed offsets once no open transaction can change them.
func (r *Restorer) stableOffsets(
	ctx context.Context, tps []record.TopicPartition,
) (map[record.TopicPartition]eos.Offset, error) {
	var offsets map[record.TopicPartition]eos.Offset
	err := r.until(ctx, "stable committed offsets", func(ctx context.Context) (bool, error) {
		var err error
		offsets, err = r.cfg.Admin.CommittedOffsets(ctx, r.cfg.GroupID, tps)
		if errors.Is(err, ErrUnstableOffsets) {
			return false, nil
		}
		return err == nil, err
	}, func(ctx context.Context) ([]string, error) {
		return r.lastOwners(ctx, tps)
	})
	return offsets, err
}

// lastOwners are the transactional ids in the metadata of the offsets that were committed last, whatever is pending.
// Before a task's first commit nobody is known; then it may be our own workers, who had the task a moment ago.
func (r *Restorer) lastOwners(ctx context.Context, tps []record.TopicPartition) ([]string, error) {
	offsets, err := r.cfg.Admin.PossiblyUnstableOffsets(ctx, r.cfg.GroupID, tps)
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, o := range offsets {
		if m, err := eos.ParseMetadata(o.Metadata); err == nil && m.TransactionalID != "" {
			ids = append(ids, m.TransactionalID)
		}
	}
	if len(ids) == 0 {
		return r.cfg.OwnIDs(), nil
	}
	slices.Sort(ids)
	return slices.Compact(ids), nil
}

// decidedEnds returns the ends of changelog partitions once every transaction before them is decided: the last stable
// offset has reached what was the high watermark.
func (r *Restorer) decidedEnds(
	ctx context.Context, tps []record.TopicPartition,
) (map[record.TopicPartition]int64, error) {
	want, err := r.cfg.Admin.EndOffsets(ctx, tps, false)
	if err != nil {
		return nil, err
	}
	var ends map[record.TopicPartition]int64
	var waiting []record.TopicPartition
	err = r.until(ctx, "undecided transactions in the changelog", func(ctx context.Context) (bool, error) {
		var err error
		if ends, err = r.cfg.Admin.EndOffsets(ctx, tps, true); err != nil {
			return false, err
		}
		waiting = waiting[:0]
		for _, tp := range tps {
			if ends[tp] < want[tp] {
				waiting = append(waiting, tp)
			}
		}
		return len(waiting) == 0, nil
	}, func(ctx context.Context) ([]string, error) {
		var ids []string
		for _, tp := range waiting {
			found, err := r.cfg.Admin.BlockingProducers(ctx, tp)
			if err != nil {
				return nil, err
			}
			ids = append(ids, found...)
		}
		return ids, nil
	})
	return ends, err
}

// until polls done; when patience has run out it ends what holds it up, and again after each further while.
func (r *Restorer) until(
	ctx context.Context, what string, done func(context.Context) (bool, error),
	blockers func(context.Context) ([]string, error),
) error {
	began, delay := r.cfg.Clock.Now(), pollFirst
	fenceAt := patience
	for {
		ok, err := done(ctx)
		if err != nil || ok {
			return err
		}
		if r.cfg.Clock.Since(began) >= fenceAt {
			fenceAt *= 2
			ids, err := blockers(ctx)
			if err != nil {
				return fmt.Errorf("find who holds up %s: %w", what, err)
			}
			r.cfg.Logger.Warn("waiting for a transaction of an owner before: ending it", slog.String("for", what),
				slog.Any("transactional_ids", ids))
			for _, id := range ids {
				err := r.cfg.EndTransaction(ctx, id)
				if eos.Classify(err) == eos.ClassFatal {
					return fmt.Errorf("end the transaction of %q: %w", id, err)
				}
				if err != nil {
					r.cfg.Logger.Warn("cannot end a transaction, trying again", slog.String("transactional_id", id),
						slog.Any("error", err))
				}
			}
		}
		select {
		case <-r.cfg.Clock.After(delay):
			delay = min(2*delay, pollMax)
		case <-ctx.Done():
			return fmt.Errorf("worker: %s: %w", what, ctx.Err())
		}
	}
}
