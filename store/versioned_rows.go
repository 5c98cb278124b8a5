package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/tidemarkio/tidemark/serde"
)

// version is a superseded value, or deletion.
type version[V any] struct {
	v      V
	exists bool
}

// versionRow is an old version of a key, valid from <= t < to. Rows lie by the segment of time in which they end, so
// that those that have expired lie together, at the low end:
//
//	│ segment 8 │ key │ from 8 │ → │ to 8 │ version │     segment = to / segment length; numbers big endian
//
// A row with from = to tells only that the key has no value from then on, until its next version.
//
// Invariant: the rows of a key do not overlap, and end at its latest value at the latest.
type versionRow[V any] struct {
	version[V]

	from, to int64
}

func (s *Versioned[K, V]) segmentOf(t int64) int64 { return t / s.segment }

// appendRowKey makes the key of the row of key in a segment that begins at from, in scratch memory.
func (s *Versioned[K, V]) appendRowKey(scratch []byte, segment int64, key []byte, from uint64) []byte {
	b := binary.BigEndian.AppendUint64(append(scratch[:0], s.old.prefix...), uint64(segment))
	return binary.BigEndian.AppendUint64(append(b, key...), from)
}

// putRow sets a row, or deletes it.
func (s *Versioned[K, V]) putRow(key []byte, r versionRow[V], exists bool) error {
	s.rowKey = s.appendRowKey(s.rowKey, s.segmentOf(r.to), key, uint64(r.from))
	return s.old.put(s.rowKey, r.version, exists, r.to, nil)
}

// lastEnd returns a time at which or before which all rows of a key end.
func (s *Versioned[K, V]) lastEnd(hasLatest bool, latest int64) int64 {
	if hasLatest {
		return latest
	}
	return s.deleted.now
}

// find returns the row of key that was valid at a time, or else the next one behind it. last is when the last one may
// end.
func (s *Versioned[K, V]) find(key []byte, at, last int64) (row versionRow[V], found bool, err error) {
	if last <= at {
		return row, false, nil
	}
	for segment := s.segmentOf(at); segment <= s.segmentOf(last); segment++ {
		row, found, err = s.first(key, segment, 0, uint64(at)+1, true)
		if err != nil || found && row.to > at {
			return row, found, err
		}
		row, found, err = s.first(key, segment, uint64(at)+1, timeMax, false)
		if err != nil || found {
			return row, found, err
		}
	}
	return row, false, nil
}

// deletedAt returns when a key that has no value was deleted, which is where its last row ends, behind after.
func (s *Versioned[K, V]) deletedAt(key []byte, after int64) (int64, error) {
	for segment := s.segmentOf(s.deleted.now); segment >= s.segmentOf(after); segment-- {
		row, found, err := s.first(key, segment, 0, timeMax, true)
		if err != nil || found {
			return row.to, err
		}
	}
	return 0, fmt.Errorf("store: %s: key %q has neither a value nor a time of deletion", s.name, key)
}

// first returns the first row of key in a segment with lo <= from < hi; the last one in reverse.
func (s *Versioned[K, V]) first(
	key []byte, segment int64, lo, hi uint64, reverse bool,
) (row versionRow[V], found bool, err error) {
	s.rowKey, s.rowEnd = s.appendRowKey(s.rowKey, segment, key, lo), s.appendRowKey(s.rowEnd, segment, key, hi)
	for at, err := range s.old.scan(s.rowKey, s.rowEnd, reverse) {
		if err != nil {
			return row, false, err
		}
		if len(at.key) != len(s.rowKey) {
			continue // of a longer key that begins with these bytes
		}
		row.from = int64(binary.BigEndian.Uint64(at.key[len(at.key)-timeBytes:]))
		if at.cur != nil {
			row.version, row.to = at.cur.cur, at.cur.ts
			return row, true, nil
		}
		row.version, row.to, err = s.old.decodeStored(at.key, at.stored)
		return row, err == nil, err
	}
	return row, false, nil
}

// expiredBelow returns the key below which every row had expired at the last flush but this one. A flush that a crash
// ends must not take rows from the state that the checkpoint before it describes: a replay from there would put
// versions where others were.
func (s *Versioned[K, V]) expiredBelow() []byte {
	bound := s.expired
	first := max(0, s.observed.committed-s.retention+1) // the first end of rows that are still found
	s.expired = binary.BigEndian.AppendUint64(slices.Clone(s.old.prefix), uint64(s.segmentOf(first)))
	return bound
}

// versionFormat is the first byte of an encoded version.
const versionFormat = 1

// Flags of an encoded version.
const versionExists = 1

// versionSerde encodes a version: format, flags, and the value if there is one.
type versionSerde[V any] struct {
	value   serde.Serde[V]
	aliases bool // decoded values alias the encoded bytes
}

// Append implements serde.Serde.
func (s versionSerde[V]) Append(dst []byte, v version[V]) ([]byte, error) {
	if !v.exists {
		return append(dst, versionFormat, 0), nil
	}
	return s.value.Append(append(dst, versionFormat, versionExists), v.v)
}

// Decode implements serde.Serde.
func (s versionSerde[V]) Decode(data []byte) (v version[V], err error) {
	const headBytes = 2
	switch {
	case len(data) < headBytes:
		return v, fmt.Errorf("%d bytes are too short for a version", len(data))
	case data[0] != versionFormat:
		return v, fmt.Errorf("a version of format %d, want %d: was it written by a newer release?", data[0], versionFormat)
	case data[1]&^versionExists != 0:
		return v, fmt.Errorf("a version with unknown flags %#x", data[1])
	case data[1] == 0:
		if len(data) > headBytes {
			return v, errors.New("a deletion with a value")
		}
		return v, nil
	}
	if data = data[headBytes:]; s.aliases {
		data = slices.Clone(data)
	}
	v.exists = true
	v.v, err = s.value.Decode(data)
	return v, err
}
