package topology

import (
	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/store"
)

// sessionNode folds records into sessions. Owned by the task goroutine.
type sessionNode[K, V, A any] struct {
	windowNode[K, V, A]

	store *store.Session[K, A]
	gap   int64
	// reached are the stored sessions that a record reaches, by end.
	reached []store.SessionEntry[K, A]
}

func newSessionNode[K, V, A any](o nodeOptions[K, V, A], w SessionWindows) (any, error) {
	n := &sessionNode[K, V, A]{gap: w.gap.Milliseconds()}
	n.emit = n.emitSessions
	var err error
	if n.store, err = processor.StateStore[*store.Session[K, A]](o.ctx, o.state.store); err != nil {
		return nil, wrapNode(o.name, err)
	}
	if err := n.open(o, n.store, w); err != nil || !n.cached {
		return n, err
	}
	// The old value is always wanted: that a session was merged is no news to those below if they never heard of it.
	return n, n.store.SetFlushListener(func(
		key K, w record.Window, value A, exists bool, old A, oldExists bool, timestamp int64, headers []record.Header,
	) error {
		if !exists && !oldExists {
			return nil
		}
		return n.flushed(key, w, Change[A]{New: value, HasNew: exists, Old: old, HasOld: oldExists}, timestamp, headers)
	}, true)
}

// Receive implements processor.Receiver.
func (n *sessionNode[K, V, A]) Receive(r record.Record[K, V]) error {
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
	merged, err := n.reach(r.Key, r.Timestamp)
	if err != nil {
		return err
	}
	if merged.End < closeTime {
		return n.tooLate(&r, false, 1)
	}
	aggregate, exists := n.merge(r.Key)
	if merged.Start != r.Timestamp || merged.End != r.Timestamp {
		if err := n.remove(r.Headers); err != nil {
			return err
		}
	}
	n.enter()
	next, ok := n.fold.next(&r, aggregate, exists, n.null)
	if ok {
		err = n.store.PutWithTimestamp(r.Key, merged, next, merged.End)
	} else {
		err = n.store.RemoveWithTimestamp(r.Key, merged, merged.End)
	}
	// A session that ends just at the close time is not late, but the store keeps it no longer, and so does its cache.
	if err != nil || n.cached && !n.store.Expired(merged.End) || n.emitted != nil {
		return err
	}
	return n.forward(r.Key, merged, Change[A]{New: next, HasNew: ok}, merged.End, r.Headers)
}

// reach finds the sessions that a record at ts reaches, and returns the one that they make together.
func (n *sessionNode[K, V, A]) reach(key K, ts int64) (record.Window, error) {
	merged := record.Window{Start: ts, End: ts}
	clear(n.reached) // aggregates of other keys
	n.reached = n.reached[:0]
	for e, err := range n.store.FindSessions(key, ts-n.gap, ts+n.gap) {
		if err != nil {
			return merged, err
		}
		n.reached = append(n.reached, e)
		merged.Start, merged.End = min(merged.Start, e.Window.Start), max(merged.End, e.Window.End)
	}
	return merged, nil
}

// merge makes one aggregate of those that were reached.
func (n *sessionNode[K, V, A]) merge(key K) (aggregate A, exists bool) {
	n.enter()
	if n.fold.initial != nil {
		aggregate, exists = n.fold.initial(), true
	}
	for i := range n.reached {
		if !exists {
			aggregate, exists = n.reached[i].Value, true
			continue
		}
		aggregate = n.fold.merge(key, aggregate, n.reached[i].Value)
		// Without initial, a null aggregate is none.
		exists = n.fold.initial != nil || !n.null.IsNull(aggregate, false)
	}
	return aggregate, exists
}

// remove deletes the sessions that were reached, and says so below.
func (n *sessionNode[K, V, A]) remove(headers []record.Header) error {
	for i := range n.reached {
		e := &n.reached[i]
		if err := n.store.RemoveWithTimestamp(e.Key, e.Window, e.Window.End); err != nil {
			return err
		}
		if n.cached || n.emitted != nil {
			continue
		}
		if err := n.forward(e.Key, e.Window, Change[A]{Old: e.Value, HasOld: true}, e.Window.End, headers); err != nil {
			return err
		}
	}
	return nil
}

// emitSessions forwards sessions in the order of their ends and keys. One closes when its end lies before the close
// time.
func (n *sessionNode[K, V, A]) emitSessions(after, upTo int64, headers []record.Header) error {
	for e, err := range n.store.FetchByEnd(max(0, after), upTo-1) {
		if err != nil {
			return err
		}
		before, err := n.emittedBefore(e.Key, after)
		if err != nil {
			return err
		}
		if e.Window.End < before {
			continue
		}
		if err := n.forwardFinal(e.Key, e.Window, e.Value, e.Window.End, headers); err != nil {
			return err
		}
	}
	return nil
}
