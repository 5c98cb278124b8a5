package tidemark

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/tidemarkio/tidemark/checkpointing"
)

// ackQueue writes what tasks have to say about checkpoints to the control topic, until it is there or nobody waits for
// it any more.
type ackQueue struct {
	m    *checkpoints
	wake chan struct{}

	mu struct {
		sync.Mutex
		waiting []checkpointing.Ack
	}
}

func newAckQueue(m *checkpoints) *ackQueue { return &ackQueue{m: m, wake: make(chan struct{}, 1)} }

// add never blocks.
func (q *ackQueue) add(a checkpointing.Ack) {
	a.AckMs, a.Instance = q.m.in.app.clock.NowMs(), q.m.in.dir.ProcessID()
	q.mu.Lock()
	q.mu.waiting = append(q.mu.waiting, a)
	q.mu.Unlock()
	notify(q.wake)
}

// forget drops what is about a checkpoint that has ended.
func (q *ackQueue) forget(id int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.mu.waiting = slices.DeleteFunc(q.mu.waiting, func(a checkpointing.Ack) bool { return a.ID == id })
}

// run is the goroutine that writes.
func (q *ackQueue) run(ctx context.Context) {
	for {
		select {
		case <-q.wake:
		case <-ctx.Done():
			return
		}
		for q.some() {
			err := q.writeAll(ctx)
			if ctx.Err() != nil {
				return
			}
			if err == nil {
				continue
			}
			q.m.logger.Warn("cannot acknowledge a checkpoint: trying again; processing goes on", slog.Any("error", err))
			select {
			case <-q.m.in.app.clock.After(500 * time.Millisecond):
			case <-ctx.Done():
				return
			}
		}
	}
}

func (q *ackQueue) some() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.mu.waiting) > 0
}

// writeAll writes what waits, with a producer of its own: acknowledgements are rare, and a producer that failed is not
// used again.
func (q *ackQueue) writeAll(ctx context.Context) error {
	w, err := newControlWriter(q.m.in.client, q.m.cfg, "", q.m.in.app.clock.NowMs)
	if err != nil {
		return err
	}
	defer func() { _ = w.producer.Close() }()
	if err := w.producer.Init(ctx); err != nil {
		return err
	}
	for {
		q.mu.Lock()
		batch := slices.Clone(q.mu.waiting)
		q.mu.Unlock()
		if len(batch) == 0 {
			return nil
		}
		for _, a := range batch {
			if err := w.write(ctx, checkpointing.AckMessage(a)); err != nil {
				return fmt.Errorf("checkpoint %d, task %s: %w", a.ID, a.Task, err)
			}
			q.mu.Lock()
			q.mu.waiting = slices.DeleteFunc(q.mu.waiting, func(other checkpointing.Ack) bool {
				return other.ID == a.ID && other.Task == a.Task && other.AckMs == a.AckMs
			})
			q.mu.Unlock()
		}
	}
}

func plural(n int, one, many string) string {
	if n == 1 {
		many = one
	}
	return strconv.Itoa(n) + " " + many
}
