package store

import (
	"fmt"
	"iter"
	"slices"
	"sync/atomic"

	"github.com/tidemarkio/tidemark/record"
)

// Global is a read-only view of a global store: of a table that every instance keeps whole, or of what the processor of
// an AddGlobalStore maintains (Kafka Streams' GlobalKTable). What the view shows was read from committed records; it
// changes on its own as the instance follows the topic, never in the middle of a Get.
//
// A view belongs to the goroutine that it was made for: the task's. Many views read one store at the same time, beside
// the one goroutine that writes it. A view remembers what it has decoded until the store changes, so that a table that
// hardly changes costs a look-up in memory and no lock. Values are shared: do not modify what was read.
type Global[K, V any] struct {
	// rows decodes, and its read cache is the memory of the view. It is never written.
	rows *KeyValue[K, V]
	// changes counts the writes to the engine; seen is its value when rows began to remember.
	changes *atomic.Uint64
	seen    uint64
}

// viewBytesMax bounds what a view remembers. It starts anew beyond that.
const viewBytesMax = 1 << 20

var _ Store = (*Global[string, int])(nil)

// newGlobal makes a view; the opposite of a Spec.New.
func newGlobal[K, V any](rows *KeyValue[K, V], changes *atomic.Uint64) *Global[K, V] {
	return &Global[K, V]{rows: rows, changes: changes, seen: changes.Load()}
}

// refresh forgets what may have changed. The number is read before anything else is, so that what is remembered is
// never older than it says.
func (g *Global[K, V]) refresh() {
	now := g.changes.Load()
	if now == g.seen && g.rows.active.bytes() <= viewBytesMax {
		return
	}
	g.seen = now
	g.forget()
}

func (g *Global[K, V]) forget() {
	if len(g.rows.active.entries) > 0 {
		g.rows.active = newTable[V](len(g.rows.prefix), 0)
	}
}

// Get returns the value of k.
func (g *Global[K, V]) Get(k K) (v V, found bool, err error) {
	v, _, found, err = g.GetWithTimestamp(k)
	return v, found, err
}

// GetWithTimestamp returns the value of k and the timestamp of its record, in milliseconds since the Unix epoch.
func (g *Global[K, V]) GetWithTimestamp(k K) (v V, timestamp int64, found bool, err error) {
	g.refresh()
	return g.rows.GetWithTimestamp(k)
}

// Range yields the entries with lo <= key <= hi in key order. Updates that arrive meanwhile may be seen or not.
func (g *Global[K, V]) Range(lo, hi K) iter.Seq2[KeyValueEntry[K, V], error] {
	return g.bounded(lo, hi, false)
}

// ReverseRange is Range from hi down to lo.
func (g *Global[K, V]) ReverseRange(lo, hi K) iter.Seq2[KeyValueEntry[K, V], error] {
	return g.bounded(lo, hi, true)
}

// All yields every entry in key order. Updates that arrive meanwhile may be seen or not.
func (g *Global[K, V]) All() iter.Seq2[KeyValueEntry[K, V], error] {
	return g.entries(g.rows.prefix, prefixEnd(g.rows.prefix), false)
}

// ReverseAll yields every entry in reverse key order.
func (g *Global[K, V]) ReverseAll() iter.Seq2[KeyValueEntry[K, V], error] {
	return g.entries(g.rows.prefix, prefixEnd(g.rows.prefix), true)
}

// PrefixScan yields the entries whose encoded key starts with prefix, in key order.
func (g *Global[K, V]) PrefixScan(prefix []byte) iter.Seq2[KeyValueEntry[K, V], error] {
	lo := slices.Concat(g.rows.prefix, prefix)
	return g.entries(lo, prefixEnd(lo), false)
}

// ApproximateCount estimates the number of keys.
func (g *Global[K, V]) ApproximateCount() (int64, error) {
	n, err := g.rows.engine.ApproximateCount(g.rows.prefix)
	if err != nil {
		return 0, fmt.Errorf("store: %s: count: %w", g.rows.name, err)
	}
	return int64(n), nil
}

func (g *Global[K, V]) bounded(lo, hi K, reverse bool) iter.Seq2[KeyValueEntry[K, V], error] {
	return func(yield func(KeyValueEntry[K, V], error) bool) {
		from, to, err := g.rows.bounds(lo, hi)
		if err != nil {
			yield(KeyValueEntry[K, V]{}, err)
			return
		}
		g.entries(from, to, reverse)(yield)
	}
}

// entries scans the engine and nothing else: a Get of the loop body may replace the table of what is remembered. An
// empty engine is not asked, since its first flush may lock readers out.
func (g *Global[K, V]) entries(lo, hi []byte, reverse bool) iter.Seq2[KeyValueEntry[K, V], error] {
	return func(yield func(KeyValueEntry[K, V], error) bool) {
		if g.rows.engine.Empty() {
			return
		}
		// A scan beside a flush sees rows that the flush has written already, before it counts as a change: a Get behind
		// the scan must not answer from before it.
		defer g.forget()
		for at, err := range g.rows.engine.Scan(lo, hi, reverse) {
			var e KeyValueEntry[K, V]
			if err != nil {
				err = fmt.Errorf("store: %s: scan: %w", g.rows.name, err)
			} else {
				// The engine's slices hold until the next step, and what decodes to them must last.
				e, err = g.rows.entry(scanned[V]{key: slices.Clone(at.Key), stored: slices.Clone(at.Value)})
			}
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}

// Name implements [Store].
func (g *Global[K, V]) Name() string { return g.rows.name }

// FlushCache implements [Store]. A view holds nothing back.
func (g *Global[K, V]) FlushCache() error { return nil }

// Seal implements [Store]. A view has no epochs.
func (g *Global[K, V]) Seal(record.Epoch, *record.Batch) error { return g.readOnly() }

// Commit implements [Store].
func (g *Global[K, V]) Commit(record.Epoch) {}

// Rollback implements [Store].
func (g *Global[K, V]) Rollback() error { return nil }

// Replay implements [Store].
func (g *Global[K, V]) Replay(*record.Raw) error { return g.readOnly() }

// UncommittedBytes implements [Store].
func (g *Global[K, V]) UncommittedBytes() int { return 0 }

func (g *Global[K, V]) readOnly() error {
	return fmt.Errorf("store: %s is a view of a global store: it can only be read", g.rows.name)
}
