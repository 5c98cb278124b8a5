package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
)

// TimeOrdered is a buffer of entries that leave in the order of time and key bytes (Kafka Streams'
// TimeOrderedKeyValueBuffer). Each key is in it once, at the time of its first Put; further ones replace the value and
// keep the place.
//
// Keys behind the tags, all numbers big endian:
//
//	clocks:  │ name │           → how many entries there are, and bytes
//	entries: │ time 8 │ key │   → size uvarint, value
//	places:  │ key │            → time 8; only if the time does not follow from the key
//
// The first key is at hand, so that asking for the first time costs no scan. All else may be on disk.
//
// Owned by the task goroutine.
type TimeOrdered[K, V any] struct {
	*composite

	entries *buffer[sized[V]]
	places  *buffer[int64] // nil if the time follows from the key
	clocks  *clocks
	records *Clock
	bytes   *Clock // the sum of the entries' sizes

	key        serde.Serde[K]
	value      serde.Serde[V]
	countBytes bool
	entryKey   []byte // scratch: prefix, time and key
	placeKey   []byte // scratch: prefix and key
	encoded    []byte // scratch: a value

	// head is the key of the first entry, or one below it; without headKnown it has to be looked up.
	head      []byte
	headKnown bool
	// counted says that count need not look.
	counted bool
}

// TimeOrderedConfig describes a buffer that is ordered by time.
type TimeOrderedConfig struct {
	// TimeFromKey says that the same key always comes with the same time, which saves a second row per entry.
	TimeFromKey bool
	// CountBytes keeps account of the bytes of keys and values, for which values are encoded at each Put.
	CountBytes bool
}

// TimeOrderedEntry is one entry of a buffer.
type TimeOrderedEntry[K, V any] struct {
	Key       K
	Value     V
	Time      int64 // its place
	Timestamp int64 // of the last Put
}

// The clocks that sum the entries up. Without their rows, as when the entries come from several tasks, they are counted
// once.
const (
	recordsClock = "records"
	bytesClock   = "bytes"
)

const (
	entryTag byte = 1
	placeTag byte = 2
)

// TimeOrderedSpec describes a persistent, logged buffer; the caller may change fields.
func TimeOrderedSpec[K, V any](name string, key serde.Serde[K], value serde.Serde[V], c TimeOrderedConfig) Spec {
	return Spec{
		Name: name, Type: TypeTimeOrdered, KeySerde: typeOf(key), ValueSerde: typeOf(value),
		KeyWindows: serde.WindowBytes(key),
		New:        func(env Env) (Store, error) { return newTimeOrdered(name, env, key, value, c) },
	}
}

func newTimeOrdered[K, V any](
	name string, env Env, key serde.Serde[K], value serde.Serde[V], c TimeOrderedConfig,
) (*TimeOrdered[K, V], error) {
	if key == nil || value == nil {
		return nil, fmt.Errorf("store: %s: key and value serde must not be nil", name)
	}
	s := &TimeOrdered[K, V]{
		entries: newPartBuffer[sized[V]](name, env, entryTag, sizedSerde[V]{value}),
		clocks:  newClocks(name, env, clockTag),
		key:     key, value: value, countBytes: c.CountBytes,
	}
	s.entryKey = append(slices.Clone(s.entries.prefix), make([]byte, timeBytes)...)
	s.composite = &composite{name: name, parts: []part{{s.clocks, clockTag}, {s.entries, entryTag}}}
	if !c.TimeFromKey {
		s.places = newPartBuffer(name, env, placeTag, serde.Int64)
		s.placeKey = slices.Clone(s.places.prefix)
		s.parts = append(s.parts, part{s.places, placeTag})
	}
	var err, err2 error
	s.records, err = s.clocks.clock(recordsClock)
	s.bytes, err2 = s.clocks.clock(bytesClock)
	return s, errors.Join(err, err2)
}

// Clock returns a clock that commits with the store. Ask once, when the task is made.
func (s *TimeOrdered[K, V]) Clock(name string) (*Clock, error) {
	if name == recordsClock || name == bytesClock {
		return nil, fmt.Errorf("store: %s: the clock %q is the store's own", s.name, name)
	}
	return s.clocks.clock(name)
}

// Len returns the number of entries.
func (s *TimeOrdered[K, V]) Len() int64 {
	_ = s.count() // Put, FirstTime and EvictWhile return its error
	return max(0, s.records.Now())
}

// count sums the entries up if nobody has: they come from the changelogs of several tasks. It belongs to the active
// epoch.
func (s *TimeOrdered[K, V]) count() error {
	if s.counted || s.records.Now() != clockStart {
		return nil
	}
	var n, size int64
	for at, err := range s.entries.scan(s.entries.prefix, prefixEnd(s.entries.prefix), false) {
		if err != nil {
			return err
		}
		row := sized[V]{}
		if at.cur != nil {
			row = at.cur.cur
		} else if row, _, err = s.entries.decodeStored(at.key, at.stored); err != nil {
			return err
		}
		n, size = n+1, size+row.size
	}
	if s.counted = true; n > 0 {
		s.records.Set(n)
		s.bytes.Set(size)
	}
	return nil
}

// Bytes returns how many bytes the keys and values of the entries have that were put with CountBytes.
func (s *TimeOrdered[K, V]) Bytes() int64 { return max(0, s.bytes.Now()) }

// Get returns the entry of k. time is the key's time if that follows from the key, else it is not looked at.
func (s *TimeOrdered[K, V]) Get(k K, time int64) (v V, timestamp int64, found bool, err error) {
	found, err = s.locate(k, &time)
	if err != nil || !found {
		return v, 0, false, err
	}
	e, err := s.entries.load(s.entryKey)
	if err != nil || e.flags&flagExists == 0 {
		return v, 0, false, err
	}
	return e.cur.v, e.ts, true, nil
}

// Put sets the value of k, at its place or else at time, which must not be negative.
func (s *TimeOrdered[K, V]) Put(k K, time int64, v V, timestamp int64) error {
	if time < 0 {
		return fmt.Errorf("store: %s: put at the negative time %d", s.name, time)
	}
	if err := s.count(); err != nil {
		return err
	}
	placed, err := s.locate(k, &time)
	if err != nil {
		return err
	}
	next := sized[V]{v: v}
	if s.countBytes {
		if s.encoded, err = s.value.Append(s.encoded[:0], v); err != nil {
			s.encoded = nil // a failing serde may return anything
			return &CodecError{Store: s.name, Op: "encode value", Err: err}
		}
		next.size = int64(len(s.entryKey)-len(s.entries.prefix)-timeBytes) + int64(len(s.encoded))
	}
	e, err := s.entries.load(s.entryKey)
	if err != nil {
		return err
	}
	if e.flags&flagExists != 0 {
		s.bytes.Set(s.Bytes() + next.size - e.cur.size)
	} else {
		s.noteHead()
		s.records.Set(s.Len() + 1)
		s.bytes.Set(s.Bytes() + next.size)
	}
	if s.places != nil && !placed {
		if err := s.places.put(s.placeKey, time, true, timestamp, nil); err != nil {
			return err
		}
	}
	return s.entries.put(s.entryKey, next, true, timestamp, nil)
}

// locate makes s.entryKey the key of k's entry, and *time its time if there is one. found false says that there is
// none; if the time follows from the key, only the entry itself can tell.
func (s *TimeOrdered[K, V]) locate(k K, time *int64) (found bool, err error) {
	at := len(s.entries.prefix)
	b, err := s.key.Append(s.entryKey[:at+timeBytes], k)
	if err != nil {
		return false, &CodecError{Store: s.name, Op: "encode key", Err: err}
	}
	s.entryKey = b
	found = true
	if s.places != nil {
		s.placeKey = append(s.placeKey[:len(s.places.prefix)], b[at+timeBytes:]...)
		e, err := s.places.load(s.placeKey)
		if err != nil {
			return false, err
		}
		if found = e.flags&flagExists != 0; found {
			*time = e.cur
		}
	}
	binary.BigEndian.PutUint64(b[at:], uint64(*time))
	return found, nil
}

// noteHead takes s.entryKey, of a new entry, into account.
func (s *TimeOrdered[K, V]) noteHead() {
	if s.Len() == 0 || s.headKnown && bytes.Compare(s.entryKey, s.head) < 0 {
		s.head, s.headKnown = append(s.head[:0], s.entryKey...), true
	}
}

// FirstTime returns the time of the first entry, or an earlier one after an EvictWhile that failed; false if there is
// none.
func (s *TimeOrdered[K, V]) FirstTime() (time int64, found bool, err error) {
	if err := s.count(); err != nil || s.Len() == 0 {
		return 0, false, err
	}
	if !s.headKnown {
		// EvictWhile leaves the first entry's key, whatever more says.
		if err := s.EvictWhile(func(int64) bool { return false }, nil); err != nil || !s.headKnown {
			return 0, false, err
		}
	}
	return s.timeOf(s.head), true, nil
}

func (s *TimeOrdered[K, V]) timeOf(key []byte) int64 {
	return int64(binary.BigEndian.Uint64(key[len(s.entries.prefix):]))
}

// EvictWhile removes entries from the front, as long as more says so of the first one's time, and then hands each to
// emit. emit must not write to the buffer. An error ends it; the entry is gone then.
func (s *TimeOrdered[K, V]) EvictWhile(
	more func(firstTime int64) bool, emit func(e TimeOrderedEntry[K, V]) error,
) error {
	if err := s.count(); err != nil || s.Len() == 0 {
		return err
	}
	lo := s.entries.prefix
	if s.headKnown {
		lo = slices.Clone(s.head) // below it lie only removed entries, which a scan would have to skip
	}
	for at, err := range s.entries.scan(lo, prefixEnd(s.entries.prefix), false) {
		if err != nil {
			return err
		}
		if len(at.key) < len(s.entries.prefix)+timeBytes {
			return s.badKey(at.key, fmt.Errorf("%d bytes are too short", len(at.key)))
		}
		s.head, s.headKnown = append(s.head[:0], at.key...), true
		if !more(s.timeOf(at.key)) {
			return nil
		}
		e, err := s.remove(at)
		if err == nil {
			err = emit(e)
		}
		if err != nil {
			return err
		}
	}
	s.headKnown = false
	return nil
}

// remove deletes an entry and returns it.
func (s *TimeOrdered[K, V]) remove(at scanned[sized[V]]) (e TimeOrderedEntry[K, V], err error) {
	var row sized[V]
	if at.cur != nil {
		row, e.Timestamp = at.cur.cur, at.cur.ts
	} else if row, e.Timestamp, err = s.entries.decodeStored(at.key, at.stored); err != nil {
		return e, err
	}
	e.Value, e.Time = row.v, s.timeOf(at.key)
	encoded := at.key[len(s.entries.prefix)+timeBytes:]
	// A key that is a byte slice aliases what it is decoded from, which the table of keys goes on to use.
	if e.Key, err = s.key.Decode(bytes.Clone(encoded)); err != nil {
		return e, s.badKey(at.key, err)
	}
	if err := s.entries.put(at.key, sized[V]{}, false, e.Timestamp, nil); err != nil {
		return e, err
	}
	s.records.Set(max(0, s.Len()-1))
	s.bytes.Set(max(0, s.Bytes()-row.size))
	if s.places == nil {
		return e, nil
	}
	s.placeKey = append(s.placeKey[:len(s.places.prefix)], encoded...)
	return e, s.places.put(s.placeKey, 0, false, e.Timestamp, nil)
}

func (s *TimeOrdered[K, V]) badKey(key []byte, err error) error {
	return &CodecError{Store: s.name, Op: "decode key", Key: slices.Clone(key[len(s.entries.prefix):]), Err: err}
}

// Rollback implements [Store].
func (s *TimeOrdered[K, V]) Rollback() error {
	s.headKnown, s.counted = false, false
	return s.composite.Rollback()
}

// Replay implements [Store].
func (s *TimeOrdered[K, V]) Replay(r *record.Raw) error {
	s.headKnown, s.counted = false, false
	return s.composite.Replay(r)
}

// sized is a value and the bytes that it counts for. They are kept, since encoding it again may give another number.
type sized[V any] struct {
	v    V
	size int64
}

type sizedSerde[V any] struct{ of serde.Serde[V] }

// Append implements serde.Serde.
func (s sizedSerde[V]) Append(dst []byte, row sized[V]) ([]byte, error) {
	out, err := s.of.Append(binary.AppendUvarint(dst, uint64(row.size)), row.v)
	if err != nil {
		return dst, err
	}
	return out, nil
}

// Decode implements serde.Serde.
func (s sizedSerde[V]) Decode(data []byte) (row sized[V], err error) {
	size, n := binary.Uvarint(data)
	if n <= 0 || int64(size) < 0 {
		return row, fmt.Errorf("store: an entry begins with its size, got %x", data[:min(len(data), binary.MaxVarintLen64)])
	}
	row.size = int64(size)
	// Cloned, since what is decoded to byte slices aliases data, which is used again.
	row.v, err = s.of.Decode(bytes.Clone(data[n:]))
	return row, err
}
