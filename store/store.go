package store

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/tidemarkio/tidemark/record"
)

// ErrClosed is returned by every store method after the task that owns the store was closed.
var ErrClosed = errors.New("store: closed")

// Store is what the runtime sees of a store, whatever its key and value types are. The typed methods that processors
// use live on the concrete types ([KeyValue]).
//
// All methods are called by the task goroutine. An epoch passes through a store like this:
//
//	Put…  →  FlushCache (emits what the record cache held back; may Put into stores further down)
//	      →  Seal(e)    (encodes the dirty set into the changelog batch; later Puts belong to e+1)
//	      →  Commit(e)  (the transaction committed: e becomes readable as committed data and may be flushed)
//	  or  →  Rollback() (it did not: everything uncommitted, e and e+1, is gone)
//
// Invariant: what Commit has not confirmed never reaches the engine.
type Store interface {
	Name() string
	// FlushCache hands every cached update of the active epoch to the flush listener, in the order of the keys' last
	// updates. A store without cache or listener does nothing.
	FlushCache() error
	// Seal appends the last value of every key written in the active epoch to changelog (nil value: deleted; the
	// record's timestamp is the value's) and begins the next epoch. A nil changelog means that logging is off.
	// At most one epoch is sealed and not yet committed.
	Seal(epoch record.Epoch, changelog *record.Batch) error
	Commit(epoch record.Epoch)
	Rollback() error
	// Replay applies one changelog record to the committed layer. Only while restoring.
	Replay(r *record.Raw) error
	// UncommittedBytes estimates the memory of the active and the sealed epoch.
	UncommittedBytes() int
}

// Spec describes a store in a topology.
type Spec struct {
	// Name is unique in the topology and names the changelog topic <application-id>-<name>-changelog.
	Name string
	// LoggingDisabled keeps the store out of the changelog: what a crash loses is lost.
	LoggingDisabled bool
	// CachingEnabled makes updates wait for the commit, so that only a key's last one is forwarded.
	CachingEnabled bool
	// InMemory keeps the store in memory instead of Badger; it is restored from the changelog at each start.
	InMemory bool
	// Retention is how long the store keeps a row, of stores whose rows expire. The changelog topic then forgets them too,
	// a day later. 0: rows are kept until they are deleted.
	Retention time.Duration
	// HistoryRetention is how long a versioned store keeps old versions, 0 of other stores. The changelog topic is not
	// compacted where they are, and a day longer.
	HistoryRetention time.Duration
	// TTL is how long the entries of a key-value store live. To give an existing store one, or to take it away, is to make
	// another store: it needs another name, or a reset.
	TTL TTL
	// ChangelogConfig overrides topic configuration of the changelog.
	ChangelogConfig map[string]string
	// Type is what kind of store it is, TypeKeyValue for one; KeySerde and ValueSerde name the types that write its rows.
	// They are for descriptions, and for the comparison of two versions of a program.
	Type                 string
	KeySerde, ValueSerde string
	// Serdes are a [Serdes] of the types of keys and values, for who reads the store from outside; nil if nobody can.
	Serdes any
	// SourceTopic is the input topic that serves as the changelog; "" if the store has one of its own, or none. Nothing
	// is written to it by the store.
	SourceTopic string
	// PartitionKey takes an encoded key of the store and returns that of the records by which it was partitioned, for when
	// the number of partitions changes. Nil: it is the same, but for KeyWindows.
	PartitionKey func(storeKey []byte) ([]byte, error)
	// KeyWindows are the lengths of the windows at the end of an encoded key that did not choose its partition, the
	// outermost first: see serde.WindowBytes, which the constructors of specs ask. A topology leaves those out that a
	// repartition topic has made a part of the key.
	KeyWindows []int
	// Rows says how the rows of a window store lie; "" of other stores.
	Rows RowLayout
	// New makes the store of one task.
	New func(env Env) (Store, error)
	// NewGlobal makes a read-only view ([Global]) of a store that many tasks read; nil if the kind of store has none.
	// changes counts what was written to the engine.
	NewGlobal func(env Env, changes *atomic.Uint64) (Store, error)
}

// RowLayout is how the rows of a window store lie (docs/format/window-stores.md).
type RowLayout string

// Layouts of window stores.
const (
	GridRows      RowLayout = "grid"
	SegmentRows   RowLayout = "segments"
	DuplicateRows RowLayout = "duplicates"
)

// Types of stores, for [Spec.Type].
const (
	TypeKeyValue  = "key-value"
	TypeWindow    = "window"
	TypeSession   = "session"
	TypeVersioned = "versioned"
	// TypeUnjoined is what waits in a join of streams, TypeTimeBuffer what waits for a late row of a table.
	TypeUnjoined   = "unjoined"
	TypeTimeBuffer = "time-buffer"
	TypeTimer      = "timer"
	// TypeTimeOrdered is what a suppress holds back.
	TypeTimeOrdered = "time-ordered"
)

// Changelogged reports whether the store writes a changelog of its own.
func (s *Spec) Changelogged() bool { return !s.LoggingDisabled && s.SourceTopic == "" }

// typeOf names a serde, for [Spec.KeySerde] and [Spec.ValueSerde].
func typeOf(serde any) string { return fmt.Sprintf("%T", serde) }

// Env is what the store of one task works with.
type Env struct {
	Engine Engine
	// Prefix separates the store's keys from those of other stores of the task in the engine.
	Prefix []byte
	// Context gives timestamp and headers of the record being processed, for writes that do not name their own.
	Context *Context
	// TTL is Spec.TTL.
	TTL TTL
	// Times are what a TTL goes by. Nil: time stands still.
	Times *Times
	// CachingEnabled is Spec.CachingEnabled unless the instance's cache size is 0.
	CachingEnabled bool
	// KeyWindows is Spec.KeyWindows.
	KeyWindows []int
}

// Context is the record that a task is processing, as far as stores need it. Owned by the task goroutine.
type Context struct {
	Timestamp int64
	Headers   []record.Header
}

// Checkpoint says up to where the data in an engine is complete. It is written in the same atomic step as the data, or
// after it.
type Checkpoint struct {
	Epoch record.Epoch
	// WallTimeMs is when the epoch committed, for the tombstone horizon of package changelog.
	WallTimeMs int64
	// Changelog is, by [PositionKey], the offset behind the last changelog record that the data contains.
	Changelog map[string]int64
	// Inputs are the input positions at the end of the epoch.
	Inputs map[record.TopicPartition]int64
	// StreamTimes are the partition times at the end of the epoch, in milliseconds.
	StreamTimes map[record.TopicPartition]int64
}
