package topology

import (
	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/store"
)

// joinSideNode joins the records of one side, T, with those of the other, O. Owned by the task goroutine.
type joinSideNode[K, T, O, V any] struct {
	processor.Outputs[K, V]
	userNode

	others        *store.Window[K, O]
	before, after int64
	preserved     bool // records without a match have a result too
	joiner        func(K, Optional[T], Optional[O]) V
	null          record.Nullness[V]
	waiting       waiting[K, T, V] // nil in an inner join
}

// waiting is what both sides of a left or outer join share, as a side whose records are T sees it.
type waiting[K, T, V any] interface {
	// observe notes that a record has arrived, and returns the time that is observed now: the greatest of both sides.
	observe(timestamp int64) int64
	// put lets a record wait.
	put(key K, timestamp int64, value T) error
	// matched takes away the records of the other side that wait at that time.
	matched(key K, timestamp int64) error
	// due says that emit may find something.
	due() bool
	// emit gives results for all whose windows have closed.
	emit(forward func(key K, value V, timestamp int64) error) error
}

// Receive implements processor.Receiver.
func (n *joinSideNode[K, T, O, V]) Receive(r record.Record[K, T]) error {
	now := int64(-1)
	if n.waiting != nil {
		now = n.waiting.observe(r.Timestamp)
	}
	if r.NullKey && !r.NullValue && n.preserved {
		return n.forward(&r, Optional[O]{}, r.Timestamp)
	}
	if r.NullKey || r.NullValue {
		n.ctx.Dropped(n.name, nullJoinReason)
		return nil
	}
	if n.waiting != nil && r.Timestamp == now && n.waiting.due() {
		if err := n.emitWaiting(r.Headers); err != nil {
			return err
		}
	}
	matched, err := n.match(&r)
	if err != nil || matched || !n.preserved {
		return err
	}
	if max(0, r.Timestamp+n.after) < now {
		return n.forward(&r, Optional[O]{}, r.Timestamp) // its window has ended
	}
	return n.waiting.put(r.Key, r.Timestamp, r.Value)
}

// nullJoinReason is why a join drops records.
const nullJoinReason = "null key or value in a join of streams"

func (n *joinSideNode[K, T, O, V]) emitWaiting(headers []record.Header) error {
	return n.waiting.emit(func(key K, value V, timestamp int64) error {
		return n.Forward(record.Record[K, V]{
			Key: key, Value: value, Timestamp: timestamp, Headers: headers, NullValue: n.null.IsNull(value, false),
		})
	})
}

// match joins a record with those of the other side.
func (n *joinSideNode[K, T, O, V]) match(r *record.Record[K, T]) (matched bool, err error) {
	from, to := max(0, r.Timestamp-n.before), max(0, r.Timestamp+n.after)
	for e, err := range n.others.FetchRange(r.Key, from, to) {
		if err != nil {
			return matched, err
		}
		matched = true
		if n.waiting != nil {
			if err := n.waiting.matched(r.Key, e.Start); err != nil {
				return matched, err
			}
		}
		if err := n.forward(r, Some(e.Value), max(r.Timestamp, e.Start)); err != nil {
			return matched, err
		}
	}
	return matched, nil
}

func (n *joinSideNode[K, T, O, V]) forward(r *record.Record[K, T], other Optional[O], timestamp int64) error {
	n.enter()
	out := record.WithValue(*r, n.joiner(r.Key, Some(r.Value), other))
	out.Timestamp = timestamp
	out.NullValue = n.null.IsNull(out.Value, false)
	return n.Forward(out)
}

// leftSide returns the node that joins records of the left stream.
func (j streamJoin[K, L, R, V]) leftSide(names streamJoinNames) *graphNode {
	return &graphNode{
		name: names.this, kind: processor.ProcessorNode, keepsNullKeys: j.leftOuter,
		make: func(ctx processor.TaskContext) (any, error) {
			n := &joinSideNode[K, L, R, V]{
				userNode: userNode{ctx, names.this}, preserved: j.leftOuter,
				before: j.windows.before.Milliseconds(), after: j.windows.after.Milliseconds(),
				joiner: j.joiner, null: record.NullnessOf[V](),
			}
			var err error
			if n.others, err = processor.StateStore[*store.Window[K, R]](ctx, names.otherStore); err == nil && j.leftOuter {
				var w unjoined[K, L, R, V]
				w, err = j.openUnjoined(n.userNode, names.sharedStore, n.after)
				n.waiting = leftWaiting[K, L, R, V]{&w}
			}
			return n, wrapNode(names.this, err)
		},
	}
}

// rightSide returns the node that joins records of the right stream. It looks the other way, so that before and after
// change places.
func (j streamJoin[K, L, R, V]) rightSide(names streamJoinNames) *graphNode {
	return &graphNode{
		name: names.other, kind: processor.ProcessorNode, keepsNullKeys: j.rightOuter,
		make: func(ctx processor.TaskContext) (any, error) {
			n := &joinSideNode[K, R, L, V]{
				userNode: userNode{ctx, names.other}, preserved: j.rightOuter,
				before: j.windows.after.Milliseconds(), after: j.windows.before.Milliseconds(),
				joiner: func(k K, r Optional[R], l Optional[L]) V { return j.joiner(k, l, r) },
				null:   record.NullnessOf[V](),
			}
			var err error
			if n.others, err = processor.StateStore[*store.Window[K, L]](ctx, names.thisStore); err == nil && j.leftOuter {
				var w unjoined[K, L, R, V]
				w, err = j.openUnjoined(n.userNode, names.sharedStore, n.after)
				n.waiting = rightWaiting[K, L, R, V]{&w}
			}
			return n, wrapNode(names.other, err)
		},
	}
}
