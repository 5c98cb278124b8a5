package topology

import (
	"fmt"

	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/store"
)

// KTable is a table: the last value of each key, seen as a stream of updates (Kafka Streams' KTable). Operators do not
// change it: each returns a new table or stream.
type KTable[K, V any] struct {
	b          *Builder
	node       *graphNode // forwards records of K and Change[V]
	keySerde   serde.Serde[K]
	valueSerde serde.Serde[V]
	state      *tableState
	view       tableView[K, V]
}

// tableState is what the tables below need to know of a table, whatever its types are. Later declarations change it; it
// is read when a plan is built.
type tableState struct {
	// store is the name of the table's store, "" as long as it has none.
	store string
	// sendOld says that updates carry the old value.
	sendOld bool
	// parent is the table that this one is computed from, row by row; nil if it is not.
	parent *tableState
	// joined are the tables that this one is a join of.
	joined []*tableState
	// materialize gives the table a store; nil if it cannot get one later than at its declaration.
	materialize func()
	// history says that the store is versioned.
	history bool
	// keepsOld says that the node knows old values by its nature, as aggregates do.
	keepsOld bool
}

// sendOldValues asks that the table's updates carry old values, and reports whether they will. With force, a source
// table without a store gets one for it; without, the answer is then false. Kafka Streams' enableSendingOldValues, on
// which it depends which tombstones a filter forwards.
func (t *tableState) sendOldValues(force bool) bool {
	switch {
	case t.sendOld:
	case len(t.joined) > 0:
		// Even if the result has a store of its own, as in Kafka Streams.
		for _, side := range t.joined {
			side.sendOldValues(true)
		}
		t.sendOld = true
	case t.store != "" || t.keepsOld:
		t.sendOld = true
	case t.parent != nil:
		t.sendOld = t.parent.sendOldValues(force)
	case force && t.materialize != nil:
		t.materialize()
		t.sendOld = true
	}
	return t.sendOld
}

// versioned reports whether the table keeps its history, by its store or by that of the table it is computed from.
func (t *tableState) versioned() bool {
	if t.store == "" && t.parent != nil {
		return t.parent.versioned()
	}
	return t.history
}

// deriveTable adds a node below t that computes its rows from t's, with a store if the options name one. compute gives
// the row of a row of t, and whether there is one, to who reads the table without a store.
func deriveTable[K, V, V2 any](
	t *KTable[K, V], operator, prefix string, opts []StoreOption, valueSerde serde.Serde[V2], sendOld bool,
	compute func(key K, value V) (V2, bool), newNode func(r rows[K, V2]) listener,
) *KTable[K, V2] {
	var c storeConfig
	for _, o := range opts {
		o.applyStore(&c)
	}
	name := t.b.nodeName(c.name, prefix)
	state := &tableState{parent: t.state, sendOld: sendOld}
	node := t.b.addNode(operator, rowsNode(name, state, newNode), t.node)
	if c.store == "" {
		c.noTTL(t.b, operator, "the table has no store: give it one with As")
	}
	view := derivedView(t.view, name, compute)
	if c.store != "" {
		state.store = c.store
		addStoreFor(t.b, operator, node, c.store, c, t.keySerde, valueSerde)
		view = storeView[K, V2](state)
	}
	return &KTable[K, V2]{b: t.b, node: node, keySerde: t.keySerde, valueSerde: valueSerde, state: state, view: view}
}

// addStoreFor declares the store of a table or an aggregate and connects the node to it.
func addStoreFor[K, V any](
	b *Builder, operator string, node *graphNode, name string, c storeConfig,
	keySerde serde.Serde[K], valueSerde serde.Serde[V],
) {
	needSerdes(b, operator, fmt.Sprintf("the store %q", name), keySerde, valueSerde)
	if len(c.late) > 0 {
		b.fail(operator, "LateRecords: without windows no record is late")
	}
	c.notVersioned(b, operator)
	spec := store.KeyValueSpec(name, keySerde, valueSerde)
	c.configure(&spec)
	b.addStore(operator, spec)
	node.useStore(name)
}

// rows keeps the rows of a table node, if it has a store, and tells its children of updates. Nodes embed it. Owned by
// the task goroutine.
type rows[K, V any] struct {
	processor.Outputs[K, Change[V]]
	userNode

	kv      *store.KeyValue[K, V]  // nil: the table is not materialized
	history *store.Versioned[K, V] // in the place of kv, of a versioned table
	cached  bool                   // the store's flush listener forwards, not the one who writes
	sendOld bool
}

// openRows makes the rows of one task.
func openRows[K, V any](ctx processor.TaskContext, name string, state tableState) (rows[K, V], error) {
	r := rows[K, V]{userNode: userNode{ctx, name}, sendOld: state.sendOld}
	if state.store == "" {
		return r, nil
	}
	var err error
	if state.history {
		r.history, err = processor.StateStore[*store.Versioned[K, V]](ctx, state.store)
		if err != nil {
			return r, fmt.Errorf("topology: node %q: %w", name, err)
		}
		return r, nil
	}
	if r.kv, err = processor.StateStore[*store.KeyValue[K, V]](ctx, state.store); err != nil {
		return r, fmt.Errorf("topology: node %q: %w", name, err)
	}
	r.cached = r.kv.CachingEnabled()
	return r, nil
}

// listener is a node that embeds rows.
type listener interface{ listen() error }

// rowsNode declares a node that embeds rows.
func rowsNode[K, V any](name string, state *tableState, newNode func(r rows[K, V]) listener) *graphNode {
	return &graphNode{
		name: name, kind: processor.ProcessorNode,
		bind: func() func(ctx processor.TaskContext) (any, error) {
			state := *state
			return func(ctx processor.TaskContext) (any, error) {
				r, err := openRows[K, V](ctx, name, state)
				if err != nil {
					return nil, err
				}
				n := newNode(r)
				return n, n.listen()
			}
		},
	}
}

// listen makes the store's flushes reach the children. Call it once rows stands at its final address.
func (t *rows[K, V]) listen() error {
	t.expires()
	if !t.cached {
		return nil
	}
	return t.kv.SetFlushListener(t.flushed, t.sendOld)
}

// update stores the new row and forwards the change, now or with the next flush of the store.
func (t *rows[K, V]) update(key K, c Change[V], timestamp int64, headers []record.Header) error {
	if t.kv != nil {
		c.OutOfOrder = false // the row changed; the store knows of no history
		var err error
		if c.HasNew {
			err = t.kv.PutWithTimestamp(key, c.New, timestamp)
		} else {
			err = t.kv.DeleteWithTimestamp(key, timestamp)
		}
		if err != nil {
			return err
		}
		if t.cached {
			return nil
		}
	}
	return t.forward(key, c, timestamp, headers)
}

// updated forwards a change that was stored by KeyValue.Update, unless that failed or the store will do so itself.
func (t *rows[K, V]) updated(err error, key K, c Change[V], timestamp int64, headers []record.Header) error {
	if err != nil || t.cached {
		return err
	}
	return t.forward(key, c, timestamp, headers)
}

// forward tells the children of a change.
func (t *rows[K, V]) forward(key K, c Change[V], timestamp int64, headers []record.Header) error {
	if !t.sendOld && c.HasOld {
		c = Change[V]{New: c.New, HasNew: c.HasNew, OutOfOrder: c.OutOfOrder}
	}
	return t.Forward(record.Record[K, Change[V]]{Key: key, Value: c, Timestamp: timestamp, Headers: headers})
}

// flushed forwards an update that the store held back. Stores below see the update's time and headers, and not those of
// whatever record the task processed last.
func (t *rows[K, V]) flushed(
	key K, newValue V, newExists bool, oldValue V, oldExists bool, timestamp int64, headers []record.Header,
) error {
	current := t.ctx.Current()
	before := current.Context
	current.Context = store.Context{Timestamp: timestamp, Headers: headers}
	c := Change[V]{New: newValue, HasNew: newExists, Old: oldValue, HasOld: oldExists}
	err := t.forward(key, c, timestamp, headers)
	current.Context = before
	return err
}
