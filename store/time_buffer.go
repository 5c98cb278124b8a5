package store

import (
	"encoding/binary"
	"fmt"
	"iter"
	"slices"

	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
)

// TimeBuffer holds records until their time has come, in the order of their timestamps, of their keys' bytes and of
// their arrival. Joins with grace wait in it. It commits as every store does, so that what waits survives a crash.
//
// What is said of sharing at [KeyValue] holds here too. Owned by the task goroutine.
type TimeBuffer[K, V any] struct {
	*composite

	data     *buffer[buffered[V]]
	observed *Clock // the greatest timestamp ever put
	arrivals *Clock // numbers the records
	first    int64  // nothing waits before this time
	key      serde.Serde[K]
	keyBytes []byte // scratch
}

// buffered is a record without its key and timestamp.
type buffered[V any] struct {
	value   V
	headers []record.Header
}

// arrivalsClock numbers the records.
const arrivalsClock = "arrivals"

// TimeBufferSpec describes a persistent, logged buffer; the caller may change fields.
func TimeBufferSpec[K, V any](name string, key serde.Serde[K], value serde.Serde[V]) Spec {
	s := Spec{
		Name: name, Type: TypeTimeBuffer, KeySerde: typeOf(key), ValueSerde: typeOf(value),
		KeyWindows: serde.WindowBytes(key),
	}
	s.New = func(env Env) (Store, error) {
		if key == nil || value == nil {
			return nil, fmt.Errorf("store: %s: key and value serde must not be nil", name)
		}
		return newTimeBuffer(name, env, key, value)
	}
	return s
}

func newTimeBuffer[K, V any](
	name string, env Env, key serde.Serde[K], value serde.Serde[V],
) (*TimeBuffer[K, V], error) {
	b := &TimeBuffer[K, V]{key: key}
	plain := newBuffer(name, env, value)
	b.data = newPartBuffer(name, env, dataTag, serde.Serde[buffered[V]](bufferedSerde[V]{value, plain.aliases}))
	b.keyBytes = slices.Clone(b.data.prefix)
	clocks := newClocks(name, env, clockTag)
	var err error
	if b.observed, err = clocks.clock("observed"); err != nil {
		return nil, err
	}
	if b.arrivals, err = clocks.clock(arrivalsClock); err != nil {
		return nil, err
	}
	b.composite = &composite{name: name, parts: []part{{clocks, clockTag}, {b.data, dataTag}}}
	return b, nil
}

// ObservedTime returns the greatest timestamp ever put, -1 before the first.
func (b *TimeBuffer[K, V]) ObservedTime() int64 { return b.observed.Now() }

// Put adds a record. Neither its key nor its value is null.
func (b *TimeBuffer[K, V]) Put(r record.Record[K, V]) error {
	if r.Timestamp < 0 {
		return fmt.Errorf("store: %s: put at the negative time %d", b.name, r.Timestamp)
	}
	key := binary.BigEndian.AppendUint64(b.keyBytes[:len(b.data.prefix)], uint64(r.Timestamp))
	key, err := b.key.Append(key, r.Key)
	if err != nil {
		return &CodecError{Store: b.name, Op: "encode key", Err: err}
	}
	b.first = min(b.first, r.Timestamp)
	b.observed.Advance(r.Timestamp)
	b.arrivals.Set(b.arrivals.Now() + 1)
	b.keyBytes = binary.BigEndian.AppendUint64(key, uint64(b.arrivals.Now()))
	return b.data.put(b.keyBytes, buffered[V]{r.Value, r.Headers}, true, r.Timestamp, nil)
}

// Take removes and yields the records with timestamps up to one, in order. The loop body may write to stores; a record
// is removed before it is yielded.
func (b *TimeBuffer[K, V]) Take(to int64) iter.Seq2[record.Record[K, V], error] {
	return func(yield func(record.Record[K, V], error) bool) {
		if to < b.first {
			return // the usual case, and a scan costs more than all the rest
		}
		lo := binary.BigEndian.AppendUint64(slices.Clone(b.data.prefix), uint64(b.first))
		first := int64(timeMax)
		b.first = timeMax // what the loop body puts moves it back
		for at, err := range b.data.scan(lo, prefixEnd(b.data.prefix), false) {
			var r record.Record[K, V]
			if err == nil {
				r, err = b.decode(at)
			}
			if err == nil && r.Timestamp > to {
				first = r.Timestamp
				break
			}
			if err == nil {
				err = b.data.put(at.key, buffered[V]{}, false, r.Timestamp, nil)
			}
			if !yield(r, err) || err != nil {
				first = 0
				break
			}
		}
		b.first = min(b.first, first)
	}
}

// Rollback implements [Store]. What was taken is there again.
func (b *TimeBuffer[K, V]) Rollback() error {
	b.first = 0
	return b.composite.Rollback()
}

// Replay implements [Store].
func (b *TimeBuffer[K, V]) Replay(r *record.Raw) error {
	b.first = 0
	return b.composite.Replay(r)
}

// All yields the records that wait, in order, and leaves them there.
func (b *TimeBuffer[K, V]) All() iter.Seq2[record.Record[K, V], error] {
	return func(yield func(record.Record[K, V], error) bool) {
		for at, err := range b.data.scan(b.data.prefix, prefixEnd(b.data.prefix), false) {
			var r record.Record[K, V]
			if err == nil {
				r, err = b.decode(at)
			}
			if !yield(r, err) || err != nil {
				return
			}
		}
	}
}

func (b *TimeBuffer[K, V]) decode(at scanned[buffered[V]]) (r record.Record[K, V], err error) {
	head := len(b.data.prefix) + timeBytes
	if len(at.key) < head+timeBytes {
		return r, &CodecError{
			Store: b.name, Op: "decode key", Key: slices.Clone(at.key), Err: fmt.Errorf("%d bytes are too short", len(at.key)),
		}
	}
	var v buffered[V]
	if at.cur != nil {
		v, r.Timestamp = at.cur.cur, at.cur.ts
	} else if v, r.Timestamp, err = b.data.decodeStored(at.key, at.stored); err != nil {
		return r, err
	}
	r.Value, r.Headers = v.value, v.headers
	key := slices.Clone(at.key[head : len(at.key)-timeBytes])
	if r.Key, err = b.key.Decode(key); err != nil {
		err = &CodecError{Store: b.name, Op: "decode key", Key: key, Err: err}
	}
	return r, err
}
