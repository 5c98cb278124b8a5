package topology

import (
	"fmt"

	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
)

// fold is an aggregation, whatever its windows are.
type fold[K, V, A any] struct {
	operator    string
	prefix      string // of the node's generated name
	storePrefix string // of the store's
	valueSerde  serde.Serde[A]
	opts        []StoreOption

	// initial makes the aggregate before the first record; nil if the first value is taken as it is.
	initial func() A
	// add takes a record into an aggregate.
	add func(key K, value V, aggregate A) A
	// first is what a reduce makes of the first value, which may be null.
	first func(value V) A
	// merge makes one aggregate of those of two sessions.
	merge func(key K, left, right A) A
}

// next folds one record.
func (f *fold[K, V, A]) next(r *record.Record[K, V], old A, exists bool, null record.Nullness[A]) (next A, ok bool) {
	switch {
	case exists:
		next = f.add(r.Key, r.Value, old)
	case f.first != nil:
		return f.first(r.Value), !r.NullValue
	default:
		next = f.add(r.Key, r.Value, f.initial())
	}
	return next, !null.IsNull(next, false)
}

// aggregation adds the node of an aggregation with windows, and its store.
func aggregation[K, V, RK, A any](g Grouped[K, V, RK], f fold[K, V, A]) *KTable[RK, A] {
	grouped := g.group()
	b := grouped.stream.b
	var c storeConfig
	for _, o := range f.opts {
		o.applyStore(&c)
	}
	// The order in which names are generated is Kafka Streams'.
	storeName := b.storeName(c.store, f.storePrefix)
	name := b.nodeName(c.name, f.prefix)
	parent := grouped.source(f.operator, storeName)
	w := newWindowTable(b, f.operator, storeName, g.windows(), g.final(), c, grouped.keySerde, f.valueSerde)
	node, late := addFold(w, name, "", f, grouped, parent)
	w.checkLate(late)
	t, _ := any(w.table(node, f.valueSerde)).(*KTable[RK, A])
	return t
}

func wrapNode(name string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("topology: node %q: %w", name, err)
}
