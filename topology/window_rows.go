package topology

import (
	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/store"
)

// windowRows keeps the rows of an aggregation over fixed windows and tells its children of updates. Nodes embed it.
// Owned by the task goroutine.
type windowRows[K, A any] struct {
	processor.Outputs[record.Windowed[K], Change[A]]
	userNode

	store   *store.Window[K, A]
	cached  bool // the store's flush listener forwards, not the one who writes
	sendOld bool
	endOf   func(start int64) int64
}

// addWindowStore declares the store of an aggregation over windows and connects the node to it.
func addWindowStore[K, A any](
	b *Builder, operator string, node *graphNode, name string, c storeConfig, final bool,
	keySerde serde.Serde[K], valueSerde serde.Serde[A], w store.WindowConfig,
) {
	needSerdes(b, operator, "the store "+name, keySerde, valueSerde)
	c.notVersioned(b, operator)
	spec := store.WindowSpec(name, keySerde, valueSerde, w)
	c.configure(&spec)
	spec.CachingEnabled = spec.CachingEnabled && !final
	b.addStore(operator, spec)
	node.useStore(name)
}

// openWindowRows makes the rows of one task.
func openWindowRows[K, A any](
	ctx processor.TaskContext, name string, state tableState, endOf func(start int64) int64,
) (windowRows[K, A], error) {
	r := windowRows[K, A]{userNode: userNode{ctx, name}, sendOld: state.sendOld, endOf: endOf}
	var err error
	if r.store, err = processor.StateStore[*store.Window[K, A]](ctx, state.store); err != nil {
		return r, wrapNode(name, err)
	}
	r.cached = r.store.CachingEnabled()
	return r, nil
}

// listen makes the store's flushes reach the children. Call it once the rows stand at their final address.
func (w *windowRows[K, A]) listen() error {
	if !w.cached {
		return nil
	}
	return w.store.SetFlushListener(w.flushed, w.sendOld)
}

// flushed forwards an update that the store held back; see rows.flushed.
func (w *windowRows[K, A]) flushed(
	key K, start int64, newValue A, newExists bool, oldValue A, oldExists bool, timestamp int64, headers []record.Header,
) error {
	current := w.ctx.Current()
	before := current.Context
	current.Context = store.Context{Timestamp: timestamp, Headers: headers}
	c := Change[A]{New: newValue, HasNew: newExists, Old: oldValue, HasOld: oldExists}
	err := w.forward(key, record.Window{Start: start, End: w.endOf(start)}, c, timestamp, headers)
	current.Context = before
	return err
}

// forward tells the children of a change.
func (w *windowRows[K, A]) forward(
	key K, window record.Window, c Change[A], timestamp int64, headers []record.Header,
) error {
	if !w.sendOld && c.HasOld {
		c = Change[A]{New: c.New, HasNew: c.HasNew}
	}
	return w.Forward(record.Record[record.Windowed[K], Change[A]]{
		Key: record.Windowed[K]{Key: key, Window: window}, Value: c, Timestamp: timestamp, Headers: headers,
	})
}
