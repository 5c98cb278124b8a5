package topology

import (
	"time"

	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/store"
)

// aggregateFixed adds the node of an aggregation over windows whose places are fixed, with its store.
func aggregateFixed[K, V, A any](
	g *KGroupedStream[K, V], w fixedWindows, final bool, f fold[K, V, A],
) *KTable[record.Windowed[K], A] {
	var c storeConfig
	for _, o := range f.opts {
		o.applyStore(&c)
	}
	b := g.stream.b
	storeName := b.storeName(c.store, f.storePrefix)
	name := b.nodeName(c.name, f.prefix)
	parent := g.source(f.operator, storeName)
	state := windowedState(storeName, w)
	retention := retentionOf(b, f.operator, c, w.length()+time.Duration(w.graceMs())*time.Millisecond)
	node := b.addNode(f.operator, &graphNode{
		name: name, kind: processor.ProcessorNode,
		bind: func() func(ctx processor.TaskContext) (any, error) {
			state := *state
			return func(ctx processor.TaskContext) (any, error) {
				return newFixedWindowNode(ctx, name, state, w, final, f)
			}
		},
	}, parent)
	addWindowStore(b, f.operator, node, storeName, c, final, g.keySerde, f.valueSerde,
		store.WindowConfig{Retention: retention, NextStart: w.nextStart})
	return &KTable[record.Windowed[K], A]{
		b: b, node: node, keySerde: serde.TimeWindowedFunc(g.keySerde, w.endOf), valueSerde: f.valueSerde, state: state,
	}
}

// fixedWindowNode folds records into windows. Owned by the task goroutine.
type fixedWindowNode[K, V, A any] struct {
	windowRows[K, A]

	fold    fold[K, V, A]
	null    record.Nullness[A]
	by      fixedWindows
	grace   int64
	windows []record.Window // scratch

	// observed is the highest timestamp of records with a key, late ones included.
	observed *store.Clock
	// emitted is the close time of the last emission; nil if every update is forwarded.
	emitted *store.Clock
}

func newFixedWindowNode[K, V, A any](
	ctx processor.TaskContext, name string, state tableState, w fixedWindows, final bool, f fold[K, V, A],
) (any, error) {
	rows, err := openWindowRows[K, A](ctx, name, state, w.endOf)
	if err != nil {
		return nil, err
	}
	n := &fixedWindowNode[K, V, A]{
		windowRows: rows, fold: f, null: record.NullnessOf[A](), by: w, grace: w.graceMs(),
	}
	if n.observed, err = n.store.Clock("observed"); err != nil {
		return nil, wrapNode(name, err)
	}
	if final {
		if n.emitted, err = n.store.Clock("emitted"); err != nil {
			return nil, wrapNode(name, err)
		}
	}
	return n, n.listen()
}

// Receive implements processor.Receiver.
func (n *fixedWindowNode[K, V, A]) Receive(r record.Record[K, V]) error {
	if r.NullKey {
		n.ctx.Dropped(n.name, nullKeyReason)
		return nil
	}
	n.observed.Advance(r.Timestamp)
	closeTime := n.observed.Now() - n.grace
	n.windows = n.by.appendWindows(n.windows[:0], r.Timestamp)
	for _, w := range n.windows {
		if w.End <= closeTime {
			n.ctx.Dropped(n.name, lateReason)
			continue
		}
		if err := n.update(&r, w); err != nil {
			return err
		}
	}
	return n.emitClosed(closeTime, r.Headers)
}

// update takes a record into one window.
func (n *fixedWindowNode[K, V, A]) update(r *record.Record[K, V], w record.Window) error {
	var (
		c         Change[A]
		timestamp int64
	)
	n.enter()
	_, err := n.store.Update(r.Key, w.Start, r.Headers, func(old A, oldTimestamp int64, found bool) (A, int64, bool) {
		timestamp = r.Timestamp
		if found {
			timestamp = max(timestamp, oldTimestamp)
		}
		next, ok := n.fold.next(r, old, found, n.null)
		c = Change[A]{New: next, HasNew: ok, Old: old, HasOld: found}
		return next, timestamp, ok
	})
	if err != nil || n.cached || n.emitted != nil {
		return err
	}
	return n.forward(r.Key, w, c, timestamp, r.Headers)
}

// emitClosed forwards the windows that have closed since the last time, in the order of their starts and keys.
func (n *fixedWindowNode[K, V, A]) emitClosed(closeTime int64, headers []record.Header) error {
	if n.emitted == nil || closeTime <= n.emitted.Now() {
		return nil
	}
	from, to := n.by.lastClosed(n.emitted.Now())+1, n.by.lastClosed(closeTime)
	n.emitted.Set(closeTime)
	if n.by.nextStart(max(0, from)) > to {
		return nil // no window begins there, which is the usual case
	}
	for e, err := range n.store.FetchAll(from, to) {
		if err != nil {
			return err
		}
		w := record.Window{Start: e.Start, End: n.by.endOf(e.Start)}
		if err := n.forward(e.Key, w, Change[A]{New: e.Value, HasNew: true}, e.Timestamp, headers); err != nil {
			return err
		}
	}
	return nil
}
