package store

import (
	"encoding/binary"
	"fmt"
	"iter"
	"slices"

	"github.com/tidemarkio/tidemark/record"
)

// timeIndex is the part of a timed store that finds rows of all keys by their time, for what has to be emitted in that
// order: rows on segments lie by key. It costs a second row per row, so it is there only if it was asked for.
//
//	│ time 8 │ key │ more 0 or 8 │ → nothing
//
// It is not in the changelog, since a restore makes it from the rows.
//
// Owned by the task goroutine.
type timeIndex struct {
	*expiring[struct{}]

	noted []byte // scratch
}

// indexTag is the tag of the index of a timed store.
const indexTag byte = 2

func newTimeIndex(name string, env Env) *timeIndex {
	b := newPartBuffer[struct{}](name, env, indexTag, nothingSerde{})
	return &timeIndex{expiring: &expiring[struct{}]{buffer: b, expiredTo: b.prefix}, noted: slices.Clone(b.prefix)}
}

// Seal implements [Store].
func (x *timeIndex) Seal(epoch record.Epoch, _ *record.Batch) error {
	return x.expiring.Seal(epoch, nil)
}

// key makes the index's key of a row's, which begins with a segment and ends with time and more. Both are without
// prefix.
func (x *timeIndex) key(dst, row []byte, tail int) []byte {
	end := len(row) - tail
	dst = append(dst, row[end:end+timeBytes]...)
	dst = append(dst, row[timeBytes:end]...)
	return append(dst, row[end+timeBytes:]...)
}

// note follows a write of a row.
func (x *timeIndex) note(row []byte, tail int, exists bool) error {
	key := x.key(x.noted[:len(x.prefix)], row, tail)
	x.noted = key
	e, err := x.load(key)
	if err != nil || e.flags&flagExists != 0 == exists {
		return err
	}
	return x.put(key, struct{}{}, exists, 0, nil)
}

// replay follows a row of the changelog.
func (x *timeIndex) replay(r *record.Raw, tail int) error {
	if len(r.Key) < timeBytes+tail {
		return fmt.Errorf("store: %s: row at offset %d: a key of %d bytes is too short", x.name, r.Offset, len(r.Key))
	}
	at := record.Raw{Key: x.key(nil, r.Key, tail), Offset: r.Offset}
	if r.Value != nil {
		at.Value = []byte{}
	}
	return x.Replay(&at)
}

// indexClock is the clock that says whether the index is complete: indexKept if it is. It is about the engine of this
// task only: from the changelog the index is made anew, and what a rollback drops has not reached the engine.
const (
	indexClock       = "index"
	indexKept  int64 = 1
)

// settleIndex makes the index of rows that were written while the store had none.
func (s *timed[K, V]) settleIndex() error {
	state, err := s.clocks.localFact(indexClock)
	if err != nil {
		return err
	}
	if s.index == nil {
		if state.Now() == indexKept {
			state.setLocal(clockStart)
		}
		return nil
	}
	if state.Now() == indexKept {
		return nil
	}
	state.setLocal(indexKept)
	if s.data.engine.Empty() {
		return nil
	}
	head := len(s.data.prefix)
	for row, err := range s.data.engine.Scan(s.data.prefix, prefixEnd(s.data.prefix), false) {
		if err == nil {
			err = s.index.replay(&record.Raw{Key: row.Key[head:], Value: row.Value}, s.tailBytes())
		}
		if err != nil {
			return fmt.Errorf("store: %s: make the index by time: %w", s.name, err)
		}
	}
	return nil
}

// byTime yields the rows with from <= time <= to in the order of time, key and more.
func (s *timed[K, V]) byTime(from, to int64) iter.Seq2[row[K, V], error] {
	if s.next != nil {
		return s.all(from, to, false) // they lie so
	}
	return func(yield func(row[K, V], error) bool) {
		if s.index == nil {
			yield(row[K, V]{}, fmt.Errorf("store: %s: no order by time: the store needs TimeIndex", s.name))
			return
		}
		from, to := s.alive(from, to, false)
		if from > to {
			return
		}
		head := len(s.index.prefix)
		bound := func(t int64) []byte {
			return binary.BigEndian.AppendUint64(slices.Clone(s.index.prefix), uint64(t))
		}
		for at, err := range s.index.scan(bound(from), bound(to+1), false) {
			var r row[K, V]
			found := true
			if err == nil {
				r, found, err = s.indexed(at.key[head:])
			}
			if (found || err != nil) && (!yield(r, err) || err != nil) {
				return
			}
		}
	}
}

// indexed returns the row that a key of the index stands for.
func (s *timed[K, V]) indexed(key []byte) (r row[K, V], found bool, err error) {
	tail := s.tailBytes() - timeBytes
	if len(key) < timeBytes+tail {
		return r, false, &CodecError{
			Store: s.name, Op: "decode key", Key: slices.Clone(key),
			Err: fmt.Errorf("%d bytes are too short", len(key)),
		}
	}
	r.time = int64(binary.BigEndian.Uint64(key))
	if tail > 0 {
		r.more = int64(binary.BigEndian.Uint64(key[len(key)-tail:]))
	}
	middle := key[timeBytes : len(key)-tail]
	if r.key, err = s.key.Decode(middle); err != nil {
		return r, false, &CodecError{Store: s.name, Op: "decode key", Key: slices.Clone(middle), Err: err}
	}
	r.value, r.timestamp, found, err = s.get(r.key, r.time, r.more)
	return r, found, err
}

// tailBytes is what stands behind the key in a row's key, on segments.
func (s *timed[K, V]) tailBytes() int {
	if s.more {
		return 2 * timeBytes
	}
	return timeBytes
}
