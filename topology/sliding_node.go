package topology

import (
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/store"
)

// slidingNode folds records into sliding windows, by Kafka Streams' algorithm. A record at t updates the windows that
// contain it, and makes up to three:
//
//	the left window   [t-d, t]        which ends with it
//	the right window  [t+1, t+1+d]    which begins behind it, if later records of the key are in reach
//	the right window  [p+1, p+1+d]    of the record before it, at p, if it was the last one so far
//
// Records before d have no left window of their own, but share [0, d]. Owned by the task goroutine.
type slidingNode[K, V, A any] struct {
	windowNode[K, V, A]

	store *store.Window[K, A]
	d     int64 // the difference
	// found are the stored windows around the record, as they were.
	found []slidingWindow[A]
	taken bool // a window took the record
}

// slidingWindow is a window with its aggregate; exists is false if there is none yet.
type slidingWindow[A any] struct {
	start     int64
	value     A
	timestamp int64
	exists    bool
}

// unset stands for no time.
const unset = -1

func newSlidingNode[K, V, A any](o nodeOptions[K, V, A], w SlidingWindows) (any, error) {
	n := &slidingNode[K, V, A]{d: w.difference.Milliseconds()}
	n.emit = n.emitSliding
	var err error
	n.store, err = n.openWindowStore(o, w, func(start int64) int64 { return start + n.d })
	return n, err
}

// Receive implements processor.Receiver.
func (n *slidingNode[K, V, A]) Receive(r record.Record[K, V]) error {
	if r.NullKey || r.NullValue {
		n.ctx.Dropped(n.name, nullKeyOrValueReason)
		return nil
	}
	closeTime, err := n.observe(&r)
	if err != nil {
		return err
	}
	if r.Timestamp+n.d < closeTime {
		return n.tooLate(&r, false, 1)
	}
	n.taken = false
	if r.Timestamp < n.d {
		err = n.receiveEarly(&r, closeTime)
	} else if err = n.emitClosed(r.Headers); err == nil {
		err = n.receive(&r, closeTime)
	}
	if err != nil || n.taken {
		return err
	}
	return n.tooLate(&r, false, 1)
}

// receive takes in a record whose left window does not begin before 0.
func (n *slidingNode[K, V, A]) receive(r *record.Record[K, V], closeTime int64) error {
	ts := r.Timestamp
	if err := n.find(r.Key, ts, true); err != nil {
		return err
	}
	var (
		left, right         slidingWindow[A]
		leftMade, rightMade bool
		previous            = int64(unset)
	)
	for _, w := range n.found {
		switch end := w.start + n.d; {
		case w.start == ts+1:
			rightMade = true
		case end > ts:
			if !right.exists {
				right = w
			}
			if err := n.update(r, w.start, w, closeTime); err != nil {
				return err
			}
		case end == ts:
			leftMade = true
			if err := n.update(r, w.start, w, closeTime); err != nil {
				return err
			}
			if w.timestamp >= ts {
				return nil // it is not the first record of its time: there is nothing to make
			}
			previous = w.timestamp
		default:
			left, previous = w, w.timestamp
		}
	}
	if previous != unset && previous+1+n.d >= ts && !n.starts(previous+1) {
		if err := n.update(r, previous+1, slidingWindow[A]{}, closeTime); err != nil {
			return err
		}
	}
	if !leftMade {
		var base slidingWindow[A]
		if previous != unset && ts-n.d <= previous {
			base, base.timestamp = left, ts
		}
		if err := n.update(r, ts-n.d, base, closeTime); err != nil {
			return err
		}
	}
	return n.makeRight(r, right, rightMade)
}

// receiveEarly takes in a record before d, whose left window is [0, d].
func (n *slidingNode[K, V, A]) receiveEarly(r *record.Record[K, V], closeTime int64) error {
	ts := r.Timestamp
	if err := n.find(r.Key, ts, false); err != nil {
		return err
	}
	var (
		combined, right slidingWindow[A]
		rightMade       bool
		previous        = int64(unset)
	)
	for _, w := range n.found {
		switch {
		case w.start == 0:
			combined = w
			if w.timestamp < ts {
				previous = w.timestamp
			}
		case w.start <= ts:
			right = w
			if err := n.update(r, w.start, w, closeTime); err != nil {
				return err
			}
		default:
			rightMade = true
		}
	}
	if !right.exists && combined.exists && combined.timestamp > ts {
		right = combined
	}
	if err := n.makeRight(r, right, rightMade); err != nil {
		return err
	}
	if previous != unset && !n.starts(previous+1) {
		if err := n.update(r, previous+1, slidingWindow[A]{}, closeTime); err != nil {
			return err
		}
	}
	return n.update(r, 0, combined, closeTime)
}

// find reads the windows of the key that a record at ts can touch: by descending start, up to the first that ends
// before ts, or all by ascending start.
func (n *slidingNode[K, V, A]) find(key K, ts int64, descending bool) error {
	n.found = n.found[:0]
	fetch := n.store.FetchRange
	if descending {
		fetch = n.store.BackwardFetchRange
	}
	for e, err := range fetch(key, max(0, ts-2*n.d), ts+1) {
		if err != nil {
			return err
		}
		n.found = append(n.found, slidingWindow[A]{e.Start, e.Value, e.Timestamp, true})
		if descending && e.Start+n.d < ts {
			break
		}
	}
	return nil
}

// starts reports that one of the windows that were found starts there.
func (n *slidingNode[K, V, A]) starts(at int64) bool {
	for i := range n.found {
		if n.found[i].start == at {
			return true
		}
	}
	return false
}

// update takes the record into the window that starts there, on top of base. That is the old value, too, also of a
// window that is made from another: so Kafka Streams has it, and tables below subtract it.
func (n *slidingNode[K, V, A]) update(
	r *record.Record[K, V], start int64, base slidingWindow[A], closeTime int64,
) error {
	if start+n.d < closeTime {
		return nil
	}
	n.taken = true
	timestamp := r.Timestamp
	if base.exists {
		timestamp = max(timestamp, base.timestamp)
	}
	n.enter()
	next, ok := n.fold.next(r, base.value, base.exists, n.null)
	return n.put(r, start, Change[A]{New: next, HasNew: ok, Old: base.value, HasOld: base.exists}, timestamp)
}

// makeRight makes the window behind the record, of what the window right has from there on.
func (n *slidingNode[K, V, A]) makeRight(r *record.Record[K, V], right slidingWindow[A], made bool) error {
	if made || !right.exists || right.timestamp <= r.Timestamp {
		return nil
	}
	return n.put(r, r.Timestamp+1, Change[A]{New: right.value, HasNew: true}, right.timestamp)
}

// put stores a window and forwards it.
func (n *slidingNode[K, V, A]) put(r *record.Record[K, V], start int64, c Change[A], timestamp int64) error {
	var err error
	if c.HasNew {
		err = n.store.PutWithTimestamp(r.Key, c.New, start, timestamp)
	} else {
		err = n.store.DeleteWithTimestamp(r.Key, start, timestamp)
	}
	// What the store has forgotten, as behind an input of a cogroup that is far ahead, its cache does not hold either.
	if err != nil || n.cached && !n.store.Expired(start) || n.emitted != nil {
		return err
	}
	return n.forward(r.Key, record.Window{Start: start, End: start + n.d}, c, timestamp, r.Headers)
}

// emitSliding forwards windows in the order of their starts and keys. One closes when its end lies before the close
// time.
func (n *slidingNode[K, V, A]) emitSliding(after, upTo int64, headers []record.Header) error {
	for e, err := range n.store.FetchByStart(max(0, after-n.d), upTo-n.d-1) {
		if err != nil {
			return err
		}
		w := record.Window{Start: e.Start, End: e.Start + n.d}
		before, err := n.emittedBefore(e.Key, after)
		if err != nil {
			return err
		}
		if w.End < before {
			continue
		}
		if err := n.forwardFinal(e.Key, w, e.Value, e.Timestamp, headers); err != nil {
			return err
		}
	}
	return nil
}
