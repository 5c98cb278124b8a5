package storetest

import (
	"iter"
	"testing"

	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/store"
)

// RunSession compares a session store with a map, under random operations with commits, rollbacks, flushes, crashes and
// restores.
func RunSession(t *testing.T, with Timed) {
	t.Helper()
	kind := timedKind{
		retention: timedRetention.Milliseconds(), more: true,
		spec: store.SessionSpec("s", serde.String, serde.String,
			store.SessionConfig{Retention: timedRetention, TimeIndex: true}),
		moreOf: func(m *timedModel, end int64) int64 { return max(0, end-m.rng.Int64N(3)*1000) },
	}
	kind.bind = func(s store.Store) timedStore {
		typed, ok := s.(*store.Session[string, string])
		if !ok {
			t.Fatalf("a %T is not a session store of strings", s)
		}
		return sessionOps(typed)
	}
	runTimed(t, with, kind)
}

func sessionOps(s *store.Session[string, string]) timedStore {
	rows := func(all iter.Seq2[store.SessionEntry[string, string], error], from, to int64) (rows []timedRow, err error) {
		for e, err := range all {
			if err != nil {
				return rows, err
			}
			if e.Window.End >= from && e.Window.End <= to {
				rows = append(rows, timedRow{
					timedKey{key: e.Key, time: e.Window.End, more: e.Window.Start}, stamped{e.Value, e.Timestamp},
				})
			}
		}
		return rows, nil
	}
	window := func(at timedKey) record.Window { return record.Window{Start: at.more, End: at.time} }
	const always = 1 << 60
	return timedStore{
		put:    func(at timedKey, v string) error { return s.Put(at.key, window(at), v) },
		remove: func(at timedKey) error { return s.Remove(at.key, window(at)) },
		get: func(at timedKey) (stamped, bool, error) {
			v, ts, found, err := s.FetchWithTimestamp(at.key, window(at))
			return stamped{v, ts}, found, err
		},
		ofKey: func(key string, from, to int64, reverse bool) ([]timedRow, error) {
			if reverse {
				return rows(s.BackwardFindSessions(key, from, always), from, to)
			}
			return rows(s.FindSessions(key, from, always), from, to)
		},
		all: func(from, to int64, _ bool) ([]timedRow, error) {
			return rows(s.FetchEnded(from, to), from, to)
		},
		byTime: func(from, to int64) ([]timedRow, error) {
			return rows(s.FetchByEnd(from, to), from, to)
		},
		observed: s.ObservedTime,
	}
}
