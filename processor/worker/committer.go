package worker

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/tidemarkio/tidemark/eos"
	"github.com/tidemarkio/tidemark/internal/clock"
)

// committer carries transactions out, one at a time, on a goroutine of its own, so that tasks process the next epoch
// meanwhile.
type committer struct {
	guarantee eos.Guarantee
	producer  eos.Producer
	admin     Admin
	member    func() eos.Member
	clock     clock.Clock
	logger    *slog.Logger

	requests chan *transaction
	outcomes chan outcome
	reinits  chan chan error
	stopped  chan struct{}

	// mustInit: the producer must be initialised before the next transaction. Owned by the committer goroutine.
	mustInit bool

	mu struct {
		sync.Mutex
		cancel      context.CancelFunc // of what is under way; nil before the first
		interrupted bool               // until the commit that this is meant for has ended
	}
}

func newCommitter(cfg Config) *committer {
	return &committer{
		guarantee: cfg.Guarantee, producer: cfg.Producer, admin: cfg.Admin, member: cfg.Member,
		clock: cfg.Clock, logger: cfg.Logger,
		requests: make(chan *transaction, 1), outcomes: make(chan outcome, 1), reinits: make(chan chan error),
		stopped: make(chan struct{}),
	}
}

// Pace and bound of initialising a producer whose last transaction failed while there is nothing new to commit.
const (
	reinitDelay   = 500 * time.Millisecond
	reinitTimeout = 15 * time.Second
)

// run is the committer goroutine. A producer whose transaction failed is initialised also when no other commit follows:
// what it left open or undecided may be what the restore of its own tasks is waiting for.
func (c *committer) run(ctx context.Context) {
	defer close(c.stopped)
	for {
		var reinit <-chan time.Time
		if c.mustInit && c.guarantee == eos.ExactlyOnceV2 {
			reinit = c.clock.After(reinitDelay)
		}
		select {
		case <-ctx.Done():
			return
		case x := <-c.requests:
			c.outcomes <- c.carryOut(ctx, x)
		case <-reinit:
			_ = c.reinit(ctx) // else the next commit or the next time
		case done := <-c.reinits:
			done <- c.reinit(ctx)
		}
	}
}

func (c *committer) reinit(ctx context.Context) error {
	ctx, cancel := c.interruptible(ctx)
	defer cancel()
	ctx, cancel = context.WithTimeout(ctx, reinitTimeout)
	defer cancel()
	err := c.producer.Init(ctx)
	c.mustInit = err != nil
	return err
}

// settleLast initialises the producer between two commits: the outcome of what it sent is then decided everywhere.
func (c *committer) settleLast(ctx context.Context) error {
	done := make(chan error, 1)
	select {
	case c.reinits <- done:
	case <-c.stopped:
		return ErrStopped
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-done:
		return err
	case <-c.stopped:
		return ErrStopped
	}
}

func (c *committer) carryOut(ctx context.Context, x *transaction) outcome {
	ctx, cancel := c.interruptible(ctx)
	defer cancel()
	o := c.twoPhase(ctx, x)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.interrupted = false
	return o
}

func (c *committer) interruptible(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.cancel = cancel
	if c.mu.interrupted {
		cancel()
	}
	return ctx, cancel
}

// interrupt makes the commit that was asked for end soon, whatever its outcome, also if it has not begun.
func (c *committer) interrupt() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.interrupted = true
	if c.mu.cancel != nil {
		c.mu.cancel()
	}
}

func (c *committer) wait() { <-c.stopped }
