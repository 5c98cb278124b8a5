package topology

import (
	"fmt"
	"time"
)

// JoinWindows say which records of two streams meet: a left record at t meets the right ones with times in
// [t-before, t+after], both ends included (Kafka Streams' JoinWindows). Make them with [Within].
type JoinWindows struct {
	before, after, grace time.Duration
}

// Within returns windows in which times differ by d at most, in whole milliseconds.
func Within(d time.Duration) JoinWindows { return JoinWindows{before: d, after: d} }

// Before replaces how much older than the left record a right one may be. It may be negative, if it is not less than
// minus After: right records must then be that much younger.
func (w JoinWindows) Before(d time.Duration) JoinWindows {
	w.before = d
	return w
}

// After replaces how much younger than the left record a right one may be. It may be negative, if it is not less than
// minus Before: right records must then be that much older.
func (w JoinWindows) After(d time.Duration) JoinWindows {
	w.after = d
	return w
}

// Grace returns windows that wait that long for late records: so much longer records are kept, and the results of left
// and outer joins without a match held back. Defaults to none. A record that comes later still joins what is kept.
func (w JoinWindows) Grace(grace time.Duration) JoinWindows {
	w.grace = grace
	return w
}

// check returns what is wrong with the windows, "" if nothing.
func (w JoinWindows) check() string {
	switch {
	case w.before%time.Millisecond != 0 || w.after%time.Millisecond != 0 || w.grace%time.Millisecond != 0:
		return fmt.Sprintf("windows of %v before, %v after, %v grace: want whole milliseconds", w.before, w.after, w.grace)
	case w.before+w.after < 0:
		return fmt.Sprintf("a window from %v before to %v after is empty: their sum must not be negative", w.before, w.after)
	case w.grace < 0:
		return fmt.Sprintf("a grace of %v is negative", w.grace)
	}
	return ""
}

// retention is how long records are kept behind the newest of their side.
func (w JoinWindows) retention() time.Duration { return w.before + w.after + w.grace }
