package worker

import (
	"context"
	"sync"

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

	requests chan *transaction
	outcomes chan outcome
	stopped  chan struct{}

	// mustInit: the producer must be initialised before the next transaction. Owned by the committer goroutine.
	mustInit bool

	mu struct {
		sync.Mutex
		cancel context.CancelFunc // of the commit under way; nil before the first
	}
}

func newCommitter(cfg Config) *committer {
	return &committer{
		guarantee: cfg.Guarantee, producer: cfg.Producer, admin: cfg.Admin, member: cfg.Member,
		clock:    cfg.Clock,
		requests: make(chan *transaction, 1), outcomes: make(chan outcome, 1), stopped: make(chan struct{}),
	}
}

// run is the committer goroutine.
func (c *committer) run(ctx context.Context) {
	defer close(c.stopped)
	for {
		select {
		case <-ctx.Done():
			return
		case x := <-c.requests:
			c.outcomes <- c.interruptible(ctx, x)
		}
	}
}

func (c *committer) interruptible(ctx context.Context, x *transaction) outcome {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c.mu.Lock()
	c.mu.cancel = cancel
	c.mu.Unlock()
	return c.commit(ctx, x)
}

// interrupt makes a commit under way end soon, whatever its outcome.
func (c *committer) interrupt() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mu.cancel != nil {
		c.mu.cancel()
	}
}

func (c *committer) wait() { <-c.stopped }
