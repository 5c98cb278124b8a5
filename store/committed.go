package store

import (
	"bytes"
	"fmt"
	"iter"
	"slices"

	"github.com/tidemarkio/tidemark/serde"
)

// CommittedKeyValue reads what is committed of a [KeyValue]: what others may see, while the task is ahead. Owned by the
// task goroutine, as the store is; but what it returns was decoded for this reader and may be handed on.
type CommittedKeyValue[K, V any] struct{ s *KeyValue[K, V] }

// Committed returns a reader of what is committed.
func (s *KeyValue[K, V]) Committed() CommittedKeyValue[K, V] { return CommittedKeyValue[K, V]{s} }

// EncodeKey appends the bytes of a key, by which records are partitioned.
func (c CommittedKeyValue[K, V]) EncodeKey(dst []byte, k K) ([]byte, error) {
	return encodeKey(c.s.name, c.s.key, dst, k)
}

// GetWithTimestamp returns the value of k as of the last commit, and its timestamp.
func (c CommittedKeyValue[K, V]) GetWithTimestamp(k K) (v V, timestamp int64, found bool, err error) {
	key, err := c.s.encodeKey(k)
	if err != nil {
		return v, 0, false, err
	}
	stored, err := c.s.committed(key)
	if err != nil || stored == nil {
		return v, 0, false, err
	}
	if gone, err := c.gone(key); gone || err != nil {
		return v, 0, false, err
	}
	v, timestamp, err = c.s.decodeStored(key, stored)
	return v, timestamp, err == nil, err
}

// gone reports that an entry has expired by the wall clock and nothing was committed since. What expired in event time
// is deleted by then.
func (c CommittedKeyValue[K, V]) gone(key []byte) (bool, error) {
	l := c.s.life
	if l == nil {
		return false, nil
	}
	stored, err := l.deadlines.committed(l.of(key[len(c.s.prefix):]))
	if err != nil || stored == nil {
		return false, err
	}
	at, _, err := l.deadlines.decodeStored(l.deadlineKey, stored)
	return err == nil && at <= l.now(), err
}

// Page returns up to limit entries with lo <= key <= hi, where nil is no bound, in key order, behind those of the page
// before: next is what the following call takes as after; nil says that there are no more.
func (c CommittedKeyValue[K, V]) Page(lo, hi *K, after []byte, limit int) (
	page []KeyValueEntry[K, V], next []byte, err error,
) {
	from, to, err := c.s.pageBounds(lo, hi, after)
	if err != nil {
		return nil, nil, err
	}
	for at, err := range c.s.scanLayers(from, to, false, true, true) {
		if err != nil {
			return nil, nil, err
		}
		if gone, err := c.gone(at.key); err != nil {
			return nil, nil, err
		} else if gone {
			continue
		}
		e, err := c.s.entry(at)
		if err != nil {
			return nil, nil, err
		}
		if page = append(page, e); len(page) >= limit {
			return page, at.key[len(c.s.prefix):], nil
		}
	}
	return page, nil, nil
}

// pageBounds returns the range that a page is taken from.
func (s *KeyValue[K, V]) pageBounds(lo, hi *K, after []byte) (from, to []byte, err error) {
	from, to = s.prefix, prefixEnd(s.prefix)
	if lo != nil {
		if from, err = encodeKey(s.name, s.key, slices.Clone(s.prefix), *lo); err != nil {
			return nil, nil, err
		}
	}
	if hi != nil {
		if to, err = encodeKey(s.name, s.key, slices.Clone(s.prefix), *hi); err != nil {
			return nil, nil, err
		}
		to = append(to, 0) // the least key behind hi
	}
	if after != nil {
		from = append(slices.Concat(s.prefix, after), 0)
	}
	return from, to, nil
}

// Page is [CommittedKeyValue.Page]. The store may change between two pages.
func (g *Global[K, V]) Page(lo, hi *K, after []byte, limit int) (
	page []KeyValueEntry[K, V], next []byte, err error,
) {
	from, to, err := g.rows.pageBounds(lo, hi, after)
	if err != nil {
		return nil, nil, err
	}
	for e, err := range g.entries(from, to, false) {
		if err != nil {
			return nil, nil, err
		}
		if page = append(page, e); len(page) >= limit {
			next, err = encodeKey(g.rows.name, g.rows.key, nil, e.Key)
			return page, next, err
		}
	}
	return page, nil, nil
}

// CommittedWindow reads what is committed of a [Window]; see [CommittedKeyValue].
type CommittedWindow[K, V any] struct{ s *Window[K, V] }

// Committed returns a reader of what is committed.
func (s *Window[K, V]) Committed() CommittedWindow[K, V] { return CommittedWindow[K, V]{s} }

// EncodeKey appends the bytes of a key, by which records are partitioned.
func (c CommittedWindow[K, V]) EncodeKey(dst []byte, k K) ([]byte, error) {
	return encodeKey(c.s.name, c.s.key, dst, k)
}

// FetchWithTimestamp is [Window.FetchWithTimestamp] as of the last commit.
func (c CommittedWindow[K, V]) FetchWithTimestamp(k K, start int64) (v V, timestamp int64, found bool, err error) {
	return c.s.getCommitted(k, start, 0)
}

// FetchRange is [Window.FetchRange] as of the last commit.
func (c CommittedWindow[K, V]) FetchRange(k K, from, to int64) iter.Seq2[WindowEntry[K, V], error] {
	return windowEntries(c.s.ofKey(k, from, to, false, true))
}

// FetchAll is [Window.FetchAll] as of the last commit.
func (c CommittedWindow[K, V]) FetchAll(from, to int64) iter.Seq2[WindowEntry[K, V], error] {
	return windowEntries(c.s.all(from, to, false, true))
}

// getCommitted is get as of the last commit.
func (s *timed[K, V]) getCommitted(k K, t, more int64) (v V, timestamp int64, found bool, err error) {
	if t < s.firstAlive() {
		return v, 0, false, s.usable()
	}
	key, err := s.encode(k, t, more)
	if err != nil {
		return v, 0, false, err
	}
	stored, err := s.data.committed(key)
	if err != nil || stored == nil {
		return v, 0, false, err
	}
	v, timestamp, err = s.data.decodeStored(key, stored)
	return v, timestamp, err == nil, err
}

// committed returns a copy of the committed state of key; nil if there is none.
func (b *buffer[V]) committed(key []byte) ([]byte, error) {
	if b.closed {
		return nil, fmt.Errorf("store: %s: %w", b.name, ErrClosed)
	}
	for _, t := range [2]*table[V]{b.active, b.frozen} {
		if t == nil {
			continue
		}
		if i, ok := t.find(key); ok && t.entries[i].flags&flagCommitted != 0 {
			return bytes.Clone(t.committedOf(&t.entries[i])), nil
		}
	}
	if b.engine.Empty() {
		return nil, nil
	}
	stored, found, err := b.engine.Get(key, nil)
	if err != nil {
		return nil, fmt.Errorf("store: %s: read: %w", b.name, err)
	}
	if !found {
		return nil, nil
	}
	return stored, nil
}

func encodeKey[K any](name string, key serde.Serde[K], dst []byte, k K) ([]byte, error) {
	b, err := key.Append(dst, k)
	if err != nil {
		return nil, &CodecError{Store: name, Op: "encode key", Err: err}
	}
	return b, nil
}
