package topology

import (
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/store"
)

// fixedWindowNode folds records into windows whose places are fixed. Owned by the task goroutine.
type fixedWindowNode[K, V, A any] struct {
	windowNode[K, V, A]

	store *store.Window[K, A]
	by    fixedWindows
	// windows are those of the last record.
	windows []record.Window
}

func newFixedWindowNode[K, V, A any](o nodeOptions[K, V, A], w fixedWindows) (any, error) {
	n := &fixedWindowNode[K, V, A]{by: w}
	n.emit = n.emitFixed
	var err error
	n.store, err = n.openWindowStore(o, w, w.endOf)
	return n, err
}

// Receive implements processor.Receiver.
func (n *fixedWindowNode[K, V, A]) Receive(r record.Record[K, V]) error {
	if r.NullKey {
		n.ctx.Dropped(n.name, nullKeyReason)
		return nil
	}
	closeTime, err := n.observe(&r)
	if err != nil {
		return err
	}
	if err := n.emitClosed(r.Headers); err != nil {
		return err
	}
	skipped := 0
	windows := n.windowsOf(r.Timestamp)
	for _, w := range windows {
		if w.End <= closeTime {
			skipped++
			continue
		}
		if err := n.update(&r, w); err != nil {
			return err
		}
	}
	if skipped == 0 {
		return nil
	}
	return n.tooLate(&r, skipped < len(windows), skipped)
}

// windowsOf returns the windows of a time. Most records are in the window of the one before.
func (n *fixedWindowNode[K, V, A]) windowsOf(ts int64) []record.Window {
	if len(n.windows) != 1 || !n.by.disjoint() || ts < n.windows[0].Start || ts >= n.windows[0].End {
		n.windows = n.by.appendWindows(n.windows[:0], ts)
	}
	return n.windows
}

// update takes a record into one window.
func (n *fixedWindowNode[K, V, A]) update(r *record.Record[K, V], w record.Window) error {
	var (
		c         Change[A]
		timestamp int64
	)
	n.enter()
	stored, err := n.store.Update(r.Key, w.Start, r.Headers, func(old A, oldTimestamp int64, found bool) (A, int64, bool) {
		timestamp = r.Timestamp
		if found {
			timestamp = max(timestamp, oldTimestamp)
		}
		next, ok := n.fold.next(r, old, found, n.null)
		c = Change[A]{New: next, HasNew: ok, Old: old, HasOld: found}
		return next, timestamp, ok
	})
	switch {
	case err != nil || stored && n.cached || n.emitted != nil:
		return err
	case !stored:
		// Another input of the cogroup is so far ahead that the store has forgotten the window. Kafka Streams then begins
		// it anew each time.
		var none A
		c.New, c.HasNew = n.fold.next(r, none, false, n.null)
		timestamp = r.Timestamp
	}
	return n.forward(r.Key, w, c, timestamp, r.Headers)
}

// emitFixed forwards windows in the order of their starts and keys.
func (n *fixedWindowNode[K, V, A]) emitFixed(after, upTo int64, headers []record.Header) error {
	from, to := max(0, n.by.lastClosed(after)+1), n.by.lastClosed(upTo)
	if to < from || n.by.nextStart(from) > to {
		return nil // no window begins there, which is the usual case
	}
	for e, err := range n.store.FetchByStart(from, to) {
		if err != nil {
			return err
		}
		before, err := n.emittedBefore(e.Key, after)
		if err != nil {
			return err
		}
		if before != unset && e.Start <= n.by.lastClosed(before) {
			continue
		}
		w := record.Window{Start: e.Start, End: n.by.endOf(e.Start)}
		if err := n.forwardFinal(e.Key, w, e.Value, e.Timestamp, headers); err != nil {
			return err
		}
	}
	return nil
}
