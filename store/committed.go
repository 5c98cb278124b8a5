package store

import (
	"bytes"
	"fmt"
)

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
