package clock

import "time"

// Clock tells the time and makes timers.
type Clock struct {
	now func() time.Time
}

// System is the machine's clock.
func System() Clock { return Clock{now: time.Now} }

// Fixed returns a clock that asks f.
func Fixed(f func() time.Time) Clock { return Clock{now: f} }

// Now returns the current time.
func (c Clock) Now() time.Time { return c.now() }

// NowMs returns the current time in milliseconds since the Unix epoch.
func (c Clock) NowMs() int64 { return c.now().UnixMilli() }

// After waits, as NewTimer and NewTicker do, by the machine's clock, also where the time itself is fixed: how long a
// goroutine sleeps is no business of the core.
func (c Clock) After(d time.Duration) <-chan time.Time { return time.After(d) }

// NewTimer makes a timer.
func (c Clock) NewTimer(d time.Duration) *time.Timer { return time.NewTimer(d) }

// NewTicker makes a ticker.
func (c Clock) NewTicker(d time.Duration) *time.Ticker { return time.NewTicker(d) }

// AfterFunc calls f after d, in a goroutine of its own, unless the timer is stopped before.
func (c Clock) AfterFunc(d time.Duration, f func()) *time.Timer { return time.AfterFunc(d, f) }

// Since returns the time passed since t.
func (c Clock) Since(t time.Time) time.Duration { return c.now().Sub(t) }
