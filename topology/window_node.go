package topology

import (
	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/store"
)

// windowNode is what the nodes of all windows of event time have in common: time, children, late records. Nodes embed
// it. Owned by the task goroutine.
type windowNode[K, V, A any] struct {
	processor.Outputs[record.Windowed[K], Change[A]]
	userNode

	fold    fold[K, V, A]
	null    record.Nullness[A]
	cached  bool // the store's flush listener forwards, not the one who writes
	sendOld bool
	late    processor.Receiver[K, V] // nil: late records are dropped

	closeAfter int64
	// observed is the highest timestamp of the records that count, late ones included.
	observed *store.Clock
	// emitted is the close time of the last emission; nil if every update is forwarded.
	emitted *store.Clock
	idle    idleTime
	// emit forwards the windows that closed after the one close time and up to the other, but for those that were
	// forwarded before the number of partitions changed: emittedBefore.
	emit func(after, upTo int64, headers []record.Header) error
	// hashOf returns what the partition of a key follows from; it is asked only after such a change.
	hashOf func(key K) (uint32, error)
}

// windowStore is what store.Window and store.Session have in common here.
type windowStore[K any] interface {
	Clock(name string) (*store.Clock, error)
	CachingEnabled() bool
	PartitionHash(key K) (uint32, error)
}

// open completes the node of one task. Each input of a cogroup has an observed time of its own.
func (n *windowNode[K, V, A]) open(w nodeOptions[K, V, A], st windowStore[K], by windowing) (err error) {
	n.userNode, n.fold, n.null = userNode{w.ctx, w.name}, w.fold, record.NullnessOf[A]()
	n.cached, n.sendOld, n.closeAfter = st.CachingEnabled(), w.state.sendOld, by.closeAfter()
	n.hashOf = st.PartitionHash
	if n.observed, err = st.Clock("observed" + w.input); err != nil {
		return wrapNode(w.name, err)
	}
	if w.final {
		if n.emitted, err = st.Clock("emitted" + w.input); err != nil {
			return wrapNode(w.name, err)
		}
	}
	n.idle = idleTime{observed: n.observed, after: by.idleMs()}
	return nil
}

// Attach implements processor.Attacher. The late records' node takes the records that come in.
func (n *windowNode[K, V, A]) Attach(name string, child any) error {
	if late, ok := child.(processor.Receiver[K, V]); ok && name == n.name+lateSuffix {
		n.late = late
		return nil
	}
	return n.Outputs.Attach(name, child)
}

// Init implements processor.Initializer.
func (n *windowNode[K, V, A]) Init() error {
	n.idle.start(n.ctx, n.name, func() error { return n.emitClosed(nil) })
	return nil
}

// observe takes the time of a record, and returns the end of the windows of its key that have closed by it. They may be
// more than those of other keys if the key comes from a task that was ahead when the number of partitions changed: what
// was late there stays late.
func (n *windowNode[K, V, A]) observe(r *record.Record[K, V]) (closeTime int64, err error) {
	n.observed.Advance(r.Timestamp)
	n.idle.seen(n.ctx.WallClock())
	now := n.observed.Now()
	if n.observed.LatestBefore() > now {
		hash, err := n.hashOf(r.Key)
		if err != nil {
			return 0, wrapNode(n.name, err)
		}
		now = n.observed.NowOf(hash)
	}
	return now - n.closeAfter, nil
}

// emittedBefore returns up to which close time the windows of a key were emitted by the task that had the key before
// the number of partitions changed, -1 if that is not later than after, which is where the task itself is.
func (n *windowNode[K, V, A]) emittedBefore(key K, after int64) (closeTime int64, err error) {
	if n.emitted.LatestBefore() <= after {
		return unset, nil
	}
	hash, err := n.hashOf(key)
	if err != nil {
		return 0, wrapNode(n.name, err)
	}
	return n.emitted.Before(hash), nil
}

// emitClosed forwards the windows that have closed since the last time. It goes before the update of the record that
// closes them, since that may move the store's time so far that they expire; no window that has closed is updated.
func (n *windowNode[K, V, A]) emitClosed(headers []record.Header) error {
	closeTime := n.observed.Now() - n.closeAfter
	if n.emitted == nil || closeTime <= n.emitted.Now() {
		return nil
	}
	after := n.emitted.Now()
	n.emitted.Set(closeTime)
	return n.emit(after, closeTime, headers)
}

// tooLate deals with a record that no window took, or that so many windows did not.
func (n *windowNode[K, V, A]) tooLate(r *record.Record[K, V], updated bool, skipped int) error {
	if !updated && n.late != nil {
		return n.late.Receive(*r)
	}
	for range skipped {
		n.ctx.Dropped(n.name, lateReason)
	}
	return nil
}

// forward tells the children of a change.
func (n *windowNode[K, V, A]) forward(
	key K, window record.Window, c Change[A], timestamp int64, headers []record.Header,
) error {
	if !n.sendOld && c.HasOld {
		c = Change[A]{New: c.New, HasNew: c.HasNew}
	}
	return n.Forward(record.Record[record.Windowed[K], Change[A]]{
		Key: record.Windowed[K]{Key: key, Window: window}, Value: c, Timestamp: timestamp, Headers: headers,
	})
}

// forwardFinal is forward for a window that has closed.
func (n *windowNode[K, V, A]) forwardFinal(
	key K, window record.Window, value A, timestamp int64, headers []record.Header,
) error {
	return n.forward(key, window, Change[A]{New: value, HasNew: true}, timestamp, headers)
}

// flushed forwards an update that the store held back; see rows.flushed.
func (n *windowNode[K, V, A]) flushed(
	key K, window record.Window, c Change[A], timestamp int64, headers []record.Header,
) error {
	current := n.ctx.Current()
	before := current.Context
	current.Context = store.Context{Timestamp: timestamp, Headers: headers}
	err := n.forward(key, window, c, timestamp, headers)
	current.Context = before
	return err
}

// openWindowStore returns the node's window store; its flushes reach the node's children.
func (n *windowNode[K, V, A]) openWindowStore(
	w nodeOptions[K, V, A], by windowing, endOf func(start int64) int64,
) (*store.Window[K, A], error) {
	st, err := processor.StateStore[*store.Window[K, A]](w.ctx, w.state.store)
	if err != nil {
		return nil, wrapNode(w.name, err)
	}
	if err := n.open(w, st, by); err != nil || !n.cached {
		return st, err
	}
	return st, st.SetFlushListener(func(
		key K, start int64, value A, exists bool, old A, oldExists bool, timestamp int64, headers []record.Header,
	) error {
		return n.flushed(key, record.Window{Start: start, End: endOf(start)},
			Change[A]{New: value, HasNew: exists, Old: old, HasOld: oldExists}, timestamp, headers)
	}, n.sendOld)
}
