// Package clock is the one door to wall-clock time, so that tests and the test driver can own it.
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

// Since returns the time passed since t.
func (c Clock) Since(t time.Time) time.Duration { return c.now().Sub(t) }
