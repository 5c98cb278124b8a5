package store

import (
	"bytes"
	"iter"

	"github.com/tidwall/btree"
)

// readAheadMax is how many blocks a scan reads at a time, once it goes on for a while.
const readAheadMax = 16

// lazyCursor yields the entries of one layer of a lazyEngine.
type lazyCursor interface {
	// next returns the next entry; false at the end. Its slices stay as they are.
	next() (Entry, bool, error)
	close()
}

// Scan implements [Engine].
func (e *lazyEngine) Scan(lo, hi []byte, reverse bool) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		s, err := e.now()
		if err != nil {
			yield(Entry{}, err)
			return
		}
		if s.disk != nil {
			s.disk.Scan(lo, hi, reverse)(yield)
			return
		}
		m := lazyMerge{reverse: reverse}
		defer m.close()
		m.add(newTreeCursor(s.overlay, lo, hi, reverse))
		for number := range s.files {
			m.add(e.cursor(number, &s.files[number], lo, hi, reverse))
		}
		for {
			at, ok, err := m.next()
			if disk := e.settled(); err != nil && disk != nil {
				lo, hi := m.rest(lo, hi) // it has become local meanwhile
				disk.Scan(lo, hi, reverse)(yield)
				return
			}
			if !ok && err == nil || !yield(at, err) || err != nil {
				return
			}
		}
	}
}

// lazyMerge merges layers, the newest first: of each key it has the entry of the first layer that has one.
type lazyMerge struct {
	layers  []lazyLayer
	reverse bool
	began   bool
	key     []byte // of the last entry
}

type lazyLayer struct {
	cursor lazyCursor
	at     Entry
	more   bool
}

func (m *lazyMerge) add(c lazyCursor) { m.layers = append(m.layers, lazyLayer{cursor: c}) }

func (m *lazyMerge) close() {
	for i := range m.layers {
		m.layers[i].cursor.close()
	}
}

// next returns the next entry that was not deleted. Layers move on when they have to: who leaves a scan early has read
// nothing in vain.
func (m *lazyMerge) next() (at Entry, ok bool, err error) {
	for {
		if err := m.advance(); err != nil {
			return at, false, err
		}
		first := m.first()
		if first < 0 {
			return at, false, nil
		}
		at = m.layers[first].at
		if m.key = at.Key; at.Value != nil {
			return at, true, nil
		}
	}
}

// rest is what is left of a range.
func (m *lazyMerge) rest(lo, hi []byte) (from, to []byte) {
	switch {
	case m.key == nil:
		return lo, hi
	case m.reverse:
		return lo, m.key
	}
	return append(bytes.Clone(m.key), 0), hi
}

// advance moves all layers to their first entries, or behind the last key.
func (m *lazyMerge) advance() (err error) {
	for i := range m.layers {
		l := &m.layers[i]
		if !m.began || l.more && bytes.Equal(l.at.Key, m.key) {
			if l.at, l.more, err = l.cursor.next(); err != nil {
				return err
			}
		}
	}
	m.began = true
	return nil
}

// first returns the layer whose entry comes next, the newest of several; -1 at the end.
func (m *lazyMerge) first() int {
	first := -1
	for i := range m.layers {
		if !m.layers[i].more {
			continue
		}
		if first < 0 {
			first = i
			continue
		}
		c := bytes.Compare(m.layers[i].at.Key, m.layers[first].at.Key)
		if c < 0 && !m.reverse || c > 0 && m.reverse {
			first = i
		}
	}
	return first
}

// treeCursor goes through the overlay.
type treeCursor struct {
	it      btree.IterG[Entry]
	lo, hi  []byte
	reverse bool
	began   bool
}

func newTreeCursor(tree *btree.BTreeG[Entry], lo, hi []byte, reverse bool) *treeCursor {
	return &treeCursor{it: tree.Iter(), lo: lo, hi: hi, reverse: reverse}
}

func (c *treeCursor) next() (Entry, bool, error) {
	ok := c.step()
	if !ok {
		return Entry{}, false, nil
	}
	at := c.it.Item()
	if c.reverse {
		return at, bytes.Compare(at.Key, c.lo) >= 0, nil
	}
	return at, c.hi == nil || bytes.Compare(at.Key, c.hi) < 0, nil
}

func (c *treeCursor) step() bool {
	began := c.began
	c.began = true
	switch {
	case began && c.reverse:
		return c.it.Prev()
	case began:
		return c.it.Next()
	case !c.reverse:
		return c.it.Seek(Entry{Key: c.lo})
	case c.hi == nil || !c.it.Seek(Entry{Key: c.hi}):
		return c.it.Last()
	}
	return c.it.Prev()
}

func (c *treeCursor) close() { c.it.Release() }

// fileCursor goes through a file.
type fileCursor struct {
	e       *lazyEngine
	number  int
	file    *SnapshotFile
	lo, hi  []byte
	reverse bool

	block *block // nil before the first one
	i, at int    // the block, and the entry in it that comes next
	ahead int
	done  bool
}

// cursor makes a cursor through a file.
func (e *lazyEngine) cursor(number int, f *SnapshotFile, lo, hi []byte, reverse bool) *fileCursor {
	return &fileCursor{e: e, number: number, file: f, lo: lo, hi: hi, reverse: reverse, ahead: 1}
}

func (c *fileCursor) close() {}

func (c *fileCursor) next() (Entry, bool, error) {
	for !c.done {
		switch {
		case c.block == nil:
			if err := c.seek(); err != nil {
				return Entry{}, false, err
			}
			continue
		case c.at < 0:
			if err := c.load(c.i - 1); err != nil {
				return Entry{}, false, err
			}
			if c.block != nil {
				c.at = len(c.block.entries) - 1
			}
			continue
		case c.at >= len(c.block.entries):
			if err := c.load(c.i + 1); err != nil {
				return Entry{}, false, err
			}
			c.at = 0
			continue
		}
		at := c.block.at(c.at)
		if c.reverse {
			c.at--
			c.done = bytes.Compare(at.Key, c.lo) < 0
		} else {
			c.at++
			c.done = c.hi != nil && bytes.Compare(at.Key, c.hi) >= 0
		}
		if !c.done {
			return at, true, nil
		}
	}
	return Entry{}, false, nil
}

// seek goes to the first entry.
func (c *fileCursor) seek() error {
	x := c.file.Index
	if !c.reverse {
		if err := c.load(max(x.find(c.lo), 0)); err != nil || c.done {
			return err
		}
		c.at = c.block.find(c.lo)
		return nil
	}
	i := len(x.blocks) - 1
	if c.hi != nil {
		i = x.find(c.hi)
	}
	if err := c.load(i); err != nil || c.done {
		return err
	}
	c.at = len(c.block.entries) - 1
	if c.hi != nil {
		c.at = c.block.find(c.hi) - 1
	}
	return nil
}

// load goes to a block. A scan that goes on reads more and more of them at a time.
func (c *fileCursor) load(i int) (err error) {
	x := c.file.Index
	if i < 0 || i >= len(x.blocks) || c.block != nil && c.beyond(x, i) {
		c.done, c.block = true, nil
		return nil
	}
	ahead := c.ahead
	switch {
	case c.reverse:
		ahead = 1
	case c.hi != nil:
		ahead = min(ahead, x.find(c.hi)-i+1)
	}
	if c.block, err = c.e.block(c.number, c.file, i, ahead); err != nil {
		return err
	}
	c.i, c.ahead = i, min(2*c.ahead, readAheadMax)
	return nil
}

// beyond tells whether a block next to the present one has nothing that is asked for.
func (c *fileCursor) beyond(x *FileIndex, i int) bool {
	if c.reverse {
		return bytes.Compare(x.blocks[i+1].first, c.lo) <= 0
	}
	return c.hi != nil && bytes.Compare(x.blocks[i].first, c.hi) >= 0
}
