package topology

import (
	"bytes"

	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/store"
)

// suppressNode holds updates back. Owned by the task goroutine.
type suppressNode[K, V any] struct {
	processor.Outputs[K, Change[V]]
	userNode
	suppression

	held     *store.TimeOrdered[K, heldUpdate[V]]
	observed *store.Clock
	idleTime idleTime
	place    windowEnd[K] // with windows
	// keepPrior says that the value that was forwarded last is of use: for old values, or to who reads the table.
	keepPrior, sendOld bool
	// due, over and emit are methods, taken once: taking one costs an allocation.
	due, over func(firstTime int64) bool
	emit      func(e store.TimeOrderedEntry[K, heldUpdate[V]]) error
}

func newSuppressNode[K, V any](
	ctx processor.TaskContext, name string, state suppressState, s suppression,
) (*suppressNode[K, V], error) {
	n := &suppressNode[K, V]{
		userNode: userNode{ctx, name}, suppression: s,
		keepPrior: state.sendOld || state.read, sendOld: state.sendOld,
	}
	n.due, n.over, n.emit = n.isDue, n.isOver, n.emitEntry
	var err error
	if n.held, err = processor.StateStore[*store.TimeOrdered[K, heldUpdate[V]]](ctx, state.store); err != nil {
		return nil, wrapNode(name, err)
	}
	if n.observed, err = n.held.Clock("observed"); err != nil {
		return nil, wrapNode(name, err)
	}
	n.idleTime = idleTime{observed: n.observed, after: s.idle.Milliseconds()}
	return n, nil
}

// Init implements processor.Initializer.
func (n *suppressNode[K, V]) Init() error {
	n.idleTime.start(n.ctx, n.name, n.emitDue)
	return nil
}

// Receive implements processor.Receiver.
func (n *suppressNode[K, V]) Receive(r record.Record[K, Change[V]]) error {
	n.observed.Advance(r.Timestamp)
	n.idleTime.seen(n.ctx.WallClock())
	at := r.Timestamp
	if n.windows {
		at = n.place.of(r.Key)
	}
	if n.held.Len() == 0 && n.isDue(at) {
		// It need not wait, and nothing waits before it.
		return n.forward(r.Key, &heldUpdate[V]{
			value: r.Value.New, hasValue: r.Value.HasNew, prior: r.Value.Old, hasPrior: r.Value.HasOld, headers: r.Headers,
		}, r.Timestamp)
	}
	if err := n.hold(&r, at); err != nil {
		return err
	}
	if err := n.emitDue(); err != nil || !n.isOver(0) {
		return err
	}
	if n.emitEarly {
		return n.held.EvictWhile(n.over, n.emit)
	}
	return &processor.BufferFullError{
		Task: n.ctx.TaskID(), Node: n.name, Store: n.held.Name(),
		Records: n.held.Len(), MaxRecords: n.records.shown(), Bytes: n.held.Bytes(), MaxBytes: n.bytes.shown(),
	}
}

// hold puts an update where the one that it replaces was.
func (n *suppressNode[K, V]) hold(r *record.Record[K, Change[V]], at int64) error {
	h := heldUpdate[V]{value: r.Value.New, hasValue: r.Value.HasNew, headers: cloneHeaders(r.Headers)}
	if n.keepPrior {
		before, _, found, err := n.held.Get(r.Key, at)
		if err != nil {
			return err
		}
		if found {
			h.prior, h.hasPrior = before.prior, before.hasPrior
		} else {
			h.prior, h.hasPrior = r.Value.Old, r.Value.HasOld
		}
	}
	return n.held.Put(r.Key, at, h, r.Timestamp)
}

// emitDue forwards what has waited long enough.
func (n *suppressNode[K, V]) emitDue() error {
	first, found, err := n.held.FirstTime()
	if err != nil || !found || !n.isDue(first) {
		return err
	}
	return n.held.EvictWhile(n.due, n.emit)
}

func (n *suppressNode[K, V]) isDue(at int64) bool { return at <= n.observed.Now()-n.waitMs }

// isOver reports that more waits than may.
func (n *suppressNode[K, V]) isOver(int64) bool {
	return n.records.exceeded(n.held.Len()) || n.bytes.exceeded(n.held.Bytes())
}

func (n *suppressNode[K, V]) emitEntry(e store.TimeOrderedEntry[K, heldUpdate[V]]) error {
	return n.forward(e.Key, &e.Value, e.Timestamp)
}

// forward tells the children of an update. Stores below see its time and headers, as in rows.flushed.
func (n *suppressNode[K, V]) forward(key K, h *heldUpdate[V], timestamp int64) error {
	if !h.hasValue && n.windows {
		return nil // a window that is no more: nobody has heard of it
	}
	c := Change[V]{New: h.value, HasNew: h.hasValue}
	if n.sendOld {
		c.Old, c.HasOld = h.prior, h.hasPrior
	}
	current := n.ctx.Current()
	before := current.Context
	current.Context = store.Context{Timestamp: timestamp, Headers: h.headers}
	err := n.Forward(record.Record[K, Change[V]]{Key: key, Value: c, Timestamp: timestamp, Headers: h.headers})
	current.Context = before
	return err
}

// cloneHeaders copies headers that have to last longer than what was fetched with them.
func cloneHeaders(headers []record.Header) []record.Header {
	if len(headers) == 0 {
		return nil
	}
	copied := make([]record.Header, len(headers))
	for i, h := range headers {
		copied[i] = record.Header{Key: h.Key, Value: bytes.Clone(h.Value)}
	}
	return copied
}
