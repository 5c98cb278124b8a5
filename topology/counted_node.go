package topology

import (
	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/store"
)

// countedNode folds records into windows of so many records. Owned by the task goroutine.
type countedNode[K, V, A any] struct {
	processor.Outputs[record.Windowed[K], Change[A]]
	userNode

	fold fold[K, V, A]
	null record.Nullness[A]
	by   CountedWindows
	kv   *store.KeyValue[K, countRow[A]]
}

func newCountedNode[K, V, A any](o nodeOptions[K, V, A], w CountedWindows) (any, error) {
	n := &countedNode[K, V, A]{
		userNode: userNode{o.ctx, o.name}, fold: o.fold, null: record.NullnessOf[A](), by: w,
	}
	var err error
	n.kv, err = processor.StateStore[*store.KeyValue[K, countRow[A]]](o.ctx, o.state.store)
	return n, wrapNode(o.name, err)
}

// Receive implements processor.Receiver.
func (n *countedNode[K, V, A]) Receive(r record.Record[K, V]) error {
	if r.NullKey {
		n.ctx.Dropped(n.name, nullKeyReason)
		return nil
	}
	var full countWindow[A]
	n.enter()
	err := n.kv.Update(r.Key, r.Headers, func(old countRow[A], oldTimestamp int64, _ bool) (countRow[A], int64, bool) {
		var next countRow[A]
		next, full = n.take(&r, old)
		return next, max(oldTimestamp, r.Timestamp), true
	})
	if err != nil || full.end == 0 || !full.exists {
		return err
	}
	return n.Forward(record.Record[record.Windowed[K], Change[A]]{
		Key: record.Windowed[K]{
			Key: r.Key, Window: record.Window{Start: max(0, full.end-n.by.size), End: full.end},
		},
		Value: Change[A]{New: full.value, HasNew: true}, Timestamp: full.timestamp, Headers: r.Headers,
	})
}

// take returns the row with one record more, and the window that is full by it, if there is one. It leaves old alone,
// which layers of the store below may share.
func (n *countedNode[K, V, A]) take(r *record.Record[K, V], old countRow[A]) (next countRow[A], full countWindow[A]) {
	number := old.seen
	next.seen = number + 1
	next.open = make([]countWindow[A], 0, len(old.open)+1)
	i := 0
	for end := n.by.nextEnd(number); end <= number+n.by.size; end += n.by.slide {
		w := countWindow[A]{end: end}
		if i < len(old.open) && old.open[i].end == end {
			w = old.open[i]
			i++
		}
		w.value, w.exists = n.fold.next(r, w.value, w.exists, n.null)
		w.timestamp = max(w.timestamp, r.Timestamp)
		if end == next.seen {
			full = w
		} else {
			next.open = append(next.open, w)
		}
	}
	return next, full
}
