package topology

import (
	"time"

	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/store"
)

// windowTable is the table of an aggregation with windows while it is declared: what the nodes that fold into it share.
// A cogroup has several.
type windowTable[K, A any] struct {
	b        *Builder
	operator string
	by       windowing
	final    bool
	config   storeConfig
	store    string
	// keySerde is that of the result.
	keySerde serde.Serde[record.Windowed[K]]
	state    *tableState
}

// newWindowTable declares the store of an aggregation with windows.
func newWindowTable[K, A any](
	b *Builder, operator, storeName string, by windowing, final bool, c storeConfig,
	keySerde serde.Serde[K], valueSerde serde.Serde[A],
) *windowTable[K, A] {
	t := &windowTable[K, A]{
		b: b, operator: operator, by: by, final: final, config: c, store: storeName,
		state: &tableState{store: storeName, keepsOld: true},
	}
	needSerdes(b, operator, "the store "+storeName, keySerde, valueSerde)
	grace := time.Duration(by.graceMs()) * time.Millisecond
	var spec store.Spec
	switch w := by.(type) {
	case fixedWindows:
		t.keySerde = serde.TimeWindowedFunc(keySerde, w.endOf)
		spec = store.WindowSpec(storeName, keySerde, valueSerde, store.WindowConfig{
			Retention: t.retention(w.length() + grace), NextStart: w.nextStart,
		})
	case SlidingWindows:
		t.keySerde = serde.TimeWindowed(keySerde, w.difference)
		spec = store.WindowSpec(storeName, keySerde, valueSerde, store.WindowConfig{
			Retention: t.retention(2*w.difference + grace), TimeIndex: final,
		})
	case SessionWindows:
		t.keySerde = serde.SessionWindowed(keySerde)
		spec = store.SessionSpec(storeName, keySerde, valueSerde, store.SessionConfig{
			Retention: t.retention(w.gap + grace), TimeIndex: final,
		})
	case CountedWindows:
		t.keySerde = serde.SessionWindowed(keySerde)
		if c.retention != 0 {
			b.fail(operator, "Retention: count windows know no time")
		}
		t.state = &tableState{keepsOld: true} // the rows of the store are those of windows that are still open
		spec = store.KeyValueSpec(storeName, keySerde, newCountRowSerde(valueSerde))
	}
	c.notVersioned(b, operator)
	c.noTTL(b, operator, "windows expire by Retention")
	c.configure(&spec)
	spec.CachingEnabled = spec.CachingEnabled && !final
	b.addStore(operator, spec)
	return t
}

// retention returns how long the store keeps its rows: as the option says, but not less than a window lives.
func (t *windowTable[K, A]) retention(lifetime time.Duration) time.Duration {
	lifetime = max(lifetime, time.Millisecond)
	switch given := t.config.retention; {
	case given == 0:
	case given < lifetime:
		t.b.fail(t.operator, "Retention(%v) is less than the life of a window, %v (its length and grace)", given, lifetime)
	default:
		lifetime = given
	}
	if _, fixed := t.by.(fixedWindows); t.final && !fixed {
		lifetime += time.Millisecond // a row that is exactly that old is still to be emitted
	}
	return lifetime
}

// nodeOptions is what the node of one task is made from.
type nodeOptions[K, V, A any] struct {
	ctx   processor.TaskContext
	name  string
	state tableState
	fold  fold[K, V, A]
	final bool
	// input follows the names of the node's clocks: "" for the first input.
	input string
}

// addFold declares a node that folds into t, and reports how many of the options about late records it took.
func addFold[K, V, A any](
	t *windowTable[K, A], name, input string, f fold[K, V, A], g *KGroupedStream[K, V], parent *graphNode,
) (node *graphNode, late int) {
	by, final, tableState := t.by, t.final, t.state
	storeName := t.store
	node = t.b.addNode(t.operator, &graphNode{
		name: name, kind: processor.ProcessorNode, closes: windowsCloseOf(by),
		bind: func() func(ctx processor.TaskContext) (any, error) {
			state := *tableState
			state.store = storeName
			return func(ctx processor.TaskContext) (any, error) {
				o := nodeOptions[K, V, A]{ctx, name, state, f, final, input}
				switch w := by.(type) {
				case SlidingWindows:
					return newSlidingNode(o, w)
				case SessionWindows:
					return newSessionNode(o, w)
				case CountedWindows:
					return newCountedNode(o, w)
				default:
					fixed, _ := by.(fixedWindows) // WindowedBy takes no others
					return newFixedWindowNode(o, fixed)
				}
			}
		},
	}, parent)
	node.useStore(storeName)
	if _, counted := by.(CountedWindows); counted {
		return node, 0
	}
	return node, addLate(t.b, t.operator, t.config.late, node, g.keySerde, g.valueSerde)
}

// windowsCloseOf returns when windows are final. Those that count records know no time.
func windowsCloseOf(by windowing) *windowsClose {
	_, counted := by.(CountedWindows)
	return &windowsClose{after: by.closeAfter(), known: !counted}
}

// checkLate reports options about late records that no input takes.
func (t *windowTable[K, A]) checkLate(taken int) {
	if taken < len(t.config.late) {
		t.b.fail(t.operator, "LateRecords: a stream that it is for does not come in here, or it has no late records: %T",
			t.config.late)
	}
}

// table returns the result, whose updates node forwards.
func (t *windowTable[K, A]) table(node *graphNode, valueSerde serde.Serde[A]) *KTable[record.Windowed[K], A] {
	return &KTable[record.Windowed[K], A]{
		b: t.b, node: node, keySerde: t.keySerde, valueSerde: valueSerde, state: t.state, view: t.view(),
	}
}

// view reads the table from its store. Counted windows cannot be read: their store keeps what is counted, not results.
func (t *windowTable[K, A]) view() tableView[record.Windowed[K], A] {
	name := t.store
	v := tableView[record.Windowed[K], A]{stores: func() []string { return []string{name} }}
	switch t.by.(type) {
	case SessionWindows:
		v.open = func(ctx processor.TaskContext) (g tableGetter[record.Windowed[K], A], err error) {
			sessions, err := processor.StateStore[*store.Session[K, A]](ctx, name)
			g.get = func(key record.Windowed[K]) (A, int64, bool, error) {
				return sessions.FetchWithTimestamp(key.Key, key.Window)
			}
			return g, err
		}
	case CountedWindows:
	default:
		v.open = func(ctx processor.TaskContext) (g tableGetter[record.Windowed[K], A], err error) {
			windows, err := processor.StateStore[*store.Window[K, A]](ctx, name)
			g.get = func(key record.Windowed[K]) (A, int64, bool, error) {
				return windows.FetchWithTimestamp(key.Key, key.Window.Start)
			}
			return g, err
		}
	}
	return v
}

// dropped reasons of windowed aggregations.
const (
	nullKeyReason        = "null key in an aggregation"
	nullKeyOrValueReason = "null key or value in an aggregation"
	lateReason           = "late: the window has closed"
)
