package store

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"iter"
	"slices"
)

// Query implements [Queryable].
func (s *Window[K, V]) Query(q *Question) (Page, error) {
	switch q.Kind { //nolint:exhaustive // the others are refused
	case AskKey:
		return s.queryRow(q, q.From, 0, windowRow)
	case AskTimes:
		return s.queryKey(q, q.From, q.To, timeMax, windowRow)
	case AskAll:
		return s.queryAll(q, windowRow)
	}
	return Page{}, q.unfit(s.name, TypeWindow)
}

// Query implements [Queryable].
func (s *Session[K, V]) Query(q *Question) (Page, error) {
	switch q.Kind { //nolint:exhaustive // the others are refused
	case AskKey:
		return s.queryRow(q, q.To, q.From, sessionRow)
	case AskTimes:
		return s.queryKey(q, q.From, timeMax, q.To, sessionRow)
	case AskAll:
		return s.queryAll(q, sessionRow)
	}
	return Page{}, q.unfit(s.name, TypeSession)
}

// rawRow is a row of a timed store in bytes; see row. value is nil if there is none at that time.
type rawRow struct {
	key, value            []byte
	time, more, timestamp int64
}

func windowRow(r rawRow) Row {
	return Row{Key: bytes.Clone(r.key), Value: r.value, Start: r.time, Timestamp: r.timestamp}
}

func sessionRow(r rawRow) Row {
	return Row{Key: bytes.Clone(r.key), Value: r.value, Start: r.more, End: r.time, Timestamp: r.timestamp}
}

// queryRow answers AskKey.
func (s *timed[K, V]) queryRow(q *Question, t, more int64, as func(rawRow) Row) (Page, error) {
	if err := s.usable(); err != nil {
		return Page{}, err
	}
	if first, _ := s.alive(t, t, !q.Uncommitted); t < first {
		return Page{}, nil
	}
	r, err := s.lookUp(q, t, more)
	if err != nil || r.value == nil {
		return Page{}, err
	}
	return Page{Count: 1, Rows: []Row{as(r)}}, nil
}

// lookUp reads one row of the key that is asked for.
func (s *timed[K, V]) lookUp(q *Question, t, more int64) (rawRow, error) {
	r := rawRow{key: q.Key, time: t, more: more}
	stored, err := s.data.read(s.rowKey(q.Key, t, more), q.Uncommitted)
	if err == nil && stored != nil {
		r.timestamp, r.value, err = splitStored(s.name, q.Key, stored)
	}
	return r, err
}

// queryKey answers AskTimes: rows with from <= time <= to and more <= moreMax. A page ends with a time and more, behind
// which the next one begins.
func (s *timed[K, V]) queryKey(q *Question, from, to, moreMax int64, as func(rawRow) Row) (Page, error) {
	if err := s.usable(); err != nil {
		return Page{}, err
	}
	after := rawRow{time: -1, more: -1}
	if q.After != nil {
		if len(q.After) != 2*timeBytes {
			return Page{}, fmt.Errorf("store: %s: a question goes on behind %d bytes, which are no time", s.name, len(q.After))
		}
		after.time = int64(binary.BigEndian.Uint64(q.After))
		after.more = int64(binary.BigEndian.Uint64(q.After[timeBytes:]))
		from = max(from, after.time)
	}
	p := pager{q: q}
	if from, to = s.alive(from, to, !q.Uncommitted); from > to {
		return p.Page, nil
	}
	rows := s.segmentRows(q, from, to)
	if s.next != nil {
		rows = s.gridRows(q, from, to)
	}
	for r, err := range rows {
		if err != nil {
			return Page{}, err
		}
		seen := r.time < after.time || r.time == after.time && r.more <= after.more
		if r.value != nil && r.more <= moreMax && !seen {
			p.add(as(r))
		}
		if p.looked(func() []byte {
			return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, uint64(r.time)), uint64(r.more))
		}) {
			break
		}
	}
	return p.Page, nil
}

// gridRows looks each time on the grid up.
func (s *timed[K, V]) gridRows(q *Question, from, to int64) iter.Seq2[rawRow, error] {
	return func(yield func(rawRow, error) bool) {
		for t, last := s.next(from), from-1; t > last && t <= to; t = s.next(t + 1) { // behind the end of time it wraps
			last = t
			r, err := s.lookUp(q, t, 0)
			if !yield(r, err) || err != nil {
				return
			}
		}
	}
}

// segmentRows walks the rows of a key segment by segment.
func (s *timed[K, V]) segmentRows(q *Question, from, to int64) iter.Seq2[rawRow, error] {
	return func(yield func(rawRow, error) bool) {
		size := len(s.rowKey(q.Key, 0, 0))
		bound := func(segment, t int64) []byte {
			b := binary.BigEndian.AppendUint64(slices.Clone(s.data.prefix), uint64(segment))
			return binary.BigEndian.AppendUint64(append(b, q.Key...), uint64(t))
		}
		for segment := from / s.segment; segment <= to/s.segment; segment++ {
			lo, hi := bound(segment, from), bound(segment, to+1)
			for at, err := range s.data.scanLayers(lo, hi, false, !q.Uncommitted, from <= s.below) {
				if err == nil && len(at.key) != size {
					continue // of a longer key that begins with these bytes
				}
				r, err := s.raw(at, err)
				if !yield(r, err) || err != nil {
					return
				}
			}
		}
	}
}

// queryAll answers AskAll, in the order of the rows in the store. A page ends with the key of a row.
func (s *timed[K, V]) queryAll(q *Question, as func(rawRow) Row) (Page, error) {
	p := pager{q: q}
	if err := s.usable(); err != nil {
		return Page{}, err
	}
	from, to := s.alive(q.From, q.To, !q.Uncommitted)
	if from > to {
		return p.Page, nil
	}
	first, last := from, to
	if s.next == nil {
		first, last = from/s.segment, to/s.segment
	}
	lo := binary.BigEndian.AppendUint64(slices.Clone(s.data.prefix), uint64(first))
	hi := binary.BigEndian.AppendUint64(slices.Clone(s.data.prefix), uint64(last+1))
	if q.After != nil {
		lo = append(slices.Concat(s.data.prefix, q.After), 0)
	}
	for at, err := range s.data.scanLayers(lo, hi, false, !q.Uncommitted, from <= s.below) {
		r, err := s.raw(at, err)
		if err != nil {
			return Page{}, err
		}
		if r.time >= from && r.time <= to && q.wants(r.key) {
			p.add(as(r))
		}
		if p.looked(func() []byte { return bytes.Clone(at.key[len(s.data.prefix):]) }) {
			break
		}
	}
	return p.Page, nil
}

// raw is what a scan is at.
func (s *timed[K, V]) raw(at scanned[V], err error) (r rawRow, _ error) {
	if err != nil {
		return r, err
	}
	head, tail := len(s.data.prefix)+timeBytes, 0
	if s.next == nil {
		tail = timeBytes
		if s.more {
			tail += timeBytes
		}
	}
	if len(at.key) < head+tail {
		return r, &CodecError{
			Store: s.name, Op: "decode key", Key: bytes.Clone(at.key), Err: fmt.Errorf("%d bytes are too short", len(at.key)),
		}
	}
	r.key = at.key[head : len(at.key)-tail]
	switch {
	case s.next != nil:
		r.time = int64(binary.BigEndian.Uint64(at.key[len(s.data.prefix):]))
	default:
		r.time = int64(binary.BigEndian.Uint64(at.key[len(at.key)-tail:]))
	}
	if tail > timeBytes {
		r.more = int64(binary.BigEndian.Uint64(at.key[len(at.key)-timeBytes:]))
	}
	r.timestamp, r.value, err = s.data.valueOf(at)
	return r, err
}

// rowKey is encode of an encoded key, in memory of its own.
func (s *timed[K, V]) rowKey(key []byte, t, more int64) []byte {
	b := slices.Clone(s.data.prefix)
	if s.next != nil {
		return append(binary.BigEndian.AppendUint64(b, uint64(t)), key...)
	}
	b = append(binary.BigEndian.AppendUint64(b, uint64(t/s.segment)), key...)
	b = binary.BigEndian.AppendUint64(b, uint64(t))
	if s.more {
		b = binary.BigEndian.AppendUint64(b, uint64(more))
	}
	return b
}
