package topology

import (
	"github.com/tidemarkio/tidemark/record"
)

// Filter keeps the rows for which predicate is true; a row for which it ceases to be is deleted. With [As] the result
// has a store of its own. A tombstone is forwarded also for a row that never passed, unless the table knows old values
// and is not versioned.
func (t *KTable[K, V]) Filter(predicate func(key K, value V) bool, opts ...StoreOption) *KTable[K, V] {
	return t.filter("Filter", predicate, true, opts)
}

// FilterNot keeps the rows for which predicate is false; deleted rows stay deleted. See Filter.
func (t *KTable[K, V]) FilterNot(predicate func(key K, value V) bool, opts ...StoreOption) *KTable[K, V] {
	return t.filter("FilterNot", predicate, false, opts)
}

func (t *KTable[K, V]) filter(operator string, predicate func(K, V) bool, keep bool, opts []StoreOption) *KTable[K, V] {
	t.b.needFunc(operator, predicate == nil)
	// Every update of a versioned table is history, also one that leaves nothing as it was.
	all := t.state.versioned()
	// The filter knows old values if its parent can give them at no cost now, or if a later operator asks for them.
	known := t.state.sendOldValues(false)
	return deriveTable(t, operator, "KTABLE-FILTER-", opts, t.valueSerde, known,
		func(k K, v V) (V, bool) { return v, predicate(k, v) == keep },
		func(r rows[K, V]) listener {
			return &tableFilterNode[K, V]{rows: r, predicate: predicate, keep: keep, all: all}
		})
}

// tableFilterNode deletes the rows that do not pass. Owned by the task goroutine.
type tableFilterNode[K, V any] struct {
	rows[K, V]

	predicate func(K, V) bool
	keep      bool
	all       bool // forward deletions of rows that were not there, too
}

// Receive implements processor.Receiver.
func (n *tableFilterNode[K, V]) Receive(r record.Record[K, Change[V]]) error {
	n.enter()
	c := Change[V]{OutOfOrder: r.Value.OutOfOrder}
	if r.Value.HasNew && n.predicate(r.Key, r.Value.New) == n.keep {
		c.New, c.HasNew = r.Value.New, true
	}
	if n.sendOld {
		switch {
		case n.kv != nil:
			var err error
			if c.Old, c.HasOld, err = n.kv.Get(r.Key); err != nil {
				return err
			}
		case r.Value.HasOld && n.predicate(r.Key, r.Value.Old) == n.keep:
			c.Old, c.HasOld = r.Value.Old, true
		}
		if !c.HasNew && !c.HasOld && !n.all {
			return nil // there was nothing below, and there is nothing now
		}
	}
	return n.update(r.Key, c, r.Timestamp, r.Headers)
}
