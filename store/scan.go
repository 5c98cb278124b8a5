package store

import (
	"bytes"
	"fmt"
	"iter"
	"sort"
)

// scanned is one step of a range scan. key aliases memory that never changes; stored is set unless cur is.
type scanned[V any] struct {
	key    []byte
	cur    *entry[V] // from the active table
	stored []byte    // from a layer below
}

// scan yields the existing keys with lo <= key < hi (nil: no bound) in byte order, merged from the three layers.
//
// The loop body may write to the store: writes ahead of the position are seen, those behind it are not. It must not
// commit: the layers move then, and the scan ends with an error.
func (b *buffer[V]) scan(lo, hi []byte, reverse bool) iter.Seq2[scanned[V], error] {
	return b.scanLayers(lo, hi, reverse, false, true)
}

// scanLayers is scan, or with committed a scan of what is committed; what that yields may be kept. Without below it
// looks at the active table alone, for ranges that no other layer can hold.
func (b *buffer[V]) scanLayers(lo, hi []byte, reverse, committed, below bool) iter.Seq2[scanned[V], error] {
	return func(yield func(scanned[V], error) bool) {
		if b.closed {
			yield(scanned[V]{}, fmt.Errorf("store: %s: %w", b.name, ErrClosed))
			return
		}
		if hi != nil && bytes.Compare(lo, hi) >= 0 {
			return
		}
		b.active.buildIndex()
		top := activeCursor[V]{t: b.active, lo: lo, hi: hi, reverse: reverse}
		mid, low := &frozenCursor[V]{}, &engineCursor{close: func() {}}
		if below {
			mid, low = newFrozenCursor(b.frozen, lo, hi, reverse), newEngineCursor(b.engine, lo, hi, reverse)
		}
		defer low.close()
		table := b.active
		if err := low.next(); err != nil {
			yield(scanned[V]{}, fmt.Errorf("store: %s: scan: %w", b.name, err))
			return
		}
		for {
			if b.active != table {
				yield(scanned[V]{}, fmt.Errorf("store: %s: the store was committed during a scan", b.name))
				return
			}
			i, key := top.peek()
			var s scanned[V]
			if k, ok := mid.peek(); ok && (key == nil || before(k, key, reverse)) {
				key, i = k, noEntry
			}
			if low.ok && (key == nil || before(low.entry.Key, key, reverse)) {
				key, i = low.entry.Key, noEntry
			}
			if key == nil {
				return
			}
			midKey, midOK := mid.peek()
			inMid := midOK && bytes.Equal(midKey, key)
			inLow := low.ok && bytes.Equal(low.entry.Key, key)
			switch {
			case committed:
				s.key, s.stored = bytes.Clone(key), bytes.Clone(b.committedOf(i, mid, inMid, low, inLow))
			case i != noEntry:
				e := &b.active.entries[i]
				s.key = key
				// A cached read is as good as a write here; an entry that a rollback left without state is looked up.
				if e.flags&flagCur == 0 {
					if err := b.fill(e, key); err != nil {
						yield(scanned[V]{}, err)
						return
					}
				}
				if e.flags&flagExists != 0 {
					s.cur = e
				}
			case inMid:
				s.key, s.stored = midKey, mid.value()
			default:
				s.key, s.stored = bytes.Clone(key), low.entry.Value
				if b.aliases {
					s.stored = bytes.Clone(s.stored)
				}
			}
			if inMid {
				mid.advance()
			}
			// The engine's slices hold until its next step, so this one waits until s was used.
			top.advance(s.key)
			if (s.cur != nil || s.stored != nil) && !yield(s, nil) {
				return
			}
			if inLow {
				if err := low.next(); err != nil {
					yield(scanned[V]{}, fmt.Errorf("store: %s: scan: %w", b.name, err))
					return
				}
			}
		}
	}
}

// committedOf returns the committed state of the key at which the cursors stand.
func (b *buffer[V]) committedOf(
	i uint32, mid *frozenCursor[V], inMid bool, low *engineCursor, inLow bool,
) []byte {
	switch {
	case i != noEntry && b.active.entries[i].flags&flagCommitted != 0:
		return b.active.committedOf(&b.active.entries[i])
	case inMid:
		return mid.value()
	case inLow:
		return low.entry.Value
	}
	return nil
}

func before(a, b []byte, reverse bool) bool {
	if reverse {
		return bytes.Compare(a, b) > 0
	}
	return bytes.Compare(a, b) < 0
}

// activeCursor walks the ordered index of the active table, which may grow beneath it.
type activeCursor[V any] struct {
	t       *table[V]
	lo, hi  []byte
	reverse bool
	after   []byte // the last key taken; nil before the first

	// ahead are the next entries as of a table of size seen. A grown table is searched anew.
	ahead []uint32
	space [cursorBatch]uint32 // behind ahead
	seen  int
	done  bool
}

const cursorBatch = 64

// peek returns the next entry, or noEntry.
func (c *activeCursor[V]) peek() (uint32, []byte) {
	if c.seen != len(c.t.entries) {
		c.ahead, c.done = c.ahead[:0], false
	}
	for {
		for len(c.ahead) > 0 {
			i := c.ahead[0]
			k := c.t.keyOf(i)
			if c.after == nil || before(c.after, k, c.reverse) {
				return i, k
			}
			c.ahead = c.ahead[1:]
		}
		if c.done {
			return noEntry, nil
		}
		c.fill()
	}
}

func (c *activeCursor[V]) fill() {
	c.seen = len(c.t.entries)
	c.ahead = c.space[:0]
	visit := func(i uint32) bool {
		k := c.t.keyOf(i)
		if c.after != nil && !before(c.after, k, c.reverse) {
			return true // the key itself
		}
		if c.reverse && bytes.Compare(k, c.lo) < 0 || !c.reverse && c.hi != nil && bytes.Compare(k, c.hi) >= 0 {
			return false
		}
		if c.reverse && c.hi != nil && bytes.Compare(k, c.hi) >= 0 {
			return true
		}
		c.ahead = append(c.ahead, i)
		return len(c.ahead) < cursorBatch
	}
	c.t.pivot = c.after
	switch {
	case !c.reverse:
		if c.after == nil {
			c.t.pivot = c.lo
		}
		c.t.index.Ascend(pivotEntry, visit)
	case c.after == nil && c.hi == nil:
		c.t.index.Reverse(visit)
	default:
		if c.after == nil {
			c.t.pivot = c.hi
		}
		c.t.index.Descend(pivotEntry, visit)
	}
	c.done = len(c.ahead) < cursorBatch
}

// advance moves behind key.
func (c *activeCursor[V]) advance(key []byte) { c.after = key }

// frozenCursor walks the sorted entries of a frozen table.
type frozenCursor[V any] struct {
	t     *table[V]
	order []uint32 // what is left
	back  bool
}

func newFrozenCursor[V any](t *table[V], lo, hi []byte, reverse bool) *frozenCursor[V] {
	if t == nil {
		return &frozenCursor[V]{}
	}
	order := t.sorted()
	from := sort.Search(len(order), func(i int) bool { return bytes.Compare(t.keyOf(order[i]), lo) >= 0 })
	to := len(order)
	if hi != nil {
		to = sort.Search(len(order), func(i int) bool { return bytes.Compare(t.keyOf(order[i]), hi) >= 0 })
	}
	return &frozenCursor[V]{t: t, order: order[from:max(from, to)], back: reverse}
}

func (c *frozenCursor[V]) current() uint32 {
	if c.back {
		return c.order[len(c.order)-1]
	}
	return c.order[0]
}

func (c *frozenCursor[V]) peek() ([]byte, bool) {
	if len(c.order) == 0 {
		return nil, false
	}
	return c.t.keyOf(c.current()), true
}

func (c *frozenCursor[V]) value() []byte { return c.t.committedOf(&c.t.entries[c.current()]) }

func (c *frozenCursor[V]) advance() {
	if c.back {
		c.order = c.order[:len(c.order)-1]
	} else {
		c.order = c.order[1:]
	}
}

// engineCursor pulls from Engine.Scan.
type engineCursor struct {
	pull  func() (Entry, error, bool)
	close func()
	entry Entry
	ok    bool
}

func newEngineCursor(engine Engine, lo, hi []byte, reverse bool) *engineCursor {
	if engine.Empty() {
		return &engineCursor{close: func() {}}
	}
	c := &engineCursor{}
	c.pull, c.close = iter.Pull2(engine.Scan(lo, hi, reverse))
	return c
}

func (c *engineCursor) next() error {
	if c.pull == nil {
		return nil
	}
	e, err, ok := c.pull()
	c.entry, c.ok = e, ok
	return err
}
