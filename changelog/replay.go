package changelog

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tidemarkio/tidemark/record"
)

// Base is what a store can be caught up from: a position in its changelog, and when that was the position.
type Base struct {
	Offset     int64
	WallTimeMs int64
}

// Choose decides whether a base may be caught up from the tail of the log [start, end), and from where to read. It
// returns 0 and the reason if the base must not be used:
//
//   - the log no longer reaches back to the position: what lies between is lost;
//   - the position lies beyond the end: the topic was made anew, or the base belongs to another one;
//   - the base is older than delete.retention.ms: compaction may have dropped tombstones of keys that the base still
//     has, and they would come back to life. A base at the end of the log misses nothing, however old.
func Choose(
	base Base, start, end, nowMs int64, deleteRetention time.Duration,
) (from int64, usable bool, reason string) {
	switch {
	case base.Offset > end:
		return start, false, fmt.Sprintf("its position %d lies beyond the end %d of the changelog", base.Offset, end)
	case base.Offset == end:
		return base.Offset, true, ""
	case base.Offset < start:
		return start, false, fmt.Sprintf("its position %d lies before the start %d of the changelog", base.Offset, start)
	}
	if age := time.Duration(nowMs-base.WallTimeMs) * time.Millisecond; age >= deleteRetention {
		return start, false, fmt.Sprintf("it is %s old, and the changelog forgets deletes after %s",
			age.Round(time.Second), deleteRetention)
	}
	return base.Offset, true, ""
}

// Progress tells how far a replay is.
type Progress struct {
	Store          string
	TopicPartition record.TopicPartition
	From, At, To   int64 // offsets
	Records        int64 // replayed so far
	Bytes          int64 // of their keys and values
}

// Target is where a replay puts records: the stores of one task.
type Target interface {
	// Replay applies records of one store's changelog in order; next is the position behind them.
	Replay(store string, records []record.Raw, next int64) error
}

// Replay reads [from, to) of a store's changelog into the target. Memory is bounded by the reader's fetch size and the
// target's budget. A batch with no records (markers only) still moves the position.
func Replay(
	ctx context.Context, r Reader, store string, tp record.TopicPartition, from, to int64, target Target,
	report func(Progress),
) (records int64, err error) {
	p := Progress{Store: store, TopicPartition: tp, From: from, At: from, To: to}
	if from < to {
		err = r.Read(ctx, tp, from, to, func(batch []record.Raw, next int64) error {
			if err := target.Replay(store, batch, next); err != nil {
				return err
			}
			p.At, p.Records = next, p.Records+int64(len(batch))
			for i := range batch {
				p.Bytes += int64(len(batch[i].Key) + len(batch[i].Value))
			}
			report(p)
			return nil
		})
	}
	if err != nil {
		if errors.Is(err, ErrPositionLost) || ctx.Err() != nil {
			return p.Records, err
		}
		return p.Records, fmt.Errorf("changelog: restore store %q from %s at offset %d: %w", store, tp, p.At, err)
	}
	return p.Records, nil
}
