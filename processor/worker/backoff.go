package worker

import "time"

// backoff spaces out retries of failed commits.
type backoff struct {
	limit    time.Duration
	failures int
	since    time.Time // of the first failure in a row
	until    time.Time
}

// Delays between failed commits grow from the first to the last.
const (
	backoffFirst = 50 * time.Millisecond
	backoffMax   = 2 * time.Second
)

func (b *backoff) reset() { *b = backoff{limit: b.limit} }

func (b *backoff) ready(now time.Time) bool { return !now.Before(b.until) }

// failed notes a failure and returns the delay before the next try; giveUp once the limit has passed.
func (b *backoff) failed(now time.Time) (delay time.Duration, giveUp bool) {
	if b.failures == 0 {
		b.since = now
	}
	delay = min(backoffFirst<<min(b.failures, 10), backoffMax)
	b.failures++
	b.until = now.Add(delay)
	return delay, now.Sub(b.since) >= b.limit
}
