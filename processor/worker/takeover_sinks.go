package worker

import (
	"context"
	"crypto/rand"
	"log/slog"
	"strings"

	"github.com/tidemarkio/tidemark/eos"
	"github.com/tidemarkio/tidemark/processor/task"
)

// sinkOwnerLetters are 60 bits.
const sinkOwnerLetters = 12

func randomOwner() string { return strings.ToLower(rand.Text()[:sinkOwnerLetters]) }

// sinkRetries bounds the attempts to take a task over at systems outside of Kafka; then the restart strategy goes on.
const sinkRetries = 5

// connectSinks takes the task over at the systems outside of Kafka that it writes to.
func (r *Restorer) connectSinks(ctx context.Context, t *task.Task, committed []eos.Metadata) error {
	if !t.HasSinks() {
		return nil
	}
	owner := r.cfg.SinkOwner()
	delay := settleDelayMax / 4
	for attempt := 1; ; attempt++ {
		err := t.ConnectSinks(ctx, owner, committed)
		if err == nil || attempt == sinkRetries || ctx.Err() != nil || eos.Classify(err) == eos.ClassFatal {
			return err
		}
		r.cfg.Logger.Warn("cannot take over at a sink, trying again", slog.String("task", t.ID().String()),
			slog.Int("attempt", attempt), slog.Any("error", err))
		select {
		case <-r.cfg.Clock.After(delay):
			delay *= 2
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
