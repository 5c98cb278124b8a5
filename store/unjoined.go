package store

import (
	"encoding/binary"
	"fmt"
	"iter"
	"math"
	"slices"

	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
)

// Side is an input of a join of two streams.
type Side byte

// The sides, in the order in which records of one time wait.
const (
	RightSide Side = 0
	LeftSide  Side = 1
)

// Unjoined keeps the records that wait for a match in a left or outer join of two streams (Kafka Streams' outer join
// store), in the order of time, side and key bytes. Records of one time, side and key wait together, in the order in
// which they came.
//
// Its rows are those of docs/format/window-stores.md. What is not committed yet is read like the rest.
//
// Owned by the task goroutine.
type Unjoined[K, L, R any] struct {
	*composite

	data     *buffer[unjoinedRow[L, R]]
	clocks   *clocks
	key      serde.Serde[K]
	keyBytes []byte // scratch
	// low is a time below which nothing waits. It bounds walks: engines are slow over rows that were deleted.
	low int64
}

// unjoinedRow is what waits under one key; the values are all of one side. The first needs no allocation.
type unjoinedRow[L, R any] struct {
	unjoinedValue[L, R]

	side Side
	more []unjoinedValue[L, R]
}

type unjoinedValue[L, R any] struct {
	left  L
	right R
}

// UnjoinedEntry is the records of one time, side and key.
type UnjoinedEntry[K, L, R any] struct {
	Key  K
	Time int64
	Side Side

	row unjoinedRow[L, R]
}

// Len returns how many records wait, one at least.
func (e *UnjoinedEntry[K, L, R]) Len() int { return 1 + len(e.row.more) }

// Value returns the i-th record's value; the one of the other side is the zero value.
func (e *UnjoinedEntry[K, L, R]) Value(i int) (left L, right R) {
	v := e.row.unjoinedValue
	if i > 0 {
		v = e.row.more[i-1]
	}
	return v.left, v.right
}

// UnjoinedSpec describes a persistent, logged store of records that wait; the caller may change fields.
func UnjoinedSpec[K, L, R any](name string, key serde.Serde[K], left serde.Serde[L], right serde.Serde[R]) Spec {
	return Spec{
		Name: name, Type: TypeUnjoined, KeySerde: typeOf(key), ValueSerde: typeOf(left) + ", " + typeOf(right),
		KeyWindows: serde.WindowBytes(key),
		New: func(env Env) (Store, error) {
			if key == nil || left == nil || right == nil {
				return nil, fmt.Errorf("store: %s: key and value serdes must not be nil", name)
			}
			s := &Unjoined[K, L, R]{
				data:   newPartBuffer(name, env, dataTag, newUnjoinedSerde(left, right)),
				clocks: newClocks(name, env, clockTag), key: key,
			}
			s.keyBytes = slices.Clone(s.data.prefix)
			s.composite = &composite{name: name, parts: []part{{s.clocks, clockTag}, {s.data, dataTag}}}
			return s, nil
		},
	}
}

// Clock returns a clock that commits with the store, by a name that is not empty. Ask once, when the task is made.
func (s *Unjoined[K, L, R]) Clock(name string) (*Clock, error) {
	if name == "" {
		return nil, fmt.Errorf("store: %s: a clock needs a name", s.name)
	}
	return s.clocks.clock(name)
}

// PutLeft adds a record of the left side, behind those that wait there already.
func (s *Unjoined[K, L, R]) PutLeft(k K, time int64, v L) error {
	return s.put(k, time, LeftSide, unjoinedValue[L, R]{left: v})
}

// PutRight adds a record of the right side, behind those that wait there already.
func (s *Unjoined[K, L, R]) PutRight(k K, time int64, v R) error {
	return s.put(k, time, RightSide, unjoinedValue[L, R]{right: v})
}

func (s *Unjoined[K, L, R]) put(k K, time int64, side Side, v unjoinedValue[L, R]) error {
	if time < 0 {
		return fmt.Errorf("store: %s: put at the negative time %d", s.name, time)
	}
	key, err := s.encode(k, time, side)
	if err != nil {
		return err
	}
	s.low = min(s.low, time)
	e, err := s.data.load(key)
	if err != nil {
		return err
	}
	row := unjoinedRow[L, R]{unjoinedValue: v, side: side}
	if e.flags&flagExists != 0 {
		row = e.cur
		row.more = append(slices.Clip(row.more), v) // a copy: the array may be a committed row's
	}
	return s.data.put(key, row, true, time, nil)
}

// Remove takes away all records of that key, time and side. That there are none is no error.
func (s *Unjoined[K, L, R]) Remove(k K, time int64, side Side) error {
	if time < s.low {
		return nil
	}
	key, err := s.encode(k, time, side)
	if err != nil {
		return err
	}
	found, err := s.data.exists(key)
	if err != nil || !found {
		return err
	}
	return s.data.put(key, unjoinedRow[L, R]{}, false, time, nil)
}

// All yields what waits, in order. The loop body may remove the entry that it was given.
func (s *Unjoined[K, L, R]) All() iter.Seq2[UnjoinedEntry[K, L, R], error] {
	return func(yield func(UnjoinedEntry[K, L, R], error) bool) {
		if s.low == math.MaxInt64 {
			return
		}
		p := s.data.prefix
		lo := binary.BigEndian.AppendUint64(slices.Clone(p), uint64(s.low))
		for at, err := range s.data.scan(lo, prefixEnd(p), false) {
			var e UnjoinedEntry[K, L, R]
			if err == nil {
				e, err = s.decode(at)
			}
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}

// Trim says that nothing waits below that time, as a walk has found; math.MaxInt64 stands for nothing at all.
func (s *Unjoined[K, L, R]) Trim(time int64) { s.low = time }

// Rollback implements [Store].
func (s *Unjoined[K, L, R]) Rollback() error {
	s.low = 0 // what was removed waits again
	return s.composite.Rollback()
}

// Replay implements [Store].
func (s *Unjoined[K, L, R]) Replay(r *record.Raw) error {
	s.low = 0
	return s.composite.Replay(r)
}

// encode returns the key of a row in s.keyBytes.
func (s *Unjoined[K, L, R]) encode(k K, time int64, side Side) ([]byte, error) {
	b := binary.BigEndian.AppendUint64(s.keyBytes[:len(s.data.prefix)], uint64(time))
	b, err := s.key.Append(append(b, byte(side)), k)
	if err != nil {
		return nil, &CodecError{Store: s.name, Op: "encode key", Err: err}
	}
	s.keyBytes = b
	return b, nil
}

func (s *Unjoined[K, L, R]) decode(at scanned[unjoinedRow[L, R]]) (e UnjoinedEntry[K, L, R], err error) {
	key := at.key[len(s.data.prefix):]
	if len(key) <= timeBytes || key[timeBytes] > byte(LeftSide) {
		err = fmt.Errorf("want a time and a side, got %x", key[:min(len(key), timeBytes+1)])
	} else {
		e.Time, e.Side = int64(binary.BigEndian.Uint64(key)), Side(key[timeBytes])
		e.Key, err = s.key.Decode(key[timeBytes+1:])
	}
	switch {
	case err != nil:
		err = &CodecError{Store: s.name, Op: "decode key", Key: slices.Clone(key), Err: err}
	case at.cur != nil:
		e.row = at.cur.cur
	default:
		e.row, _, err = s.data.decodeStored(at.key, at.stored)
	}
	return e, err
}
