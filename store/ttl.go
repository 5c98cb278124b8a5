package store

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
)

// TTL says how long the entries of a key-value store live (Flink's state TTL; Kafka Streams has none).
//
// An entry lives from its last write, whatever timestamp it was written with: it is gone when the time has come to that
// of the task at the write plus After. The task then deletes it, before it processes anything that could see it, so
// that the changelog gets a tombstone in the transaction of that time. What expires is found by an index: no live entry
// is looked at more often than once in After.
type TTL struct {
	// After is the life of an entry, a millisecond or more. 0: entries live until they are deleted.
	After time.Duration
	// Time is what counts: EventTime, the default, or WallClock.
	Time TTLTime
	// RefreshOnRead lets an entry live longer when it is read by Get, too. By default only a write does.
	RefreshOnRead bool
}

// TTLTime is the time that the life of an entry is measured in.
type TTLTime uint8

// Times of a [TTL].
const (
	// EventTime is the task's stream time. Entries expire with the records that move it, however long they take to come,
	// and the same ones whenever the records are processed again.
	EventTime TTLTime = iota
	// WallClock is the system's clock (Flink's processing time).
	WallClock

	ttlTimes
)

// Times are the two times of a task, in milliseconds since the Unix epoch. Owned by the task goroutine.
type Times struct {
	Stream int64 // -1 before the first record
	Wall   int64
}

// Expiring is a store with a [TTL], for the task that owns it.
type Expiring interface {
	Name() string
	// Time is what the entries live by.
	Time() TTLTime
	// Due is a time before which no entry expires.
	Due() int64
	// Expire deletes what has expired and tells the store's expiry listener. It may be called again after an error of the
	// listener: the entry is deleted by then.
	Expire(now int64) error
	// Reset says that the store was rolled back.
	Reset()
}

// TypeTTLKeyValue is the [Spec.Type] of a [KeyValue] with a [TTL]: its rows lie differently.
const TypeTTLKeyValue = "key-value with TTL"

// Tags of the parts of a store with a TTL, see docs/format/ttl.md.
const (
	ttlDataTag     byte = 1
	ttlDeadlineTag byte = 2
	ttlIndexTag    byte = 3
)

// ttlStore is what the set sees of a key-value store with a TTL: the data, when each entry expires, and the index.
type ttlStore[K, V any] struct {
	*composite

	kv *KeyValue[K, V]
}

var (
	_ layered  = (*ttlStore[string, int])(nil)
	_ Expiring = (*ttlStore[string, int])(nil)
)

func newTTLStore[K, V any](
	name string, key serde.Serde[K], value serde.Serde[V], env Env,
) (*ttlStore[K, V], error) {
	if env.TTL.After < time.Millisecond || env.TTL.Time >= ttlTimes {
		return nil, fmt.Errorf("store: %s: TTL{After: %v, Time: %d}: want a millisecond or more, and EventTime or WallClock",
			name, env.TTL.After, env.TTL.Time)
	}
	kv := &KeyValue[K, V]{
		buffer: newPartBuffer(name, env, ttlDataTag, value), key: key, caching: env.CachingEnabled,
		life: newLifetimes(name, env),
	}
	kv.keyBytes = slices.Clone(kv.prefix)
	return &ttlStore[K, V]{kv: kv, composite: &composite{name: name, parts: []part{
		{kv.buffer, ttlDataTag},
		{loggedDeadlines{kv.life.deadlines, kv.life}, ttlDeadlineTag},
		{unlogged{kv.life.index}, ttlIndexTag},
	}}}, nil
}

// facade is what processors get.
func (s *ttlStore[K, V]) facade() Store { return s.kv }

// Time implements [Expiring].
func (s *ttlStore[K, V]) Time() TTLTime { return s.kv.life.ttl.Time }

// Due implements [Expiring].
func (s *ttlStore[K, V]) Due() int64 { return s.kv.life.due() }

// Reset implements [Expiring].
func (s *ttlStore[K, V]) Reset() { s.kv.life.known = false }

// Expire implements [Expiring].
func (s *ttlStore[K, V]) Expire(now int64) error {
	l := s.kv.life
	for at, err := range l.index.scan(l.index.prefix, l.indexBound(now+1), false) {
		if err != nil {
			return err
		}
		key := at.key[len(l.index.prefix)+timeBytes:]
		if err := l.index.put(at.key, struct{}{}, false, now, nil); err != nil {
			return err
		}
		deadline, exists, err := l.deadline(key)
		switch {
		case err != nil:
			return err
		case !exists: // deleted
		case deadline > now: // written since
			err = l.note(deadline, key)
		default:
			err = s.expire(key, deadline)
		}
		if err != nil {
			l.known = false
			return err
		}
	}
	l.known = false
	l.due()
	return nil
}

// expire deletes one entry. What is written meanwhile has the time at which it expired.
func (s *ttlStore[K, V]) expire(key []byte, deadline int64) error {
	l := s.kv.life
	if err := l.deadlines.put(l.of(key), 0, false, deadline, nil); err != nil {
		return err
	}
	row := slices.Concat(s.kv.prefix, key)
	e, err := s.kv.load(row)
	if err != nil || e.flags&flagExists == 0 {
		return err
	}
	old := e.cur
	s.kv.context.Timestamp, s.kv.context.Headers = deadline, nil
	var zero V
	if err := s.kv.put(row, zero, false, deadline, nil); err != nil || s.kv.onExpiry == nil {
		return err
	}
	k, err := s.kv.decodeKey(key)
	if err != nil {
		return err
	}
	return s.kv.onExpiry(k, old, deadline)
}

// ExpiryListener is told of an entry that has expired and is deleted, with the time at which it did.
type ExpiryListener[K, V any] func(key K, value V, expiredAt int64) error

// SetExpiryListener sets the function that is told of what expires by a [TTL]; there is one. A store that caches tells
// its flush listener, as of any deletion, and this one too.
func (s *KeyValue[K, V]) SetExpiryListener(listener ExpiryListener[K, V]) { s.onExpiry = listener }

// TTL returns how long entries live; After is 0 if for ever.
func (s *KeyValue[K, V]) TTL() TTL {
	if s.life == nil {
		return TTL{}
	}
	return s.life.ttl
}

// lifetimes knows when the entries of a store expire. Keys are those of the data, without prefix.
//
// Each key with a deadline has a row in the index, at the deadline or earlier: a write moves the deadline, and the row
// follows when its time has come. So a key that is written all the time costs one row of the index in a life.
//
// Owned by the task goroutine.
type lifetimes struct {
	ttl       TTL
	after     int64
	times     *Times
	deadlines *buffer[int64]    // by key
	index     *buffer[struct{}] // │ deadline 8 │ key │, not in the changelog

	// next is a time before which nothing expires, if known.
	next  int64
	known bool

	deadlineKey, indexKey []byte // scratch
}

func newLifetimes(name string, env Env) *lifetimes {
	l := &lifetimes{
		ttl: env.TTL, after: env.TTL.After.Milliseconds(), times: env.Times,
		deadlines: newPartBuffer(name, env, ttlDeadlineTag, serde.Int64),
		index:     newPartBuffer[struct{}](name, env, ttlIndexTag, nothingSerde{}),
	}
	if l.times == nil {
		l.times = &Times{Stream: -1}
	}
	l.deadlineKey, l.indexKey = slices.Clone(l.deadlines.prefix), slices.Clone(l.index.prefix)
	return l
}

func (l *lifetimes) now() int64 {
	if l.ttl.Time == WallClock {
		return l.times.Wall
	}
	return l.times.Stream
}

// of returns the key of a deadline.
func (l *lifetimes) of(key []byte) []byte {
	l.deadlineKey = append(l.deadlineKey[:len(l.deadlines.prefix)], key...)
	return l.deadlineKey
}

func (l *lifetimes) deadline(key []byte) (at int64, exists bool, err error) {
	e, err := l.deadlines.load(l.of(key))
	if err != nil || e.flags&flagExists == 0 {
		return 0, false, err
	}
	return e.cur, true, nil
}

func (l *lifetimes) indexBound(at int64) []byte {
	// With the sign bit flipped, negative times come before positive ones.
	return binary.BigEndian.AppendUint64(slices.Clone(l.index.prefix), uint64(at)^1<<63)
}

// note puts a key in the index.
func (l *lifetimes) note(deadline int64, key []byte) error {
	l.indexKey = binary.BigEndian.AppendUint64(l.indexKey[:len(l.index.prefix)], uint64(deadline)^1<<63)
	l.indexKey = append(l.indexKey, key...)
	l.next = min(l.next, deadline)
	return l.index.put(l.indexKey, struct{}{}, true, deadline, nil)
}

// due returns a time before which nothing expires. An index that cannot be read is due: Expire has the error.
func (l *lifetimes) due() int64 {
	if l.known {
		return l.next
	}
	l.next = math.MaxInt64
	for at, err := range l.index.scan(l.index.prefix, prefixEnd(l.index.prefix), false) {
		if err != nil || len(at.key) < len(l.index.prefix)+timeBytes {
			l.next = math.MinInt64
			return l.next
		}
		l.next = int64(binary.BigEndian.Uint64(at.key[len(l.index.prefix):]) ^ 1<<63)
		break
	}
	l.known = true
	return l.next
}

// gone reports that an entry has expired and is not deleted yet: what runs before the task has looked must not see it.
func (l *lifetimes) gone(key []byte) (bool, error) {
	now := l.now()
	if now < l.due() {
		return false, nil
	}
	at, exists, err := l.deadline(key)
	return exists && at <= now, err
}

// wrote gives an entry a new life, or takes it away.
func (l *lifetimes) wrote(key []byte, exists bool) error {
	if l.deadlines.closed {
		return fmt.Errorf("store: %s: %w", l.deadlines.name, ErrClosed)
	}
	l.due() // so that it is known before the index changes
	old, had, err := l.deadline(key)
	if err != nil {
		return err
	}
	timestamp := l.deadlines.context.Timestamp
	if !exists {
		if !had {
			return nil
		}
		return l.deadlines.put(l.of(key), 0, false, timestamp, nil)
	}
	at := l.now() + l.after
	if at < l.now() {
		at = math.MaxInt64
	}
	if had && at <= old { // a clock that was set back shortens no life
		return nil
	}
	if err := l.deadlines.put(l.of(key), at, true, timestamp, nil); err != nil || had {
		return err
	}
	return l.note(at, key)
}

// loggedDeadlines is the deadlines as a part of the store: what is replayed of them makes the index.
type loggedDeadlines struct {
	*buffer[int64]

	life *lifetimes
}

// Replay implements [Store].
func (d loggedDeadlines) Replay(r *record.Raw) error {
	if r.Value != nil {
		at, err := d.value.Decode(r.Value)
		if err != nil {
			return fmt.Errorf("store: %s: changelog record at offset %d: when a row expires: %w", d.name, r.Offset, err)
		}
		key := binary.BigEndian.AppendUint64(nil, uint64(at)^1<<63)
		row := record.Raw{Key: append(key, r.Key...), Value: []byte{}, Offset: r.Offset}
		if err := d.life.index.Replay(&row); err != nil {
			return err
		}
		d.life.known = false
	}
	return d.buffer.Replay(r)
}

// unlogged is a part that is not in the changelog, since a restore makes it from another.
type unlogged struct{ *buffer[struct{}] }

// Seal implements [Store].
func (u unlogged) Seal(epoch record.Epoch, _ *record.Batch) error { return u.buffer.Seal(epoch, nil) }
