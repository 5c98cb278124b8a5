package storetest

import (
	"iter"
	"testing"
	"time"

	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/store"
)

// Layouts of window stores, for RunWindow.
const (
	Grid       = "grid"
	Segments   = "segments"
	Indexed    = "indexed" // segments, and an index by time
	Duplicates = "duplicates"
)

// RunWindow compares a window store of a layout with a map, under random operations with commits, rollbacks, flushes,
// crashes and restores.
func RunWindow(t *testing.T, layout string, with Timed) {
	t.Helper()
	c := store.WindowConfig{Retention: timedRetention}
	kind := timedKind{
		retention: timedRetention.Milliseconds(),
		moreOf:    func(*timedModel, int64) int64 { return 0 },
	}
	switch layout {
	case Grid:
		c.Grid = 5 * time.Second
		kind.grid = c.Grid.Milliseconds()
	case Indexed:
		c.TimeIndex = true
	case Duplicates:
		c.RetainDuplicates, kind.duplicates, kind.more = true, true, true
	}
	kind.spec = store.WindowSpec("w", serde.String, serde.String, c)
	kind.bind = func(s store.Store) timedStore {
		w, ok := s.(*store.Window[string, string])
		if !ok {
			t.Fatalf("a %T is not a window store of strings", s)
		}
		return windowOps(w, c)
	}
	runTimed(t, with, kind)
}

func windowOps(w *store.Window[string, string], c store.WindowConfig) timedStore {
	rows := func(all iter.Seq2[store.WindowEntry[string, string], error]) (rows []timedRow, err error) {
		for e, err := range all {
			if err != nil {
				return rows, err
			}
			rows = append(rows, timedRow{timedKey{key: e.Key, time: e.Start}, stamped{e.Value, e.Timestamp}})
		}
		return rows, nil
	}
	ops := timedStore{
		put:    func(at timedKey, v string) error { return w.Put(at.key, v, at.time) },
		remove: func(at timedKey) error { return w.Delete(at.key, at.time) },
		get: func(at timedKey) (stamped, bool, error) {
			v, ts, found, err := w.FetchWithTimestamp(at.key, at.time)
			return stamped{v, ts}, found, err
		},
		ofKey: func(key string, from, to int64, reverse bool) ([]timedRow, error) {
			if reverse {
				return rows(w.BackwardFetchRange(key, from, to))
			}
			return rows(w.FetchRange(key, from, to))
		},
		all: func(from, to int64, reverse bool) ([]timedRow, error) {
			if reverse {
				return rows(w.BackwardFetchAll(from, to))
			}
			return rows(w.FetchAll(from, to))
		},
		observed: w.ObservedTime,
	}
	if c.TimeIndex || c.Grid > 0 {
		ops.byTime = func(from, to int64) ([]timedRow, error) { return rows(w.FetchByStart(from, to)) }
	}
	if !c.RetainDuplicates {
		ops.update = func(at timedKey, v stamped, drop bool) (old stamped, found, stored bool, err error) {
			stored, err = w.Update(at.key, at.time, []record.Header(nil),
				func(value string, ts int64, exists bool) (string, int64, bool) {
					old, found = stamped{value, ts}, exists
					return v.value, v.timestamp, !drop
				})
			return old, found, stored, err
		}
	}
	return ops
}
