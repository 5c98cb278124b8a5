package topology

import (
	"math"

	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/store"
)

// unjoined is what waits for a match in a left or outer join, as one of the two sides sees it: list and clocks are the
// same for both. The rules, and when results come, are Kafka Streams'. Owned by the task goroutine.
type unjoined[K, L, R, V any] struct {
	userNode

	list *store.Unjoined[K, L, R]
	// observed is the greatest timestamp of all records that reached the join.
	observed *store.Clock
	// least is a time from which on a walk may find something to emit, unknownLeast if there is none. It is not always
	// the least time in the list: a walk leaves it at the last entry that it looked at.
	least  *store.Clock
	joiner func(K, Optional[L], Optional[R]) V
	after  int64 // of the side that looks, behind which its records have no match any more
	// leftCloses and rightCloses are how long after its time a record that waits has its result.
	leftCloses, rightCloses int64
	grace                   int64
	rightWaits              bool // not only left records wait
}

// unknownLeast is the value of a clock that was never set.
const unknownLeast = -1

func (j streamJoin[K, L, R, V]) openUnjoined(
	node userNode, storeName string, after int64,
) (w unjoined[K, L, R, V], err error) {
	grace := j.windows.grace.Milliseconds()
	w = unjoined[K, L, R, V]{
		userNode: node, joiner: j.joiner, after: after, grace: grace, rightWaits: j.rightOuter,
		leftCloses:  j.windows.after.Milliseconds() + grace,
		rightCloses: j.windows.before.Milliseconds() + grace,
	}
	if w.list, err = processor.StateStore[*store.Unjoined[K, L, R]](node.ctx, storeName); err != nil {
		return w, err
	}
	if w.observed, err = w.list.Clock("observed"); err != nil {
		return w, err
	}
	w.least, err = w.list.Clock("least")
	return w, err
}

func (w *unjoined[K, L, R, V]) observe(timestamp int64) int64 {
	w.observed.Advance(timestamp)
	return w.observed.Now()
}

// lower notes that a record of that time waits.
func (w *unjoined[K, L, R, V]) lower(timestamp int64) {
	if least := w.least.Now(); least == unknownLeast || timestamp < least {
		w.least.Set(timestamp)
	}
}

func (w *unjoined[K, L, R, V]) due() bool {
	least := w.least.Now()
	return least != unknownLeast && least+w.after+w.grace < w.observed.Now()
}

func (w *unjoined[K, L, R, V]) emit(forward func(key K, value V, timestamp int64) error) error {
	now := w.observed.Now()
	w.least.Set(unknownLeast)
	low := int64(math.MaxInt64)
	leftOpen, rightOpen := false, false
	for e, err := range w.list.All() {
		if err != nil {
			return err
		}
		w.least.Set(e.Time)
		if leftOpen && rightOpen {
			break
		}
		closes, open := w.rightCloses, &rightOpen
		if e.Side == store.LeftSide {
			closes, open = w.leftCloses, &leftOpen
		}
		if e.Time+closes >= now {
			*open = true
			low = min(low, e.Time)
			if leftOpen && rightOpen && e.Len() > 1 {
				break // at the second record of this entry: least stays at its time
			}
			continue
		}
		if err := w.emitEntry(&e, forward); err != nil {
			return err
		}
	}
	w.list.Trim(low)
	return nil
}

// emitEntry gives the results of the records of one key and time, and takes them from the list.
func (w *unjoined[K, L, R, V]) emitEntry(
	e *store.UnjoinedEntry[K, L, R], forward func(key K, value V, timestamp int64) error,
) error {
	for i := range e.Len() {
		l, r := e.Value(i)
		w.enter()
		value := w.joiner(e.Key,
			Optional[L]{l, e.Side == store.LeftSide}, Optional[R]{r, e.Side == store.RightSide})
		if err := forward(e.Key, value, e.Time); err != nil {
			return err
		}
	}
	return w.list.Remove(e.Key, e.Time, e.Side)
}

// leftWaiting is unjoined for the left side.
type leftWaiting[K, L, R, V any] struct{ *unjoined[K, L, R, V] }

func (w leftWaiting[K, L, R, V]) put(key K, timestamp int64, value L) error {
	w.lower(timestamp)
	return w.list.PutLeft(key, timestamp, value)
}

func (w leftWaiting[K, L, R, V]) matched(key K, timestamp int64) error {
	if !w.rightWaits {
		return nil
	}
	return w.list.Remove(key, timestamp, store.RightSide)
}

// rightWaiting is unjoined for the right side, whose records wait only in an outer join.
type rightWaiting[K, L, R, V any] struct {
	*unjoined[K, L, R, V]
}

func (w rightWaiting[K, L, R, V]) put(key K, timestamp int64, value R) error {
	w.lower(timestamp)
	return w.list.PutRight(key, timestamp, value)
}

func (w rightWaiting[K, L, R, V]) matched(key K, timestamp int64) error {
	return w.list.Remove(key, timestamp, store.LeftSide)
}
