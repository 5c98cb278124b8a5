package store

import (
	"fmt"
	"iter"
	"math"
	"slices"
	"time"

	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
)

// Versioned is a versioned key-value store: of each key the latest value, and what its value was at any time up to the
// history retention ago (Kafka Streams' VersionedKeyValueStore, KIP-889). A version is valid from the timestamp it was
// put with until that of the next one, which may be a deletion. Versions may be put in any order.
//
// Times are event times in milliseconds, 0 or greater. The store's observed time is the greatest timestamp put; nothing
// is put, and no older version is found, at a time before the observed time minus the history retention. The latest
// version of a key does not expire. The store never caches.
//
// What is said of nil values and sharing at [KeyValue] holds here too. Owned by the task goroutine.
type Versioned[K, V any] struct {
	*composite

	latest   *buffer[V]          // the latest value of each key that has one, by its key
	old      *buffer[version[V]] // what was superseded; see versionRow
	observed *Clock              // the greatest timestamp put
	deleted  *Clock              // the greatest timestamp of a deletion that was its key's latest version

	// puts are those of the active epoch, in order. They are what the changelog gets, as in Kafka Streams, and not the
	// rows: one record per put instead of two, and the broker's compaction removes what is too old.
	puts record.Batch

	key       serde.Serde[K]
	value     serde.Serde[V]
	null      record.Nullness[V]
	retention int64
	segment   int64  // length
	expired   []byte // the bound that the next flush may expire to

	keyBytes, latestKey, rowKey, rowEnd, valueBytes []byte // scratch
}

// Version is a value of a key and when it was valid.
type Version[V any] struct {
	Value V
	// ValidFrom is the timestamp that the value was put with.
	ValidFrom int64
	// ValidTo is the timestamp of the next version, at which this one was not valid any more; [ValidToOpen] if there is
	// none.
	ValidTo int64
}

// ValidToOpen is the end of versions that are still valid.
const ValidToOpen = math.MaxInt64

// PutResult says what became of a put or a deletion.
type PutResult struct {
	// Stored is false if the timestamp lay before the history retention: the put was ignored.
	Stored bool
	// ValidTo is the end of the new version: [ValidToOpen] if it is the key's latest, else it was put out of order.
	ValidTo int64
}

// OutOfOrder reports that the key already had a later version.
func (r PutResult) OutOfOrder() bool { return r.Stored && r.ValidTo != ValidToOpen }

// Tags of the parts of versioned stores. The order is that of a flush, which a crash may end anywhere: what the latest
// row loses must be among the old ones before.
const (
	oldTag    byte = 1
	latestTag byte = 2
)

// segmentsOfHistory is how many segments the history retention is divided in: an old version is looked for in each of
// them, and stays by one of them longer than it must.
const segmentsOfHistory = 3

// VersionedSpec describes a persistent, logged versioned store; the caller may change fields. The history retention,
// in whole milliseconds, is also how late a put may come; 0 keeps only what is valid at the observed time.
func VersionedSpec[K, V any](
	name string, key serde.Serde[K], value serde.Serde[V], history time.Duration,
) Spec {
	return Spec{
		Name: name, Type: TypeVersioned, KeySerde: typeOf(key), ValueSerde: typeOf(value),
		KeyWindows: serde.WindowBytes(key), HistoryRetention: history, Serdes: Serdes[K, V]{key, value},
		New: func(env Env) (Store, error) { return newVersioned(name, env, key, value, history) },
	}
}

func newVersioned[K, V any](
	name string, env Env, key serde.Serde[K], value serde.Serde[V], history time.Duration,
) (*Versioned[K, V], error) {
	switch {
	case key == nil || value == nil:
		return nil, fmt.Errorf("store: %s: key and value serde must not be nil", name)
	case history < 0:
		return nil, fmt.Errorf("store: %s: history retention %v is negative", name, history)
	}
	s := &Versioned[K, V]{
		key: key, value: value, null: record.NullnessOf[V](),
		retention: history.Milliseconds(), segment: max(history.Milliseconds()/segmentsOfHistory, 1),
		latest: newPartBuffer(name, env, latestTag, value),
	}
	s.old = newPartBuffer(name, env, oldTag, serde.Serde[version[V]](versionSerde[V]{value, s.latest.aliases}))
	s.latestKey = slices.Clone(s.latest.prefix)
	s.expired = s.old.prefix
	clocks := newClocks(name, env, clockTag)
	var err error
	if s.observed, err = clocks.clock("observed"); err != nil {
		return nil, err
	}
	if s.deleted, err = clocks.clock("deleted"); err != nil {
		return nil, err
	}
	s.composite = &composite{name: name, parts: []part{
		{clocks, clockTag},
		{&expiring[version[V]]{buffer: s.old, keyBound: s.expiredBelow, expiredTo: s.old.prefix}, oldTag},
		{s.latest, latestTag},
	}}
	return s, nil
}

// Put makes v the value of k from ts on, until the next version. It ignores, and says so, what is older than the
// history retention.
func (s *Versioned[K, V]) Put(k K, v V, ts int64) (PutResult, error) {
	key, err := s.encode(k)
	if err != nil {
		return PutResult{}, err
	}
	return s.put(key, v, !s.null.IsNull(v, false), ts)
}

// Delete says that k has no value from ts on, until the next version. That it had none is no error; a deletion is a
// version all the same.
func (s *Versioned[K, V]) Delete(k K, ts int64) (PutResult, error) {
	var zero V
	key, err := s.encode(k)
	if err != nil {
		return PutResult{}, err
	}
	return s.put(key, zero, false, ts)
}

// Get returns the latest value of k, uncommitted writes included.
func (s *Versioned[K, V]) Get(k K) (v V, found bool, err error) {
	v, _, found, err = s.GetWithTimestamp(k)
	return v, found, err
}

// GetWithTimestamp returns the latest value of k and the timestamp it was put with.
func (s *Versioned[K, V]) GetWithTimestamp(k K) (v V, timestamp int64, found bool, err error) {
	key, err := s.encode(k)
	if err != nil {
		return v, 0, false, err
	}
	return s.current(key)
}

// GetAsOf returns the version of k that was valid at a time. Nothing is found if that lies before the history
// retention, unless the latest version is old enough.
func (s *Versioned[K, V]) GetAsOf(k K, at int64) (v Version[V], found bool, err error) {
	key, err := s.encode(k)
	if err != nil {
		return v, false, err
	}
	value, from, exists, err := s.current(key)
	if err != nil {
		return v, false, err
	}
	if exists && from <= at {
		return Version[V]{Value: value, ValidFrom: from, ValidTo: ValidToOpen}, true, nil
	}
	if at < s.observed.now-s.retention {
		return v, false, nil
	}
	row, found, err := s.find(key, at, s.lastEnd(exists, from))
	if err != nil || !found || row.from > at || !row.exists {
		return v, false, err
	}
	return Version[V]{Value: row.v, ValidFrom: row.from, ValidTo: row.to}, true, nil
}

// ObservedTime returns the greatest timestamp put, -1 before the first.
func (s *Versioned[K, V]) ObservedTime() int64 { return s.observed.Now() }

// CachingEnabled reports that updates do not wait for FlushCache.
func (*Versioned[K, V]) CachingEnabled() bool { return false }

// All yields the latest value of every key that has one, in key order. As for [KeyValue.Range], the loop body may write
// to the store.
func (s *Versioned[K, V]) All() iter.Seq2[KeyValueEntry[K, V], error] {
	return func(yield func(KeyValueEntry[K, V], error) bool) {
		for at, err := range s.latest.scan(s.latest.prefix, prefixEnd(s.latest.prefix), false) {
			var e KeyValueEntry[K, V]
			if err == nil {
				e, err = s.entry(at)
			}
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}

func (s *Versioned[K, V]) entry(at scanned[V]) (e KeyValueEntry[K, V], err error) {
	key := at.key[len(s.latest.prefix):]
	if e.Key, err = s.key.Decode(key); err != nil {
		return e, &CodecError{Store: s.name, Op: "decode key", Key: slices.Clone(key), Err: err}
	}
	if at.cur != nil {
		e.Value, e.Timestamp = at.cur.cur, at.cur.ts
		return e, nil
	}
	e.Value, e.Timestamp, err = s.latest.decodeStored(at.key, at.stored)
	return e, err
}

// ApproximateCount estimates the number of keys that have a value. Keys that are both in memory and on disk may count
// twice.
func (s *Versioned[K, V]) ApproximateCount() (int64, error) { return s.latest.approximateCount() }

func (s *Versioned[K, V]) encode(k K) ([]byte, error) {
	b, err := s.key.Append(s.keyBytes[:0], k)
	if err != nil {
		return nil, &CodecError{Store: s.name, Op: "encode key", Err: err}
	}
	s.keyBytes = b
	return b, nil
}

// current returns the latest value of an encoded key.
func (s *Versioned[K, V]) current(key []byte) (v V, timestamp int64, exists bool, err error) {
	s.latestKey = append(s.latestKey[:len(s.latest.prefix)], key...)
	e, err := s.latest.load(s.latestKey)
	if err != nil || e.flags&flagExists == 0 {
		return v, 0, false, err
	}
	return e.cur, e.ts, true, nil
}
