package topology

import (
	"time"

	"github.com/tidemarkio/tidemark/record"
)

// CalendarWindows are windows of whole days, weeks, months or years in a time zone. They begin at the first moment of
// their first day there, so that they are as long as the calendar says: a day has 23 or 25 hours when clocks change.
// Start belongs to a window, its end does not. Time begins at the Unix epoch: the first window starts there, and not
// where its day does. Kafka Streams has no such windows.
type CalendarWindows struct {
	lateness

	unit  calendarUnit
	in    *time.Location
	first time.Weekday // of a week
}

type calendarUnit int

const (
	day calendarUnit = iota
	week
	month
	year
)

// Days returns windows of one day in a time zone.
func Days(in *time.Location) CalendarWindows { return CalendarWindows{unit: day, in: in} }

// Weeks returns windows of one week in a time zone, which begin on Mondays; see StartingOn.
func Weeks(in *time.Location) CalendarWindows {
	return CalendarWindows{unit: week, in: in, first: time.Monday}
}

// Months returns windows of one month in a time zone.
func Months(in *time.Location) CalendarWindows { return CalendarWindows{unit: month, in: in} }

// Years returns windows of one year in a time zone.
func Years(in *time.Location) CalendarWindows { return CalendarWindows{unit: year, in: in} }

// StartingOn returns weeks that begin on that day; it is a mistake for other windows.
func (w CalendarWindows) StartingOn(first time.Weekday) CalendarWindows {
	w.first = first
	if w.unit != week {
		w.first = -1
	}
	return w
}

// Grace returns windows that take records for that long after their end, in event time; see [TimeWindows.Grace].
func (w CalendarWindows) Grace(grace time.Duration) CalendarWindows {
	w.grace = grace
	return w
}

// AdvanceWhenIdle returns windows that close without a next record; see [TimeWindows.AdvanceWhenIdle].
func (w CalendarWindows) AdvanceWhenIdle(after time.Duration) CalendarWindows {
	w.idle = after
	return w
}

func (w CalendarWindows) check() string {
	switch {
	case w.in == nil:
		return "calendar windows: the location is nil: give time.UTC, or one from time.LoadLocation"
	case w.unit != week && w.first != 0 || w.first < 0 || w.first > time.Saturday:
		return "StartingOn: want a day of the week, and only for Weeks"
	}
	return w.lateness.check()
}

func (w CalendarWindows) notSessions()   {}
func (w CalendarWindows) disjoint() bool { return true }

// length is a bound: places that moved across the date line had a day of 48 hours.
func (w CalendarWindows) length() time.Duration {
	const aDay = 24 * time.Hour
	return []time.Duration{2 * aDay, 8 * aDay, 32 * aDay, 367 * aDay}[w.unit]
}

func (w CalendarWindows) appendWindows(dst []record.Window, ts int64) []record.Window {
	start, end := w.around(ts)
	return append(dst, record.Window{Start: start, End: end})
}

func (w CalendarWindows) endOf(start int64) int64 {
	_, end := w.around(start)
	return end
}

func (w CalendarWindows) nextStart(t int64) int64 {
	t = max(0, t)
	start, end := w.around(t)
	if start == t {
		return t
	}
	return end
}

func (w CalendarWindows) lastClosed(t int64) int64 {
	if t < 0 {
		return -1
	}
	start, _ := w.around(t)
	return start - 1
}

// around returns start and end of the window that t, which is not negative, belongs to.
func (w CalendarWindows) around(t int64) (start, end int64) {
	y, m, d := time.UnixMilli(t).In(w.in).Date()
	var years, months, days int
	switch w.unit {
	case day:
		days = 1
	case week:
		weekday := time.Date(y, m, d, 0, 0, 0, 0, time.UTC).Weekday()
		d -= int(weekday-w.first+7) % 7
		days = 7
	case month:
		d, months = 1, 1
	case year:
		m, d, years = time.January, 1, 1
	}
	for end = dayBegins(y, m, d, w.in); end <= t; { // more than once if clocks went back over midnight since
		y, m, d = y+years, m+time.Month(months), d+days
		start, end = end, dayBegins(y, m, d, w.in)
	}
	return max(0, start), end
}

// dayBegins returns the first moment of a day. When clocks change at midnight, that is there twice or not at all.
func dayBegins(y int, m time.Month, d int, in *time.Location) int64 {
	t := time.Date(y, m, d, 0, 0, 0, 0, in)
	from, until := t.ZoneBounds()
	_, offset := t.Zone()
	shown := t.UnixMilli() + int64(offset)*time.Second.Milliseconds()
	switch want := time.Date(y, m, d, 0, 0, 0, 0, time.UTC).UnixMilli(); {
	// Midnight is left out, and Date took the time by the clock of after the change or of before it: the day begins
	// with the change.
	case shown < want:
		return until.UnixMilli()
	case shown > want:
		return from.UnixMilli()
	}
	if !from.IsZero() {
		_, before := from.Add(-1).Zone()
		// By the clock of before the change, midnight may have been there already.
		earlier := t.Add(time.Duration(offset-before) * time.Second)
		if before > offset && earlier.Before(from) {
			return earlier.UnixMilli()
		}
	}
	return t.UnixMilli()
}
