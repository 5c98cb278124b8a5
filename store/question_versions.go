package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"slices"
)

// Query implements [Queryable].
func (s *Versioned[K, V]) Query(q *Question) (Page, error) {
	switch q.Kind { //nolint:exhaustive // the others are refused
	case AskKey:
		stored, err := s.latest.read(slices.Concat(s.latest.prefix, q.Key), q.Uncommitted)
		if err != nil || stored == nil {
			return Page{}, err
		}
		p, err := s.latest.single(q.Key, stored)
		for i := range p.Rows {
			p.Rows[i].Start, p.Rows[i].End = p.Rows[i].Timestamp, ValidToOpen
		}
		return p, err
	case AskKeys, AskCount:
		p, err := s.latest.page(q, nil)
		for i := range p.Rows {
			p.Rows[i].Start, p.Rows[i].End = p.Rows[i].Timestamp, ValidToOpen
		}
		return p, err
	case AskTimes:
		return s.queryVersions(q)
	}
	return Page{}, q.unfit(s.name, TypeVersioned)
}

// queryVersions answers AskTimes. A page ends with the begin of a version, behind which the next one begins.
//
// Old versions are found as far back as the history retention reaches, to the millisecond, though the store keeps them
// a little longer: what is found must not depend on when it was last flushed.
func (s *Versioned[K, V]) queryVersions(q *Question) (Page, error) {
	after := int64(-1)
	if q.After != nil {
		if len(q.After) != timeBytes {
			return Page{}, fmt.Errorf("store: %s: a question goes on behind %d bytes, which are no time", s.name, len(q.After))
		}
		after = int64(binary.BigEndian.Uint64(q.After))
	}
	stored, err := s.latest.read(slices.Concat(s.latest.prefix, q.Key), q.Uncommitted)
	if err != nil {
		return Page{}, err
	}
	now, last := s.observed.committed, s.deleted.committed
	if q.Uncommitted {
		now, last = s.observed.now, s.deleted.now
	}
	var latest Row
	if stored != nil {
		latest = Row{Key: bytes.Clone(q.Key), End: ValidToOpen}
		if latest.Timestamp, latest.Value, err = splitStored(s.name, q.Key, stored); err != nil {
			return Page{}, err
		}
		latest.Start, last = latest.Timestamp, latest.Timestamp
	}
	p := pager{q: q}
	from := max(q.From, now-s.retention, 0)
	if q.From <= q.To && from <= q.To {
		for r, err := range s.rowsBetween(q, max(from, after), last) {
			if err != nil {
				return Page{}, err
			}
			if r.Value != nil && r.Start > after && r.Start <= q.To && r.End > from {
				p.add(r)
			}
			if p.looked(func() []byte { return binary.BigEndian.AppendUint64(nil, uint64(r.Start)) }) {
				return p.Page, nil
			}
		}
	}
	if stored != nil && latest.Start > after && latest.Start <= q.To && q.From <= q.To {
		p.add(latest)
	}
	return p.Page, nil
}

// rowsBetween yields the old versions of a key that end at from or later, in order; a deletion has no value. last is
// when the last one may end.
func (s *Versioned[K, V]) rowsBetween(q *Question, from, last int64) iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		if last < from {
			return
		}
		for segment := s.segmentOf(from); segment <= s.segmentOf(last); segment++ {
			lo, hi := s.appendRowKey(nil, segment, q.Key, 0), s.appendRowKey(nil, segment, q.Key, timeMax)
			for at, err := range s.old.scanLayers(lo, hi, false, !q.Uncommitted, true) {
				if err == nil && len(at.key) != len(lo) {
					continue // of a longer key that begins with these bytes
				}
				var r Row
				if err == nil {
					r, err = s.oldRow(q.Key, at)
				}
				if !yield(r, err) || err != nil {
					return
				}
			}
		}
	}
}

// oldRow is what a scan of old versions is at.
func (s *Versioned[K, V]) oldRow(key []byte, at scanned[version[V]]) (r Row, err error) {
	r.Key, r.Start = bytes.Clone(key), int64(binary.BigEndian.Uint64(at.key[len(at.key)-timeBytes:]))
	var encoded []byte
	if r.End, encoded, err = s.old.valueOf(at); err != nil {
		return r, err
	}
	const headBytes = 2
	switch {
	case len(encoded) < headBytes || encoded[0] != versionFormat || encoded[1]&^versionExists != 0:
		return r, &CodecError{
			Store: s.name, Op: "decode version", Key: r.Key,
			Err: errors.New("unknown format: was it written by a newer release?"),
		}
	case encoded[1] == versionExists:
		r.Value = encoded[headBytes:]
	}
	r.Timestamp = r.Start
	return r, nil
}
