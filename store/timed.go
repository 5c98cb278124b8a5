package store

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"iter"
	"math"
	"slices"
	"time"

	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
)

// timed is what window and session stores have in common: rows of a key at a time, which expire.
//
// A row is there as long as its time is greater than the greatest time ever put, minus the retention. Reads go by that;
// expired rows leave the engine with the next flush, which finds them together at the low end of the key space and
// looks at no others.
//
// Keys behind the data tag, all numbers big endian:
//
//	grid:     │ time 8 │ key │            the times that there can be are known: a key's rows are looked up one by one
//	segments: │ segment 8 │ key │ time 8 │ more 0 or 8 │     segment = time / segment length
//
// more tells rows of a key and time apart: a session's start, or a duplicate's number.
//
// Owned by the task goroutine.
type timed[K, V any] struct {
	*composite

	data     *buffer[V]
	clocks   *clocks
	index    *timeIndex // nil unless asked for
	observed *Clock     // the greatest time ever put

	key       serde.Serde[K]
	keyBytes  []byte // scratch
	hashBytes []byte // scratch of PartitionHash
	windows   int    // bytes at the end of an encoded key that did not choose its partition
	retention int64
	next      func(t int64) int64 // the first time on the grid from t on; nil: segments
	segment   int64               // length
	// below is the greatest time that a row below the active table can have: an engine iterator costs more than all the
	// rest of a look-up. timeMax until the first epoch is sealed: the rows of a restore may precede their clock.
	below   int64
	more    bool
	caching bool
}

// Tags of the parts of timed stores.
const (
	clockTag byte = 0
	dataTag  byte = 1
)

const timeBytes = 8

// timedConfig is how the rows of a timed store lie.
type timedConfig struct {
	retention time.Duration
	next      func(t int64) int64
	more      bool
	index     bool
}

// segmentMin is Kafka Streams' least segment interval.
const segmentMin = time.Minute

func newTimed[K, V any](
	name string, env Env, key serde.Serde[K], value serde.Serde[V], c timedConfig,
) (*timed[K, V], error) {
	switch {
	case key == nil || value == nil:
		return nil, fmt.Errorf("store: %s: key and value serde must not be nil", name)
	case c.retention < time.Millisecond && (c.retention != 0 || !c.more):
		return nil, fmt.Errorf("store: %s: retention %v is below a millisecond", name, c.retention)
	}
	s := &timed[K, V]{
		data: newPartBuffer(name, env, dataTag, value), clocks: newClocks(name, env, clockTag),
		below: timeMax, key: key, retention: c.retention.Milliseconds(), next: c.next, more: c.more,
		segment: max(c.retention/2, segmentMin).Milliseconds(), caching: env.CachingEnabled,
		windows: windowsBytes(env.KeyWindows),
	}
	s.keyBytes = slices.Clone(s.data.prefix)
	var err error
	if s.observed, err = s.clocks.clock(""); err != nil {
		return nil, err
	}
	data := &expiring[V]{
		buffer: s.data, observed: s.observed, retention: s.retention, frozenAt: s.observed.Now(),
		keyBound: s.expiredBelow, freezing: s.freezing, expiredTo: s.data.prefix,
	}
	s.composite = &composite{name: name, parts: []part{{s.clocks, clockTag}, {data, dataTag}}}
	if c.index && s.next == nil {
		s.index = newTimeIndex(name, env)
		s.index.keyBound = func() []byte {
			return binary.BigEndian.AppendUint64(slices.Clone(s.index.prefix), uint64(s.firstAlive()))
		}
		s.parts = append(s.parts, part{s.index, indexTag})
	}
	if s.next == nil {
		data.replayed = s.replayed
		if err := s.settleSegments(); err != nil {
			return nil, err
		}
	}
	return s, s.settleIndex()
}

// Clock returns a clock that commits with the store, by a name that is not empty. Ask once, when the task is made.
func (s *timed[K, V]) Clock(name string) (*Clock, error) {
	if name == "" {
		return nil, fmt.Errorf("store: %s: a clock needs a name", s.name)
	}
	return s.clocks.clock(name)
}

// PartitionHash returns [record.Murmur2] of what chooses a key's partition, for [Clock.Before].
func (s *timed[K, V]) PartitionHash(k K) (uint32, error) {
	b, err := s.key.Append(s.hashBytes[:0], k)
	if err == nil && len(b) < s.windows {
		err = errShortRow
	}
	if err != nil {
		return 0, &CodecError{Store: s.name, Op: "encode key", Err: err}
	}
	s.hashBytes = b
	return record.Murmur2(b[:len(b)-s.windows]), nil
}

// Seal implements [Store].
func (s *timed[K, V]) Seal(epoch record.Epoch, changelog *record.Batch) error {
	if s.below == timeMax {
		s.below = s.top(s.observed.now) // whatever was restored, its clock was too
	}
	return s.composite.Seal(epoch, changelog)
}

// Replay implements [Store].
func (s *timed[K, V]) Replay(r *record.Raw) error {
	s.below = timeMax
	return s.composite.Replay(r)
}

// freezing notes that what is in the active table goes below.
func (s *timed[K, V]) freezing() {
	if s.below != timeMax {
		s.below = max(s.below, s.top(s.observed.now))
	}
}

// ObservedTime returns the greatest time ever put, -1 before the first.
func (s *timed[K, V]) ObservedTime() int64 { return s.observed.Now() }

// CachingEnabled reports whether updates wait for FlushCache.
func (s *timed[K, V]) CachingEnabled() bool { return s.caching }

// Expired reports that rows of that time are not there any more, and that a Put there is left alone: the time is
// the observed time less the retention, or lies before it.
func (s *timed[K, V]) Expired(t int64) bool { return s.expired(t) }

func (s *timed[K, V]) expired(t int64) bool { return t <= s.observed.now-s.retention }

// expiredBelow returns the key below which every row has expired, as far as is committed.
func (s *timed[K, V]) expiredBelow() []byte {
	first := s.firstAlive()
	if s.next == nil {
		first /= s.segment
	}
	return binary.BigEndian.AppendUint64(slices.Clone(s.data.prefix), uint64(first))
}

// firstAlive returns the first time whose rows have not expired, as far as is committed.
func (s *timed[K, V]) firstAlive() int64 { return max(0, s.observed.committed-s.retention+1) }

// encode returns the key of a row in s.keyBytes.
func (s *timed[K, V]) encode(k K, t, more int64) ([]byte, error) {
	b := s.keyBytes[:len(s.data.prefix)]
	if s.next == nil {
		b = binary.BigEndian.AppendUint64(b, uint64(t/s.segment))
	} else {
		b = binary.BigEndian.AppendUint64(b, uint64(t))
	}
	b, err := s.key.Append(b, k)
	if err != nil {
		return nil, &CodecError{Store: s.name, Op: "encode key", Err: err}
	}
	if s.next == nil {
		b = binary.BigEndian.AppendUint64(b, uint64(t))
		if s.more {
			b = binary.BigEndian.AppendUint64(b, uint64(more))
		}
	}
	s.keyBytes = b
	return b, nil
}

// get returns a row.
func (s *timed[K, V]) get(k K, t, more int64) (v V, timestamp int64, found bool, err error) {
	if t < 0 || s.expired(t) {
		return v, 0, false, s.usable()
	}
	key, err := s.encode(k, t, more)
	if err != nil {
		return v, 0, false, err
	}
	e, err := s.data.load(key)
	if err != nil || e.flags&flagExists == 0 {
		return v, 0, false, err
	}
	return e.cur, e.ts, true, nil
}

// put sets a row, or deletes it; one that has expired is left alone.
func (s *timed[K, V]) put(
	k K, t, more int64, v V, exists bool, timestamp int64, headers []record.Header,
) error {
	if t < 0 {
		return fmt.Errorf("store: %s: put at the negative time %d", s.name, t)
	}
	if err := s.usable(); err != nil {
		return err
	}
	s.observed.Advance(t)
	if s.expired(t) {
		return nil
	}
	key, err := s.encode(k, t, more)
	if err != nil {
		return err
	}
	return s.write(key, v, exists, timestamp, headers)
}

// usable returns the error of a store that was closed.
func (s *timed[K, V]) usable() error {
	if s.data.closed {
		return fmt.Errorf("store: %s: %w", s.name, ErrClosed)
	}
	return nil
}

// write puts a row, and its entry in the index.
func (s *timed[K, V]) write(key []byte, v V, exists bool, timestamp int64, headers []record.Header) error {
	if s.index != nil {
		if err := s.index.note(key[len(s.data.prefix):], s.tailBytes(), exists); err != nil {
			return err
		}
	}
	return s.data.put(key, v, exists, timestamp, headers)
}

// update replaces a row by what f makes of it. stored is false, and f not called, if the row has expired.
func (s *timed[K, V]) update(
	k K, t, more int64, headers []record.Header, f func(old V, timestamp int64, exists bool) (V, int64, bool),
) (stored bool, err error) {
	if t < 0 {
		return false, fmt.Errorf("store: %s: update at the negative time %d", s.name, t)
	}
	if err := s.usable(); err != nil {
		return false, err
	}
	s.observed.Advance(t)
	if s.expired(t) {
		return false, nil
	}
	key, err := s.encode(k, t, more)
	if err != nil {
		return false, err
	}
	u, err := s.data.update(key, headers, f)
	if err != nil {
		return true, err
	}
	if u.moved {
		if key, err = s.encode(k, t, more); err != nil {
			return true, err
		}
		return true, s.write(key, u.v, u.exists, u.timestamp, headers)
	}
	if s.index != nil {
		return true, s.index.note(key[len(s.data.prefix):], s.tailBytes(), u.exists)
	}
	return true, nil
}

// row is one row of a timed store.
type row[K, V any] struct {
	key       K
	time      int64
	more      int64
	value     V
	timestamp int64
}

// ofKey yields the rows of k with from <= time <= to, in the order of their times.
func (s *timed[K, V]) ofKey(k K, from, to int64, reverse bool) iter.Seq2[row[K, V], error] {
	return func(yield func(row[K, V], error) bool) {
		if err := s.usable(); err != nil {
			yield(row[K, V]{}, err)
			return
		}
		from, to := s.alive(from, to, false)
		if from > to {
			return
		}
		if s.next != nil {
			s.ofKeyOnGrid(k, from, to, reverse, yield)
			return
		}
		encoded, err := s.encode(k, 0, 0)
		if err != nil {
			yield(row[K, V]{}, err)
			return
		}
		// Both bounds in one allocation, all but segment and time; the loop body may use the scratch memory of encode.
		size := len(encoded)
		bounds := append(append(make([]byte, 0, 2*size), encoded...), encoded...)
		lo, hi := bounds[:size:size], bounds[size:]
		first, last, step := from/s.segment, to/s.segment, int64(1)
		if reverse {
			first, last, step = last, first, -1
		}
		prefix, timeAt := len(s.data.prefix), size-timeBytes
		if s.more {
			timeAt -= timeBytes
			lo, hi = lo[:timeAt+timeBytes], hi[:timeAt+timeBytes]
		}
		binary.BigEndian.PutUint64(lo[timeAt:], uint64(from))
		binary.BigEndian.PutUint64(hi[timeAt:], uint64(to+1))
		for segment := first; ; segment += step {
			binary.BigEndian.PutUint64(lo[prefix:], uint64(segment))
			binary.BigEndian.PutUint64(hi[prefix:], uint64(segment))
			for at, err := range s.data.scanLayers(lo, hi, reverse, false, from <= s.below) {
				if err == nil && len(at.key) != size {
					continue // of a longer key that begins with these bytes
				}
				r, err := s.decodeKnown(k, at, err)
				if !yield(r, err) || err != nil {
					return
				}
			}
			if segment == last {
				return
			}
		}
	}
}

// alive cuts a range of times to what can be there.
func (s *timed[K, V]) alive(from, to int64, committed bool) (int64, int64) {
	now := s.observed.now
	if committed {
		now = s.observed.committed
	}
	return max(0, from, now-s.retention+1), min(to, s.top(now))
}

// top is the greatest time that a row can have: that of the clock, or of a task of before whose rows are here now.
func (s *timed[K, V]) top(now int64) int64 { return max(now, s.observed.latestBefore) }

func (s *timed[K, V]) ofKeyOnGrid(
	k K, from, to int64, reverse bool, yield func(row[K, V], error) bool,
) {
	var times []int64
	for t, last := s.next(from), from-1; t > last && t <= to; t = s.next(t + 1) { // behind the end of time it wraps
		times, last = append(times, t), t
	}
	if reverse {
		slices.Reverse(times)
	}
	for _, t := range times {
		v, ts, found, err := s.get(k, t, 0)
		if (found || err != nil) && (!yield(row[K, V]{key: k, time: t, value: v, timestamp: ts}, err) || err != nil) {
			return
		}
	}
}

// all yields the rows with from <= time <= to, in the order of their keys in the store: by time and key on a grid, by
// segment, key and time otherwise.
func (s *timed[K, V]) all(from, to int64, reverse bool) iter.Seq2[row[K, V], error] {
	return func(yield func(row[K, V], error) bool) {
		if err := s.usable(); err != nil {
			yield(row[K, V]{}, err)
			return
		}
		from, to := s.alive(from, to, false)
		if from > to {
			return
		}
		lo, hi := from, to
		if s.next == nil {
			lo, hi = from/s.segment, to/s.segment
		}
		bound := func(n int64) []byte {
			return binary.BigEndian.AppendUint64(slices.Clone(s.data.prefix), uint64(n))
		}
		for at, err := range s.data.scanLayers(bound(lo), bound(hi+1), reverse, false, from <= s.below) {
			var r row[K, V]
			if err == nil {
				if r, err = s.decode(at); err == nil && (r.time < from || r.time > to) {
					continue
				}
			}
			if !yield(r, err) || err != nil {
				return
			}
		}
	}
}

// decodeKnown decodes a row of a key that is known, on segments.
func (s *timed[K, V]) decodeKnown(k K, at scanned[V], err error) (row[K, V], error) {
	r := row[K, V]{key: k}
	if err != nil {
		return r, err
	}
	tail := at.key
	if s.more {
		r.more = int64(binary.BigEndian.Uint64(tail[len(tail)-timeBytes:]))
		tail = tail[:len(tail)-timeBytes]
	}
	r.time = int64(binary.BigEndian.Uint64(tail[len(tail)-timeBytes:]))
	return r, s.value(&r, at)
}

func (s *timed[K, V]) decode(at scanned[V]) (r row[K, V], err error) {
	head := len(s.data.prefix) + timeBytes
	least := head
	if s.next == nil {
		least += timeBytes
		if s.more {
			least += timeBytes
		}
	}
	if len(at.key) < least {
		return r, &CodecError{
			Store: s.name, Op: "decode key", Key: slices.Clone(at.key),
			Err: fmt.Errorf("%d bytes are too short", len(at.key)),
		}
	}
	key := at.key[head:]
	if s.next != nil {
		r.time = int64(binary.BigEndian.Uint64(at.key[len(s.data.prefix):]))
		err = s.value(&r, at)
	} else {
		r, err = s.decodeKnown(r.key, at, nil)
		key = key[:len(at.key)-least]
	}
	if err != nil {
		return r, err
	}
	if r.key, err = s.key.Decode(key); err != nil {
		err = &CodecError{Store: s.name, Op: "decode key", Key: slices.Clone(key), Err: err}
	}
	return r, err
}

func (s *timed[K, V]) value(r *row[K, V], at scanned[V]) (err error) {
	if at.cur != nil {
		r.value, r.timestamp = at.cur.cur, at.cur.ts
		return nil
	}
	r.value, r.timestamp, err = s.data.decodeStored(at.key, at.stored)
	return err
}

// listen makes the store hold updates back until FlushCache.
func (s *timed[K, V]) listen(wantOld bool, listener FlushListener[row[K, V], V]) error {
	if !s.caching || listener == nil {
		return nil
	}
	return s.data.setListener(wantOld,
		func(key []byte, e *entry[V], old oldValue[V], headers []record.Header) error {
			r, err := s.decode(scanned[V]{key: slices.Concat(s.data.prefix, key), cur: e})
			if err != nil {
				return err
			}
			return listener(r, e.cur, e.flags&flagExists != 0, old.v, old.exists, e.ts, headers)
		})
}

// timeMax stands for no upper bound.
const timeMax = math.MaxInt64 - 1

// expiring is the data of a timed store. A flush leaves out what has expired, and deletes it from the engine.
type expiring[V any] struct {
	*buffer[V]

	observed  *Clock // nil: others say when a flush is due
	retention int64
	// frozenAt is what was observed at the last freeze.
	frozenAt int64
	// keyBound returns the key below which every committed row has expired.
	keyBound func() []byte
	// freezing is called before each flush, unless it is nil.
	freezing func()
	// expiredTo is the bound of the last flush: nothing is left below it. Owned by the flush.
	expiredTo []byte
	// replayed sees each replayed row first, and may give it another key, unless it is nil.
	replayed func(r *record.Raw) error
}

// Replay implements [Store].
func (e *expiring[V]) Replay(r *record.Raw) error {
	if e.replayed != nil {
		if err := e.replayed(r); err != nil {
			return err
		}
	}
	return e.buffer.Replay(r)
}

// expiringTable is a frozen table and what has expired of it.
type expiringTable struct {
	table any
	bound []byte
}

// expiredBytesMin is the size from which expired rows are worth a flush of their own.
const expiredBytesMin = 8 << 20

// mostlyExpired goes by the time since the last freeze: what was put before the last retention has expired.
func (e *expiring[V]) mostlyExpired() bool {
	if e.observed == nil {
		return false
	}
	if e.frozenAt < 0 {
		e.frozenAt = e.observed.committed // nothing was put before
	}
	return e.observed.committed-e.frozenAt > 4*e.retention && e.activeBytes() > expiredBytesMin
}

func (e *expiring[V]) freeze() {
	if e.observed != nil {
		e.frozenAt = e.observed.committed
	}
	e.buffer.freeze()
}

func (e *expiring[V]) frozenTable() any {
	if e.freezing != nil {
		e.freezing()
	}
	return expiringTable{e.buffer.frozenTable(), e.keyBound()}
}

func (e *expiring[V]) eachFrozen(table any, expire bool, yield func(Entry) bool) bool {
	t, ok := table.(expiringTable)
	if !ok {
		panic(fmt.Sprintf("store: %s: %T is a table of another store", e.name, table))
	}
	if expire && !e.expire(t.bound, yield) {
		return false
	}
	return e.buffer.eachFrozen(t.table, expire, func(row Entry) bool {
		return bytes.Compare(row.Key, t.bound) < 0 || yield(row)
	})
}

// expire deletes the rows below the bound from the engine.
func (e *expiring[V]) expire(bound []byte, yield func(Entry) bool) bool {
	if !e.engine.Empty() && bytes.Compare(e.expiredTo, bound) < 0 {
		for row, err := range e.engine.Scan(e.expiredTo, bound, false) {
			if err != nil {
				return true // the next flush tries again: expired rows are not read, they only take space
			}
			if !yield(Entry{Key: slices.Clone(row.Key)}) {
				return false
			}
		}
	}
	e.expiredTo = bound
	return true
}
