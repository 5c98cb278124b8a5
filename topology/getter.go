package topology

import (
	"fmt"
	"slices"

	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/store"
)

// tableGetter reads the rows of a table by key, in one task (Kafka Streams' KTableValueGetter). Owned by the task
// goroutine.
type tableGetter[K, V any] struct {
	// get returns the row as it is now, updates that were not forwarded yet included; zero values if there is none.
	get func(key K) (value V, timestamp int64, found bool, err error)
	// getAsOf returns the row as it was at a time; nil if the table keeps no history.
	getAsOf func(key K, at int64) (value V, timestamp int64, found bool, err error)
}

// tableView is how nodes of other operators read a table (Kafka Streams' KTableValueGetterSupplier). The operator that
// declares a table fills it in.
type tableView[K, V any] struct {
	// stores names the stores that the reading node must be connected to. It is called when the reader is declared: a
	// table that had no store may get one by it, and what it returns does not change any more.
	stores func() []string
	// open makes the getter of one task, after stores was called.
	open openTable[K, V]
}

type openTable[K, V any] func(ctx processor.TaskContext) (tableGetter[K, V], error)

// storeView reads the rows of a table from its key-value store.
func storeView[K, V any](state *tableState) tableView[K, V] {
	return tableView[K, V]{
		stores: func() []string {
			if state.store == "" && state.materialize != nil {
				state.materialize()
			}
			return []string{state.store}
		},
		open: func(ctx processor.TaskContext) (tableGetter[K, V], error) {
			if state.history {
				return openHistory[K, V](ctx, state.store)
			}
			kv, err := processor.StateStore[*store.KeyValue[K, V]](ctx, state.store)
			if err != nil {
				return tableGetter[K, V]{}, fmt.Errorf("topology: read a table: %w", err)
			}
			return tableGetter[K, V]{get: kv.GetWithTimestamp}, nil
		},
	}
}

// derivedView computes the rows of a table without a store from those of its parent. node is whose function compute is.
func derivedView[K, V, V2 any](
	parent tableView[K, V], node string, compute func(key K, value V) (V2, bool),
) tableView[K, V2] {
	if parent.open == nil {
		return tableView[K, V2]{}
	}
	return tableView[K, V2]{
		stores: parent.stores,
		open: func(ctx processor.TaskContext) (tableGetter[K, V2], error) {
			from, err := parent.open(ctx)
			if err != nil {
				return tableGetter[K, V2]{}, err
			}
			user := userNode{ctx, node}
			derive := func(key K, v V, timestamp int64, found bool, err error) (V2, int64, bool, error) {
				if err == nil && found {
					user.enter()
					if derived, exists := compute(key, v); exists {
						return derived, timestamp, true, nil
					}
				}
				var none V2
				return none, 0, false, err
			}
			g := tableGetter[K, V2]{get: func(key K) (V2, int64, bool, error) {
				v, timestamp, found, err := from.get(key)
				return derive(key, v, timestamp, found, err)
			}}
			if from.getAsOf != nil {
				g.getAsOf = func(key K, at int64) (V2, int64, bool, error) {
					v, timestamp, found, err := from.getAsOf(key, at)
					return derive(key, v, timestamp, found, err)
				}
			}
			return g, nil
		},
	}
}

// readBy connects a node of another operator to the table and returns what opens the getter of a task.
func (t *KTable[K, V]) readBy(operator string, node *graphNode) openTable[K, V] {
	if t.view.open == nil {
		t.b.fail(operator, "the rows of the table %q cannot be read by key", t.node.name)
		return nil
	}
	for _, name := range t.view.stores() {
		node.useStore(name)
	}
	return t.view.open
}

// bothViews are the stores of two tables, each once.
func bothViews[K, L, R any](left tableView[K, L], right tableView[K, R]) func() []string {
	return func() []string {
		names := left.stores()
		for _, name := range right.stores() {
			if !slices.Contains(names, name) {
				names = append(slices.Clip(names), name)
			}
		}
		return names
	}
}
