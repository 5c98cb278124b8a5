package store

import (
	"bytes"
	"errors"
	"iter"
	"sync"

	"github.com/tidwall/btree"
)

// memEngine keeps committed state in memory, for stores that are rebuilt at each start, and for tests.
//
// A flush builds on a copy-on-write clone of the tree and swaps it in, so that readers see all of it or nothing.
type memEngine struct {
	mu struct {
		sync.RWMutex

		tree       *btree.BTreeG[Entry]
		checkpoint Checkpoint
		flushed    bool
		closed     bool
	}
}

var _ Engine = (*memEngine)(nil)

// NewMemEngine returns an empty engine in memory.
func NewMemEngine() Engine { return newMemEngine() }

func newMemEngine() *memEngine {
	e := &memEngine{}
	e.mu.tree = newMemTree()
	return e
}

func newMemTree() *btree.BTreeG[Entry] {
	return btree.NewBTreeGOptions(func(a, b Entry) bool { return bytes.Compare(a.Key, b.Key) < 0 },
		btree.Options{NoLocks: true})
}

// view returns the present tree, which is never changed.
func (e *memEngine) view() (*btree.BTreeG[Entry], error) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	if e.mu.closed {
		return nil, ErrClosed
	}
	return e.mu.tree, nil
}

// Get implements [Engine].
func (e *memEngine) Get(key, dst []byte) (value []byte, found bool, err error) {
	t, err := e.view()
	if err != nil {
		return nil, false, err
	}
	at, found := t.Get(Entry{Key: key})
	if !found {
		return nil, false, nil
	}
	return append(dst, at.Value...), true, nil
}

// Scan implements [Engine].
func (e *memEngine) Scan(lo, hi []byte, reverse bool) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		t, err := e.view()
		if err != nil {
			yield(Entry{}, err)
			return
		}
		if !reverse {
			t.Ascend(Entry{Key: lo}, func(at Entry) bool {
				return (hi == nil || bytes.Compare(at.Key, hi) < 0) && yield(at, nil)
			})
			return
		}
		visit := func(at Entry) bool {
			if hi != nil && bytes.Compare(at.Key, hi) >= 0 {
				return true
			}
			return bytes.Compare(at.Key, lo) >= 0 && yield(at, nil)
		}
		if hi == nil {
			t.Reverse(visit)
		} else {
			t.Descend(Entry{Key: hi}, visit)
		}
	}
}

// Flush implements [Engine].
func (e *memEngine) Flush(entries iter.Seq[Entry], checkpoint Checkpoint) error {
	t, err := e.view()
	if err != nil {
		return err
	}
	next := t.Copy()
	for at := range entries {
		if at.Value == nil {
			next.Delete(at)
			continue
		}
		next.Set(Entry{Key: bytes.Clone(at.Key), Value: append(make([]byte, 0, len(at.Value)), at.Value...)})
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.mu.closed {
		return ErrClosed
	}
	e.mu.tree, e.mu.checkpoint, e.mu.flushed = next, checkpoint.clone(), true
	return nil
}

// Checkpoint implements [Engine].
func (e *memEngine) Checkpoint() (Checkpoint, bool, error) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	if e.mu.closed {
		return Checkpoint{}, false, ErrClosed
	}
	return e.mu.checkpoint.clone(), e.mu.flushed, nil
}

// Empty implements [Engine].
func (e *memEngine) Empty() bool {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return !e.mu.flushed
}

// ApproximateCount implements [Engine]. It counts.
func (e *memEngine) ApproximateCount(prefix []byte) (uint64, error) {
	var n uint64
	for _, err := range e.Scan(prefix, prefixEnd(prefix), false) {
		if err != nil {
			return 0, err
		}
		n++
	}
	return n, nil
}

// Close implements [Engine].
func (e *memEngine) Close() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.mu.closed {
		return errors.New("store: engine closed twice")
	}
	e.mu.closed, e.mu.tree = true, nil
	return nil
}
