package topology

import (
	"fmt"
	"time"

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
	// merge makes one aggregate of those of two sessions. Without left there is none yet.
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

// aggregation adds the node of an aggregation with windows.
func aggregation[K, V, RK, A any](g Grouped[K, V, RK], f fold[K, V, A]) *KTable[RK, A] {
	var made any
	switch w := g.windows().(type) {
	case fixedWindows:
		made = aggregateFixed(g.group(), w, g.final(), f)
	default:
		g.group().stream.b.fail(f.operator, "no aggregation over %T", w)
	}
	t, _ := made.(*KTable[RK, A])
	return t
}

// retentionOf returns how long a windowed store keeps its rows: as the option says, but not less than a window lives.
func retentionOf(b *Builder, operator string, c storeConfig, lifetime time.Duration) time.Duration {
	lifetime = max(lifetime, time.Millisecond)
	switch {
	case c.retention == 0:
		return lifetime
	case c.retention < lifetime:
		b.fail(operator, "Retention(%v) is less than the life of a window, %v (size and grace)", c.retention, lifetime)
	}
	return c.retention
}

// dropped reasons of windowed aggregations.
const (
	nullKeyReason = "null key in an aggregation"
	lateReason    = "late: the window has closed"
)

// windowedState is the state of a table of windows.
func windowedState(store string, w windowing) *tableState {
	return &tableState{store: store, keepsOld: true, windowed: true, closeAfter: w.closeAfter()}
}

func wrapNode(name string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("topology: node %q: %w", name, err)
}
