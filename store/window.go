package store

import (
	"fmt"
	"iter"
	"time"

	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
)

// Window is a window store: one value, with a timestamp, per key and start of a window (Kafka Streams'
// TimestampedWindowStore). A row expires when its start is not greater than the greatest start ever put minus the
// retention; it is then neither read nor written.
//
// What is said of nil values and sharing at [KeyValue] holds here too. Owned by the task goroutine.
type Window[K, V any] struct {
	*timed[K, V]

	// numbers tells duplicates apart; nil if a later put replaces an earlier one.
	numbers *Clock
}

// duplicatesClock numbers duplicates.
const duplicatesClock = "duplicates"

// WindowEntry is one row of a window store.
type WindowEntry[K, V any] struct {
	Key       K
	Start     int64
	Value     V
	Timestamp int64
}

// WindowConfig describes a window store.
type WindowConfig struct {
	// Retention is how long a row is kept, in event time behind the greatest start (Kafka Streams' retention). It must
	// be at least a millisecond; with RetainDuplicates 0 is allowed, and nothing is kept then.
	Retention time.Duration
	// Grid says that all starts are multiples of it. Rows then lie in the order of (start, key), and those of one key
	// are found by looking each start up. Defaults to any start: rows lie by segments of time and by key.
	Grid time.Duration
	// NextStart is Grid for starts that are no multiples: it returns the first start from t on.
	NextStart func(t int64) int64
	// RetainDuplicates keeps every row of a key and start, in the order in which they were put (Kafka Streams'
	// retainDuplicates). It excludes Grid and NextStart.
	RetainDuplicates bool
	// TimeIndex keeps an index for FetchByStart, at the price of a second row per row. With Grid or NextStart there is
	// no need for it.
	TimeIndex bool
}

// WindowSpec describes a persistent, logged window store; the caller may change fields.
func WindowSpec[K, V any](name string, key serde.Serde[K], value serde.Serde[V], c WindowConfig) Spec {
	return Spec{
		Name: name, Type: TypeWindow, KeySerde: typeOf(key), ValueSerde: typeOf(value),
		KeyWindows: serde.WindowBytes(key), Rows: c.rows(), Retention: c.Retention, Serdes: Serdes[K, V]{key, value},
		New: func(env Env) (Store, error) { return newWindow(name, env, key, value, c) },
	}
}

func (c *WindowConfig) rows() RowLayout {
	switch {
	case c.RetainDuplicates:
		return DuplicateRows
	case c.Grid.Milliseconds() > 0 || c.NextStart != nil:
		return GridRows
	}
	return SegmentRows
}

func newWindow[K, V any](
	name string, env Env, key serde.Serde[K], value serde.Serde[V], c WindowConfig,
) (Store, error) {
	next := c.NextStart
	if grid := c.Grid.Milliseconds(); grid > 0 && next == nil {
		next = func(t int64) int64 { return (t + grid - 1) / grid * grid }
	}
	if c.RetainDuplicates && next != nil {
		return nil, fmt.Errorf("store: %s: RetainDuplicates excludes Grid and NextStart", name)
	}
	t, err := newTimed(name, env, key, value, timedConfig{
		retention: c.Retention, next: next, more: c.RetainDuplicates, index: c.TimeIndex,
	})
	if err != nil {
		return nil, err
	}
	s := &Window[K, V]{timed: t}
	if c.RetainDuplicates {
		if s.numbers, err = t.clocks.clock(duplicatesClock); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// Fetch returns the value of k in the window that starts there, uncommitted writes included. With RetainDuplicates use
// FetchRange.
func (s *Window[K, V]) Fetch(k K, start int64) (v V, found bool, err error) {
	v, _, found, err = s.FetchWithTimestamp(k, start)
	return v, found, err
}

// FetchWithTimestamp returns the value of k in the window that starts there, and its timestamp.
func (s *Window[K, V]) FetchWithTimestamp(k K, start int64) (v V, timestamp int64, found bool, err error) {
	return s.get(k, start, 0)
}

// Put sets the value of k in the window that starts there. The timestamp is that of the record being processed.
func (s *Window[K, V]) Put(k K, v V, start int64) error {
	return s.PutWithTimestamp(k, v, start, s.data.context.Timestamp)
}

// PutWithTimestamp sets the value of k in the window that starts there, with a timestamp of its own.
func (s *Window[K, V]) PutWithTimestamp(k K, v V, start, timestamp int64) error {
	if s.numbers != nil && s.data.nilable && isNil(&v) {
		return nil // as Delete
	}
	return s.put(k, start, s.number(), v, true, timestamp, s.data.context.Headers)
}

// Delete removes the row. That it is not there is no error. With RetainDuplicates it does nothing, as a null value does
// in Kafka Streams.
func (s *Window[K, V]) Delete(k K, start int64) error {
	return s.DeleteWithTimestamp(k, start, s.data.context.Timestamp)
}

// DeleteWithTimestamp is Delete with a timestamp of its own.
func (s *Window[K, V]) DeleteWithTimestamp(k K, start, timestamp int64) error {
	var zero V
	if s.numbers != nil {
		return nil
	}
	return s.put(k, start, 0, zero, false, timestamp, s.data.context.Headers)
}

func (s *Window[K, V]) number() int64 {
	if s.numbers == nil {
		return 0
	}
	s.numbers.Set(s.numbers.Now() + 1)
	return s.numbers.Now()
}

// Update replaces the value of k in the window that starts there by what f makes of it, with one look-up; see
// [KeyValue.Update]. stored is false, and f was not called, if the row has expired. Not with RetainDuplicates.
func (s *Window[K, V]) Update(
	k K, start int64, headers []record.Header, f func(old V, timestamp int64, exists bool) (V, int64, bool),
) (stored bool, err error) {
	return s.update(k, start, 0, headers, f)
}

// FetchRange yields the rows of k with from <= start <= to, by ascending start.
//
// The loop body may write to the store: writes ahead of the position may be seen, those behind it are not.
func (s *Window[K, V]) FetchRange(k K, from, to int64) iter.Seq2[WindowEntry[K, V], error] {
	return windowEntries(s.ofKey(k, from, to, false))
}

// BackwardFetchRange is FetchRange by descending start.
func (s *Window[K, V]) BackwardFetchRange(k K, from, to int64) iter.Seq2[WindowEntry[K, V], error] {
	return windowEntries(s.ofKey(k, from, to, true))
}

// FetchAll yields the rows of all keys with from <= start <= to: by start and key with Grid, otherwise by segment of
// time, key and start.
func (s *Window[K, V]) FetchAll(from, to int64) iter.Seq2[WindowEntry[K, V], error] {
	return windowEntries(s.all(from, to, false))
}

// BackwardFetchAll is FetchAll in reverse.
func (s *Window[K, V]) BackwardFetchAll(from, to int64) iter.Seq2[WindowEntry[K, V], error] {
	return windowEntries(s.all(from, to, true))
}

// FetchByStart yields the rows of all keys with from <= start <= to, by start and the bytes of the key. It needs Grid,
// NextStart or TimeIndex.
func (s *Window[K, V]) FetchByStart(from, to int64) iter.Seq2[WindowEntry[K, V], error] {
	return windowEntries(s.byTime(from, to))
}

// All yields every row, in the order of FetchAll.
func (s *Window[K, V]) All() iter.Seq2[WindowEntry[K, V], error] { return s.FetchAll(0, timeMax) }

func windowEntries[K, V any](rows iter.Seq2[row[K, V], error]) iter.Seq2[WindowEntry[K, V], error] {
	return func(yield func(WindowEntry[K, V], error) bool) {
		for r, err := range rows {
			if !yield(WindowEntry[K, V]{r.key, r.time, r.value, r.timestamp}, err) {
				return
			}
		}
	}
}

// WindowFlushListener is [FlushListener] for window stores.
type WindowFlushListener[K, V any] func(
	key K, start int64, newValue V, newExists bool, oldValue V, oldExists bool, timestamp int64, headers []record.Header,
) error

// SetFlushListener makes the store hold updates back until FlushCache; see [KeyValue.SetFlushListener].
func (s *Window[K, V]) SetFlushListener(listener WindowFlushListener[K, V], wantOld bool) error {
	return s.listen(wantOld,
		func(r row[K, V], v V, exists bool, old V, oldExists bool, ts int64, h []record.Header) error {
			return listener(r.key, r.time, v, exists, old, oldExists, ts, h)
		})
}
