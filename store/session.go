package store

import (
	"iter"
	"time"

	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
)

// Session is a session store: one value per key and session, whose start and end both belong to it (Kafka Streams'
// SessionStore). A session expires when its end is not greater than the greatest end ever put minus the retention.
//
// What is said of nil values and sharing at [KeyValue] holds here too. Owned by the task goroutine.
type Session[K, V any] struct{ *timed[K, V] }

// SessionEntry is one session.
type SessionEntry[K, V any] struct {
	Key       K
	Window    record.Window
	Value     V
	Timestamp int64
}

// SessionConfig describes a session store.
type SessionConfig struct {
	// Retention is how long a session is kept, in event time behind the greatest end (Kafka Streams' retention). It must
	// be at least a millisecond.
	Retention time.Duration
	// TimeIndex keeps an index for FetchByEnd, at the price of a second row per row.
	TimeIndex bool
}

// SessionSpec describes a persistent, logged session store; the caller may change fields.
func SessionSpec[K, V any](name string, key serde.Serde[K], value serde.Serde[V], c SessionConfig) Spec {
	return Spec{
		Name: name, Type: TypeSession, KeySerde: typeOf(key), ValueSerde: typeOf(value),
		KeyWindows: serde.WindowBytes(key), Retention: c.Retention, Serdes: Serdes[K, V]{key, value},
		New: func(env Env) (Store, error) {
			t, err := newTimed(name, env, key, value, timedConfig{
				retention: c.Retention, more: true, index: c.TimeIndex,
			})
			if err != nil {
				return nil, err
			}
			return &Session[K, V]{t}, nil
		},
	}
}

// Fetch returns the value of one session.
func (s *Session[K, V]) Fetch(k K, w record.Window) (v V, found bool, err error) {
	v, _, found, err = s.FetchWithTimestamp(k, w)
	return v, found, err
}

// FetchWithTimestamp returns the value of one session, and the timestamp it was put with.
func (s *Session[K, V]) FetchWithTimestamp(k K, w record.Window) (v V, timestamp int64, found bool, err error) {
	return s.get(k, w.End, w.Start)
}

// Put sets the value of a session. The timestamp is that of the record being processed.
func (s *Session[K, V]) Put(k K, w record.Window, v V) error {
	return s.PutWithTimestamp(k, w, v, s.data.context.Timestamp)
}

// PutWithTimestamp sets the value of a session with a timestamp of its own.
func (s *Session[K, V]) PutWithTimestamp(k K, w record.Window, v V, timestamp int64) error {
	return s.put(k, w.End, w.Start, v, true, timestamp, s.data.context.Headers)
}

// Remove deletes a session. That it is not there is no error.
func (s *Session[K, V]) Remove(k K, w record.Window) error {
	return s.RemoveWithTimestamp(k, w, s.data.context.Timestamp)
}

// RemoveWithTimestamp is Remove with a timestamp of its own.
func (s *Session[K, V]) RemoveWithTimestamp(k K, w record.Window, timestamp int64) error {
	var zero V
	return s.put(k, w.End, w.Start, zero, false, timestamp, s.data.context.Headers)
}

// FindSessions yields the sessions of k that end at earliestEnd or later and start at latestStart or earlier, by
// ascending end.
//
// The loop body may write to the store: writes ahead of the position may be seen, those behind it are not.
func (s *Session[K, V]) FindSessions(k K, earliestEnd, latestStart int64) iter.Seq2[SessionEntry[K, V], error] {
	return sessionEntries(s.ofKey(k, earliestEnd, timeMax, false), latestStart)
}

// BackwardFindSessions is FindSessions by descending end.
func (s *Session[K, V]) BackwardFindSessions(k K, earliestEnd, latestStart int64) iter.Seq2[SessionEntry[K, V], error] {
	return sessionEntries(s.ofKey(k, earliestEnd, timeMax, true), latestStart)
}

// FetchKey yields all sessions of k, by ascending end.
func (s *Session[K, V]) FetchKey(k K) iter.Seq2[SessionEntry[K, V], error] {
	return s.FindSessions(k, 0, timeMax)
}

// FetchEnded yields the sessions of all keys that end between from and to, both included, by segment of time, key and
// end.
func (s *Session[K, V]) FetchEnded(from, to int64) iter.Seq2[SessionEntry[K, V], error] {
	return sessionEntries(s.all(from, to, false), timeMax)
}

// FetchByEnd yields the sessions of all keys that end between from and to, both included, by end, the bytes of the key,
// and start. It needs TimeIndex.
func (s *Session[K, V]) FetchByEnd(from, to int64) iter.Seq2[SessionEntry[K, V], error] {
	return sessionEntries(s.byTime(from, to), timeMax)
}

// All yields every session, in the order of FetchEnded.
func (s *Session[K, V]) All() iter.Seq2[SessionEntry[K, V], error] { return s.FetchEnded(0, timeMax) }

func sessionEntries[K, V any](
	rows iter.Seq2[row[K, V], error], latestStart int64,
) iter.Seq2[SessionEntry[K, V], error] {
	return func(yield func(SessionEntry[K, V], error) bool) {
		for r, err := range rows {
			if err == nil && r.more > latestStart {
				continue
			}
			e := SessionEntry[K, V]{r.key, record.Window{Start: r.more, End: r.time}, r.value, r.timestamp}
			if !yield(e, err) {
				return
			}
		}
	}
}

// SessionFlushListener is [FlushListener] for session stores.
type SessionFlushListener[K, V any] func(
	key K, w record.Window, newValue V, newExists bool, oldValue V, oldExists bool, timestamp int64,
	headers []record.Header,
) error

// SetFlushListener makes the store hold updates back until FlushCache; see [KeyValue.SetFlushListener].
func (s *Session[K, V]) SetFlushListener(listener SessionFlushListener[K, V], wantOld bool) error {
	return s.listen(wantOld,
		func(r row[K, V], v V, exists bool, old V, oldExists bool, ts int64, h []record.Header) error {
			return listener(r.key, record.Window{Start: r.more, End: r.time}, v, exists, old, oldExists, ts, h)
		})
}
