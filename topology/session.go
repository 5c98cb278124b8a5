package topology

import (
	"fmt"
	"time"

	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
)

// SessionWindows are windows of activity: a key's records that are at most the gap apart are in one session, which
// begins with its first record and ends with its last; both belong to it (Kafka Streams' SessionWindows, KIP-94).
type SessionWindows struct {
	lateness

	gap time.Duration
}

// Session returns windows that end when no record of the key has come for the gap, which is at least a millisecond.
// Without Grace they take no late records.
func Session(gap time.Duration) SessionWindows { return SessionWindows{gap: gap} }

// Grace returns sessions that take records for that long after the gap behind them, in event time; see
// [TimeWindows.Grace].
func (w SessionWindows) Grace(grace time.Duration) SessionWindows {
	w.grace = grace
	return w
}

// AdvanceWhenIdle returns sessions that close without a next record; see [TimeWindows.AdvanceWhenIdle].
func (w SessionWindows) AdvanceWhenIdle(after time.Duration) SessionWindows {
	w.idle = after
	return w
}

func (w SessionWindows) closeAfter() int64 { return (w.gap + w.grace).Milliseconds() }

func (w SessionWindows) check() string {
	if w.gap < time.Millisecond || w.gap%time.Millisecond != 0 {
		return fmt.Sprintf("sessions with a gap of %v: want whole milliseconds, one at least", w.gap)
	}
	return w.lateness.check()
}

// KSessionWindowedStream is a grouped stream divided into sessions, ready to be aggregated (Kafka Streams'
// SessionWindowedKStream): by [Count], [Reduce] or [AggregateSessions]. The result is a table with a row per key and
// session.
type KSessionWindowedStream[K, V any] struct {
	grouped *KGroupedStream[K, V]
	by      SessionWindows
	onClose bool
}

// SessionWindowedBy divides a grouped stream into sessions (Kafka Streams' windowedBy with SessionWindows).
//
// A record that reaches one or more sessions replaces them by one that has it too: the table forwards a null for each
// of them, at its end, and then the new row, at its own end. So it does also if only the value changes, unless all
// records of the session have the same timestamp. The update that forwards the new row carries no old value, as in
// Kafka Streams; with [GroupTableBy] below it, a session whose records all have the same timestamp is therefore added
// repeatedly.
func SessionWindowedBy[K, V any](g *KGroupedStream[K, V], w SessionWindows) *KSessionWindowedStream[K, V] {
	if problem := w.check(); problem != "" {
		g.stream.b.fail("SessionWindowedBy", "%s", problem)
	}
	return &KSessionWindowedStream[K, V]{grouped: g, by: w}
}

// EmitOnClose makes the results final: a session is forwarded once, when it has closed, in the order of ends and keys,
// and without nulls for those that were merged; see [KWindowedStream.EmitOnClose].
func (w *KSessionWindowedStream[K, V]) EmitOnClose() *KSessionWindowedStream[K, V] {
	final := *w
	final.onClose = true
	return &final
}

func (w *KSessionWindowedStream[K, V]) group() *KGroupedStream[K, V] { return w.grouped }
func (w *KSessionWindowedStream[K, V]) windows() windowing           { return w.by }
func (w *KSessionWindowedStream[K, V]) final() bool                  { return w.onClose }
func (w *KSessionWindowedStream[K, V]) resultKey(record.Windowed[K]) {}

// AggregateSessions folds the records of each key and session into one value (Kafka Streams' aggregate of sessions):
// initial makes the first aggregate, add returns the next one, and merge makes one of those of two sessions that a
// record has joined; it is called for every session that a record reaches, with the aggregate of initial on the left
// first. Records with a null key are dropped; with a null value add sees the zero value. A nil aggregate deletes the
// row. The result's timestamp is the session's end.
//
// add and merge must not modify the aggregates they are given, nor keep them. A serde for A is needed.
func AggregateSessions[K, V, A any](
	w *KSessionWindowedStream[K, V], initial func() A, add func(key K, value V, aggregate A) A,
	merge func(key K, left, right A) A, valueSerde serde.Serde[A], opts ...StoreOption,
) *KTable[record.Windowed[K], A] {
	const operator = "AggregateSessions"
	w.grouped.stream.b.needFunc(operator, initial == nil || add == nil || merge == nil)
	return aggregation(w, fold[K, V, A]{
		operator: operator, prefix: aggregatePrefix, storePrefix: aggregateStorePrefix,
		valueSerde: valueSerde, opts: opts, initial: initial, add: add, merge: merge,
	})
}
