package topology

import (
	"time"

	"github.com/tidemarkio/tidemark/record"
)

// Suppressed says how long [Suppress] holds updates back, and how many: [UntilWindowCloses], [UntilTimeLimit].
type Suppressed interface{ suppression() suppression }

// suppression is what a Suppressed says.
type suppression struct {
	windows        bool          // until they close
	wait           time.Duration // without windows
	waitMs         int64         // of both; of windows, the operator finds it out
	idle           time.Duration
	records, bytes bufferLimit
	emitEarly      bool // when a limit is exceeded; fail otherwise
}

// bufferLimit bounds a buffer; the zero value does not.
type bufferLimit struct {
	most int64
	set  bool
}

func (l bufferLimit) exceeded(n int64) bool { return l.set && n > l.most }

// shown returns the limit for messages, -1 for none.
func (l bufferLimit) shown() int64 {
	if !l.set {
		return -1
	}
	return l.most
}

// WindowClose waits for windows to close. See [UntilWindowCloses].
type WindowClose struct{ s suppression }

// UntilWindowCloses holds the updates of a window back until it is final, so that exactly one result is forwarded per
// window (Kafka Streams' Suppressed.untilWindowCloses). That is when the observed time has reached the window's end and
// the grace of the aggregation above, of sessions the gap too. Windows that were deleted give no result. The table's
// keys must be of type record.Windowed, and all that it is made from must come out of an aggregation with windows;
// filters, MapTableValues and joins may lie between.
//
// Results never leave early: by default there is no limit, and a buffer with one fails the task when it is full.
func UntilWindowCloses() WindowClose { return WindowClose{suppression{windows: true}} }

// MaxRecords limits how many windows may wait, over all keys of a task (Kafka Streams' BufferConfig.maxRecords with
// shutDownWhenFull). One more is a [processor.BufferFullError], which fails the task whatever the handlers say.
func (w WindowClose) MaxRecords(n int64) WindowClose {
	w.s.records = bufferLimit{n, true}
	return w
}

// MaxBytes limits the encoded keys, values and headers that wait, in one task; see MaxRecords.
func (w WindowClose) MaxBytes(n int64) WindowClose {
	w.s.bytes = bufferLimit{n, true}
	return w
}

// AdvanceWhenIdle lets results leave without a next update: once none has come for that long by the wall clock, the
// observed time goes on as the wall clock does, from the last update on. It is kept with the state. Use it beside the
// AdvanceWhenIdle of the windows above with no less time, so that they take no more records for what was forwarded.
// Defaults to off (as always in Kafka Streams).
func (w WindowClose) AdvanceWhenIdle(after time.Duration) WindowClose {
	w.s.idle = after
	return w
}

func (w WindowClose) suppression() suppression { return w.s }

// TimeLimit waits for some time. See [UntilTimeLimit].
type TimeLimit struct{ s suppression }

// UntilTimeLimit holds the updates of a key back until the observed time is that much later than the timestamp of the
// first of them, and then forwards the last (Kafka Streams' Suppressed.untilTimeLimit). Deletions are forwarded too. The
// time is event time, in whole milliseconds; with 0 every update is forwarded at once. By default there is no limit to
// what waits.
func UntilTimeLimit(wait time.Duration) TimeLimit {
	return TimeLimit{suppression{wait: wait, emitEarly: true}}
}

// MaxRecords limits how many keys may wait in a task (Kafka Streams' BufferConfig.maxRecords). When there are more, the
// first are forwarded early, or with ShutDownWhenFull the task fails.
func (l TimeLimit) MaxRecords(n int64) TimeLimit {
	l.s.records = bufferLimit{n, true}
	return l
}

// MaxBytes limits the encoded keys, values and headers that wait, in one task (Kafka Streams' BufferConfig.maxBytes);
// see MaxRecords. To count them, each update is encoded as it comes in.
func (l TimeLimit) MaxBytes(n int64) TimeLimit {
	l.s.bytes = bufferLimit{n, true}
	return l
}

// EmitEarlyWhenFull forwards the first updates early when a limit is exceeded. The default.
func (l TimeLimit) EmitEarlyWhenFull() TimeLimit {
	l.s.emitEarly = true
	return l
}

// ShutDownWhenFull fails the task when a limit is exceeded, with a [processor.BufferFullError], whatever the handlers
// say: nothing is ever forwarded early.
func (l TimeLimit) ShutDownWhenFull() TimeLimit {
	l.s.emitEarly = false
	return l
}

// AdvanceWhenIdle lets updates leave without a next one: once none has come for that long by the wall clock, the
// observed time goes on as the wall clock does, from the last update on. It is kept with the state. Defaults to off (as
// always in Kafka Streams).
func (l TimeLimit) AdvanceWhenIdle(after time.Duration) TimeLimit {
	l.s.idle = after
	return l
}

func (l TimeLimit) suppression() suppression { return l.s }

// windowedKey is what every pointer to a record.Windowed can do.
type windowedKey interface{ Span() record.Window }

// windowEnd tells the end of the window of keys that have one. The interface is made once per task, since making it for
// each key would cost an allocation. Owned by the task goroutine.
type windowEnd[K any] struct {
	key     K
	asked   bool
	current windowedKey // sees key
}

// of returns the end of the key's window, 0 if it has none.
func (w *windowEnd[K]) of(key K) int64 {
	if !w.asked {
		w.asked = true
		w.current, _ = any(&w.key).(windowedKey)
	}
	if w.current == nil {
		return 0
	}
	w.key = key
	return w.current.Span().End
}
