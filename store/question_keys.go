package store

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
)

// Query implements [Queryable].
func (s *KeyValue[K, V]) Query(q *Question) (Page, error) {
	switch q.Kind { //nolint:exhaustive // the others are refused
	case AskKey:
		key := slices.Concat(s.prefix, q.Key)
		stored, err := s.read(key, q.Uncommitted)
		if err != nil || stored == nil {
			return Page{}, err
		}
		if gone, err := s.hasExpired(key, q.Uncommitted); gone || err != nil {
			return Page{}, err
		}
		return s.single(q.Key, stored)
	case AskKeys, AskCount:
		return s.page(q, s.hasExpired)
	}
	return Page{}, q.unfit(s.name, TypeKeyValue)
}

// hasExpired reports that an entry has come to the end of its life, and nothing was committed since that says so. What
// expired in event time is deleted by then.
func (s *KeyValue[K, V]) hasExpired(key []byte, uncommitted bool) (bool, error) {
	l := s.life
	if l == nil {
		return false, nil
	}
	stored, err := l.deadlines.read(l.of(key[len(s.prefix):]), uncommitted)
	if err != nil || stored == nil {
		return false, err
	}
	at, _, err := l.deadlines.decodeStored(l.deadlineKey, stored)
	return err == nil && at <= l.now(), err
}

// Query implements [Queryable]. What is uncommitted has not been read by a global store.
func (g *Global[K, V]) Query(q *Question) (Page, error) {
	engine, prefix := g.rows.engine, g.rows.prefix
	switch q.Kind {
	case AskKey, AskKeys, AskCount:
	default:
		return Page{}, q.unfit(g.rows.name, "global")
	}
	if engine.Empty() { // its first flush may lock readers out
		return Page{}, nil
	}
	if q.Kind == AskKey {
		stored, found, err := engine.Get(slices.Concat(prefix, q.Key), nil)
		if err != nil {
			return Page{}, fmt.Errorf("store: %s: read: %w", g.rows.name, err)
		}
		if !found {
			return Page{}, nil
		}
		return g.rows.single(q.Key, stored)
	}
	p := pager{q: q}
	from, to := q.bounds(prefix)
	if bytes.Compare(from, to) >= 0 {
		return p.Page, nil
	}
	for at, err := range engine.Scan(from, to, q.Reverse) {
		if err != nil {
			return Page{}, fmt.Errorf("store: %s: scan: %w", g.rows.name, err)
		}
		key := bytes.Clone(at.Key[len(prefix):])
		timestamp, value, err := splitStored(g.rows.name, key, at.Value)
		if err != nil {
			return Page{}, err
		}
		p.add(Row{Key: key, Value: bytes.Clone(value), Timestamp: timestamp})
		if p.looked(func() []byte { return key }) {
			break
		}
	}
	return p.Page, nil
}

// page answers AskKeys and AskCount. expired hides rows unless it is nil.
func (b *buffer[V]) page(q *Question, expired func(key []byte, uncommitted bool) (bool, error)) (Page, error) {
	p := pager{q: q}
	from, to := q.bounds(b.prefix)
	for at, err := range b.scanLayers(from, to, q.Reverse, !q.Uncommitted, true) {
		if err != nil {
			return Page{}, err
		}
		gone := false
		if expired != nil {
			if gone, err = expired(at.key, q.Uncommitted); err != nil {
				return Page{}, err
			}
		}
		key := at.key[len(b.prefix):]
		if !gone {
			r := Row{Key: key}
			if q.Kind != AskCount {
				if r.Timestamp, r.Value, err = b.valueOf(at); err != nil {
					return Page{}, err
				}
			}
			p.add(r)
		}
		if p.looked(func() []byte { return key }) {
			break
		}
	}
	for i := range p.Rows {
		p.Rows[i].Key = bytes.Clone(p.Rows[i].Key)
	}
	p.Next = bytes.Clone(p.Next)
	return p.Page, nil
}

// single is a page of one row.
func (b *buffer[V]) single(key, stored []byte) (Page, error) {
	timestamp, value, err := splitStored(b.name, key, stored)
	if err != nil {
		return Page{}, err
	}
	return Page{Count: 1, Rows: []Row{{Key: bytes.Clone(key), Value: value, Timestamp: timestamp}}}, nil
}

// valueOf returns the timestamp and the encoded value of what a scan is at, as the reader's own bytes.
func (b *buffer[V]) valueOf(at scanned[V]) (timestamp int64, value []byte, err error) {
	stored := at.stored
	if at.cur != nil {
		stored, err = b.encodeEntry(at.cur)
	} else {
		stored = bytes.Clone(stored) // of an engine, which goes on
	}
	if err != nil {
		return 0, nil, err
	}
	return splitStored(b.name, at.key[len(b.prefix):], stored)
}

// read returns a copy of the stored state of key; nil if there is none. Unlike a processor's read it leaves nothing in
// the active table: questions from outside must not fill it.
func (b *buffer[V]) read(key []byte, uncommitted bool) ([]byte, error) {
	if uncommitted && !b.closed {
		if i, ok := b.active.find(key); ok && b.active.entries[i].flags&flagCur != 0 {
			e := &b.active.entries[i]
			if e.flags&flagExists == 0 {
				return nil, nil
			}
			return b.encodeEntry(e)
		}
	}
	return b.committed(key)
}

// encodeEntry returns the current state of an entry as an engine would have it.
func (b *buffer[V]) encodeEntry(e *entry[V]) ([]byte, error) {
	stored, err := b.value.Append(binary.BigEndian.AppendUint64(nil, uint64(e.ts)), e.cur)
	if err != nil {
		return nil, &CodecError{Store: b.name, Op: "encode value", Err: err}
	}
	return stored, nil
}

// splitStored takes a stored state apart.
func splitStored(name string, key, stored []byte) (timestamp int64, value []byte, err error) {
	if len(stored) < timestampBytes {
		return 0, nil, &CodecError{
			Store: name, Op: "decode value", Key: bytes.Clone(key),
			Err: fmt.Errorf("%d bytes are too short for a timestamp", len(stored)),
		}
	}
	return int64(binary.BigEndian.Uint64(stored)), stored[timestampBytes:], nil
}
