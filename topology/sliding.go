package topology

import (
	"fmt"
	"time"
)

// SlidingWindows are windows that follow the records: there is one for each set of a key's records that lie within the
// time difference of each other, and each of its ends is a record's time or lies right behind one. Start and end both
// belong to a window (Kafka Streams' SlidingWindows, KIP-450).
//
// As in Kafka Streams, the first update of a window that is made from an overlapping one carries that one's value as
// the old value: [GroupTableBy] on a table of sliding windows subtracts it, and so sums less than all windows.
type SlidingWindows struct {
	lateness

	difference time.Duration
}

// Sliding returns windows for the records that are at most the difference apart, which is not negative and counts in
// whole milliseconds. Without Grace they take no late records. Records with a null value are dropped, and do not move
// the observed time.
func Sliding(difference time.Duration) SlidingWindows { return SlidingWindows{difference: difference} }

// Grace returns windows that take records for that long after their end, in event time; see [TimeWindows.Grace].
func (w SlidingWindows) Grace(grace time.Duration) SlidingWindows {
	w.grace = grace
	return w
}

// AdvanceWhenIdle returns windows that close without a next record; see [TimeWindows.AdvanceWhenIdle].
func (w SlidingWindows) AdvanceWhenIdle(after time.Duration) SlidingWindows {
	w.idle = after
	return w
}

func (w SlidingWindows) notSessions() {}

func (w SlidingWindows) check() string {
	if w.difference < 0 || w.difference%time.Millisecond != 0 {
		return fmt.Sprintf("sliding windows of %v: want whole milliseconds, not negative", w.difference)
	}
	return w.lateness.check()
}
