package store

import (
	"fmt"
	"iter"
	"slices"
	"sync/atomic"

	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
)

// KeyValue is a key-value store: one value, with a timestamp, per key.
//
// A nil value of a type that has nil (pointer, slice, map, interface) deletes the key. Keys are equal if their
// encodings are, and order as their encodings do.
//
// Values are shared, not copied: do not modify what was read from or put into the store, nor byte slices that keys
// decode to. (What was committed is safe even then: it is kept encoded.)
//
// Owned by the task goroutine.
type KeyValue[K, V any] struct {
	*buffer[V]

	key      serde.Serde[K]
	keyBytes []byte // scratch: prefix and encoded key
	caching  bool

	life     *lifetimes // nil: entries do not expire
	onExpiry ExpiryListener[K, V]
}

// KeyValueEntry is one key of a range scan.
type KeyValueEntry[K, V any] struct {
	Key       K
	Value     V
	Timestamp int64
}

// FlushListener receives the updates that a caching store held back: the key's last value and the one of the last
// emission before (the zero value unless old values were asked for). It may write to stores, also to its own.
type FlushListener[K, V any] func(
	key K, newValue V, newExists bool, oldValue V, oldExists bool, timestamp int64, headers []record.Header,
) error

var _ layered = (*KeyValue[string, int])(nil)

// NewKeyValue returns the constructor of a key-value store, for [Spec.New].
func NewKeyValue[K, V any](name string, key serde.Serde[K], value serde.Serde[V]) func(env Env) (Store, error) {
	return func(env Env) (Store, error) {
		if env.TTL != (TTL{}) && key != nil && value != nil {
			return newTTLStore(name, key, value, env)
		}
		return makeKeyValue(name, key, value, env)
	}
}

func makeKeyValue[K, V any](
	name string, key serde.Serde[K], value serde.Serde[V], env Env,
) (*KeyValue[K, V], error) {
	if key == nil || value == nil {
		return nil, fmt.Errorf("store: %s: key and value serde must not be nil", name)
	}
	return &KeyValue[K, V]{
		buffer:   newBuffer(name, env, value),
		key:      key,
		keyBytes: slices.Clone(env.Prefix),
		caching:  env.CachingEnabled,
	}, nil
}

// KeyValueSpec describes a persistent, logged key-value store; the caller may change fields.
func KeyValueSpec[K, V any](name string, key serde.Serde[K], value serde.Serde[V]) Spec {
	return Spec{
		Name: name, Type: TypeKeyValue, KeySerde: typeOf(key), ValueSerde: typeOf(value),
		KeyWindows: serde.WindowBytes(key), Serdes: Serdes[K, V]{key, value},
		New: NewKeyValue(name, key, value),
		NewGlobal: func(env Env, changes *atomic.Uint64) (Store, error) {
			rows, err := makeKeyValue(name, key, value, env)
			if err != nil {
				return nil, err
			}
			return newGlobal(rows, changes), nil
		},
	}
}

// encodeKey returns prefix and key in s.keyBytes.
func (s *KeyValue[K, V]) encodeKey(k K) ([]byte, error) {
	b, err := s.key.Append(s.keyBytes[:len(s.prefix)], k)
	if err != nil {
		return nil, &CodecError{Store: s.name, Op: "encode key", Err: err}
	}
	s.keyBytes = b
	return b, nil
}

// Get returns the value of k, uncommitted writes included.
func (s *KeyValue[K, V]) Get(k K) (v V, found bool, err error) {
	v, _, found, err = s.GetWithTimestamp(k)
	return v, found, err
}

// GetWithTimestamp returns the value of k and the timestamp it was put with.
func (s *KeyValue[K, V]) GetWithTimestamp(k K) (v V, timestamp int64, found bool, err error) {
	key, err := s.encodeKey(k)
	if err != nil {
		return v, 0, false, err
	}
	if s.life != nil {
		return s.getAlive(key)
	}
	e, err := s.load(key)
	if err != nil || e.flags&flagExists == 0 {
		return v, 0, false, err
	}
	return e.cur, e.ts, true, nil
}

// getAlive is GetWithTimestamp of a store whose entries expire.
func (s *KeyValue[K, V]) getAlive(key []byte) (v V, timestamp int64, found bool, err error) {
	e, err := s.load(key)
	if err != nil || e.flags&flagExists == 0 {
		return v, 0, false, err
	}
	if gone, err := s.life.gone(key[len(s.prefix):]); gone || err != nil {
		return v, 0, false, err
	}
	if s.life.ttl.RefreshOnRead {
		err = s.life.wrote(key[len(s.prefix):], true)
	}
	return e.cur, e.ts, true, err
}

// set writes an entry.
func (s *KeyValue[K, V]) set(key []byte, v V, exists bool, timestamp int64, headers []record.Header) error {
	if s.life != nil {
		if err := s.life.wrote(key[len(s.prefix):], exists && (!s.nilable || !isNil(&v))); err != nil {
			return err
		}
	}
	return s.put(key, v, exists, timestamp, headers)
}

// Put sets the value of k. The timestamp is that of the record being processed.
func (s *KeyValue[K, V]) Put(k K, v V) error {
	key, err := s.encodeKey(k)
	if err != nil {
		return err
	}
	return s.set(key, v, true, s.context.Timestamp, s.context.Headers)
}

// PutWithTimestamp sets the value of k with a timestamp of its own.
func (s *KeyValue[K, V]) PutWithTimestamp(k K, v V, timestamp int64) error {
	key, err := s.encodeKey(k)
	if err != nil {
		return err
	}
	return s.set(key, v, true, timestamp, s.context.Headers)
}

// Delete removes k. That it is not there is no error.
func (s *KeyValue[K, V]) Delete(k K) error {
	var zero V
	key, err := s.encodeKey(k)
	if err != nil {
		return err
	}
	return s.set(key, zero, false, s.context.Timestamp, s.context.Headers)
}

// DeleteWithTimestamp removes k with a timestamp of its own.
func (s *KeyValue[K, V]) DeleteWithTimestamp(k K, timestamp int64) error {
	var zero V
	key, err := s.encodeKey(k)
	if err != nil {
		return err
	}
	return s.set(key, zero, false, timestamp, s.context.Headers)
}

// PutIfAbsent sets the value of k unless there is one, which it returns.
func (s *KeyValue[K, V]) PutIfAbsent(k K, v V) (existing V, found bool, err error) {
	key, err := s.encodeKey(k)
	if err != nil {
		return existing, false, err
	}
	e, err := s.load(key)
	if err != nil {
		return existing, false, err
	}
	if e.flags&flagExists != 0 {
		gone := false
		if s.life != nil {
			gone, err = s.life.gone(key[len(s.prefix):])
		}
		if !gone || err != nil {
			return e.cur, err == nil, err
		}
	}
	return existing, false, s.set(key, v, true, s.context.Timestamp, s.context.Headers)
}

// Update replaces the value of k by what f makes of it, with one look-up: a count is
// Update(k, ts, headers, func(n int64, _ int64, _ bool) (int64, int64, bool) { return n + 1, ts, true }).
// f gets the present value with its timestamp and returns the new ones; false deletes the key.
func (s *KeyValue[K, V]) Update(
	k K, headers []record.Header, f func(old V, timestamp int64, exists bool) (V, int64, bool),
) error {
	key, err := s.encodeKey(k)
	if err != nil {
		return err
	}
	if s.life != nil {
		return s.updateAlive(k, key, headers, f)
	}
	u, err := s.update(key, headers, f)
	if err != nil || !u.moved {
		return err
	}
	if key, err = s.encodeKey(k); err != nil {
		return err
	}
	return s.put(key, u.v, u.exists, u.timestamp, headers)
}

// updateAlive is Update of a store whose entries expire.
func (s *KeyValue[K, V]) updateAlive(
	k K, key []byte, headers []record.Header, f func(old V, timestamp int64, exists bool) (V, int64, bool),
) error {
	var old V
	e, err := s.load(key)
	if err != nil {
		return err
	}
	timestamp, exists := int64(0), e.flags&flagExists != 0
	if exists {
		gone, err := s.life.gone(key[len(s.prefix):])
		if err != nil {
			return err
		}
		if exists = !gone; exists {
			old, timestamp = e.cur, e.ts
		}
	}
	v, timestamp, exists := f(old, timestamp, exists)
	if key, err = s.encodeKey(k); err != nil { // f may have used the store
		return err
	}
	return s.set(key, v, exists, timestamp, headers)
}

// Range yields the entries with lo <= key <= hi in key order.
//
// The loop body may write to the store: writes ahead of the position are seen, those behind it are not.
func (s *KeyValue[K, V]) Range(lo, hi K) iter.Seq2[KeyValueEntry[K, V], error] {
	return s.bounded(lo, hi, false)
}

// ReverseRange is Range from hi down to lo.
func (s *KeyValue[K, V]) ReverseRange(lo, hi K) iter.Seq2[KeyValueEntry[K, V], error] {
	return s.bounded(lo, hi, true)
}

// All yields every entry in key order.
func (s *KeyValue[K, V]) All() iter.Seq2[KeyValueEntry[K, V], error] {
	return s.entries(s.prefix, prefixEnd(s.prefix), false)
}

// ReverseAll yields every entry in reverse key order.
func (s *KeyValue[K, V]) ReverseAll() iter.Seq2[KeyValueEntry[K, V], error] {
	return s.entries(s.prefix, prefixEnd(s.prefix), true)
}

// PrefixScan yields the entries whose encoded key starts with prefix, in key order.
func (s *KeyValue[K, V]) PrefixScan(prefix []byte) iter.Seq2[KeyValueEntry[K, V], error] {
	lo := slices.Concat(s.prefix, prefix)
	return s.entries(lo, prefixEnd(lo), false)
}

func (s *KeyValue[K, V]) bounded(lo, hi K, reverse bool) iter.Seq2[KeyValueEntry[K, V], error] {
	return func(yield func(KeyValueEntry[K, V], error) bool) {
		from, to, err := s.bounds(lo, hi)
		if err != nil {
			yield(KeyValueEntry[K, V]{}, err)
			return
		}
		s.entries(from, to, reverse)(yield)
	}
}

// bounds encodes the bounds of a range, of which both ends are included.
func (s *KeyValue[K, V]) bounds(lo, hi K) (from, to []byte, err error) {
	if from, err = s.encodeKey(lo); err != nil {
		return nil, nil, err
	}
	from = slices.Clone(from)
	if to, err = s.encodeKey(hi); err != nil {
		return nil, nil, err
	}
	return from, append(slices.Clone(to), 0), nil // the least key behind hi
}

func (s *KeyValue[K, V]) entries(lo, hi []byte, reverse bool) iter.Seq2[KeyValueEntry[K, V], error] {
	return func(yield func(KeyValueEntry[K, V], error) bool) {
		for at, err := range s.scan(lo, hi, reverse) {
			var entry KeyValueEntry[K, V]
			if err == nil && s.life != nil {
				var gone bool
				if gone, err = s.life.gone(at.key[len(s.prefix):]); gone {
					continue
				}
			}
			if err == nil {
				entry, err = s.entry(at)
			}
			if !yield(entry, err) || err != nil {
				return
			}
		}
	}
}

func (s *KeyValue[K, V]) entry(at scanned[V]) (e KeyValueEntry[K, V], err error) {
	if e.Key, err = s.decodeKey(at.key[len(s.prefix):]); err != nil {
		return e, err
	}
	if at.cur != nil {
		e.Value, e.Timestamp = at.cur.cur, at.cur.ts
		return e, nil
	}
	e.Value, e.Timestamp, err = s.decodeStored(at.key, at.stored)
	return e, err
}

func (s *KeyValue[K, V]) decodeKey(key []byte) (K, error) {
	k, err := s.key.Decode(key)
	if err != nil {
		err = &CodecError{Store: s.name, Op: "decode key", Key: slices.Clone(key), Err: err}
	}
	return k, err
}

// ApproximateCount estimates the number of keys. Keys that are both in memory and on disk may count twice.
func (s *KeyValue[K, V]) ApproximateCount() (int64, error) { return s.approximateCount() }

// SetFlushListener makes the store hold updates back until FlushCache, which calls listener once per key in the order
// of the keys' last updates. With wantOld the store also looks up the value of the last emission. A store without
// CachingEnabled never calls it: whoever writes forwards. Call it before the first write.
func (s *KeyValue[K, V]) SetFlushListener(listener FlushListener[K, V], wantOld bool) error {
	if !s.caching || listener == nil {
		return nil
	}
	return s.setListener(wantOld,
		func(key []byte, e *entry[V], old oldValue[V], headers []record.Header) error {
			k, err := s.decodeKey(key)
			if err != nil {
				return err
			}
			return listener(k, e.cur, e.flags&flagExists != 0, old.v, old.exists, e.ts, headers)
		})
}

// CachingEnabled reports whether updates wait for FlushCache.
func (s *KeyValue[K, V]) CachingEnabled() bool { return s.caching }

// prefixEnd returns the least key behind all that start with prefix; nil if there is none.
func prefixEnd(prefix []byte) []byte {
	end := slices.Clone(prefix)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i]++; end[i] != 0 {
			return end[:i+1]
		}
	}
	return nil
}
