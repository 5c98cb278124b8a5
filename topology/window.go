package topology

import (
	"fmt"
	"time"

	"github.com/tidemarkio/tidemark/record"
)

// Windows say which windows a record belongs to, for [WindowedBy]: [Tumbling], [Hopping], [Sliding], [Days] and other
// calendar windows, [CountWindows]. Sessions are for [SessionWindowedBy].
type Windows interface {
	// check returns what is wrong with them, "" if nothing.
	check() string
	windowing
	notSessions()
}

// windowing is what an aggregation knows of the windows of its group. The operators switch on the concrete type.
type windowing interface {
	// graceMs returns how long after its end a window takes records.
	graceMs() int64
	// closeAfter returns how long after its end a window is final: the grace, for sessions the gap too.
	closeAfter() int64
	// idleMs returns after how long without records the observed time goes on by itself; 0 if it does not.
	idleMs() int64
}

// lateness is what all windows of event time can be told.
type lateness struct{ grace, idle time.Duration }

func (l lateness) graceMs() int64    { return l.grace.Milliseconds() }
func (l lateness) closeAfter() int64 { return l.grace.Milliseconds() }
func (l lateness) idleMs() int64     { return l.idle.Milliseconds() }

func (l lateness) check() string {
	switch {
	case l.grace < 0:
		return fmt.Sprintf("a grace of %v is negative", l.grace)
	case l.idle < 0 || l.idle%time.Millisecond != 0:
		return fmt.Sprintf("AdvanceWhenIdle(%v): want whole milliseconds", l.idle)
	}
	return ""
}

// TimeWindows are windows of a fixed size at fixed places, aligned to the Unix epoch; their start belongs to them,
// their end does not (Kafka Streams' TimeWindows).
type TimeWindows struct {
	lateness

	size, advance time.Duration
}

// Tumbling returns windows that neither overlap nor leave gaps. Without Grace they take no late records. The size must
// be at least a millisecond.
func Tumbling(size time.Duration) TimeWindows { return TimeWindows{size: size, advance: size} }

// Hopping returns windows that overlap: one begins every advance, so that a record is in size/advance of them. The
// advance must be at least a millisecond and not greater than the size.
func Hopping(size, advance time.Duration) TimeWindows {
	return TimeWindows{size: size, advance: advance}
}

// Grace returns windows that take records for that long after their end, in event time. Later ones are dropped and
// counted, or go to [LateRecords].
func (w TimeWindows) Grace(grace time.Duration) TimeWindows {
	w.grace = grace
	return w
}

// AdvanceWhenIdle returns windows that close without a next record: once none has reached the aggregation for that long
// by the wall clock, the observed time goes on as the wall clock does, from the last record on. It is kept with the
// state and decides what is late as if a record had moved it; so a source that only pauses may find its next records
// late. Defaults to off: event time stands still between records (as always in Kafka Streams).
func (w TimeWindows) AdvanceWhenIdle(after time.Duration) TimeWindows {
	w.idle = after
	return w
}

func (w TimeWindows) check() string {
	switch {
	case w.advance < time.Millisecond || w.advance%time.Millisecond != 0 || w.size%time.Millisecond != 0:
		return fmt.Sprintf("windows of %v every %v: want whole milliseconds, one at least", w.size, w.advance)
	case w.advance > w.size:
		return fmt.Sprintf("windows of %v every %v leave gaps", w.size, w.advance)
	}
	return w.lateness.check()
}

func (w TimeWindows) notSessions()            {}
func (w TimeWindows) length() time.Duration   { return w.size }
func (w TimeWindows) endOf(start int64) int64 { return start + w.size.Milliseconds() }
func (w TimeWindows) disjoint() bool          { return w.advance == w.size }

func (w TimeWindows) appendWindows(dst []record.Window, ts int64) []record.Window {
	size, advance := w.size.Milliseconds(), w.advance.Milliseconds()
	for start := max(0, ts-size+advance) / advance * advance; start <= ts; start += advance {
		dst = append(dst, record.Window{Start: start, End: start + size})
	}
	return dst
}

func (w TimeWindows) nextStart(t int64) int64 {
	advance := w.advance.Milliseconds()
	return (t + advance - 1) / advance * advance
}

func (w TimeWindows) lastClosed(t int64) int64 { return t - w.size.Milliseconds() }

// fixedWindows are windows whose places do not depend on the records.
type fixedWindows interface {
	windowing
	// length returns the size of the greatest window, or more.
	length() time.Duration
	// appendWindows appends the windows that ts belongs to, by ascending start.
	appendWindows(dst []record.Window, ts int64) []record.Window
	// nextStart returns the first start of a window from t on, which is not negative.
	nextStart(t int64) int64
	// endOf returns the end of the window that starts there.
	endOf(start int64) int64
	// lastClosed returns a time such that exactly the windows that start there or earlier end at t or earlier.
	lastClosed(t int64) int64
	// disjoint says that they do not overlap.
	disjoint() bool
}
