package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"unsafe"

	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
)

// buffer is the write buffer and read cache of one store: it maps key bytes to decoded values through three layers.
// Keys carry the store's prefix everywhere below the typed façade, so that they go to the engine as they are.
//
//	active table ──freeze──► frozen table ──flush──► engine
//	(uncommitted,            (committed,
//	 committed, cached)       being flushed or flushed)
//
// A read that misses in the active table copies what it finds below into it, even that there is nothing.
//
// Owned by the task goroutine. The flush goroutine reads the frozen table, which nobody writes.
type buffer[V any] struct {
	name   string
	prefix []byte
	// label is what stands before a key in the changelog: the tag of a part of a composite store.
	label   []byte
	engine  Engine
	context *Context
	value   serde.Serde[V]

	nilable bool // V has a nil, which means deletion
	aliases bool // decoded values alias the encoded bytes

	active *table[V]
	frozen *table[V] // nil before the first freeze
	// next brings the table that the next freeze begins with, if one was prepared.
	next chan *table[V]

	// dirty are the entries that the active epoch wrote, each once.
	dirty []uint32
	// sealed are the entries that the sealed epoch wrote; empty if no epoch is sealed.
	sealed []uint32
	// sealedBatch holds their encoded values at sealedBase, sealedBase+1, …
	sealedBatch *record.Batch
	sealedBase  int
	private     record.Batch // takes the place of the changelog batch when logging is off

	dirtyBytes  int // estimate for the active epoch
	sealedBytes int
	valueBytes  int // running mean of encoded values

	// log holds the entries in the order of their updates since the last FlushCache, if a listener wants them. Position
	// i is superseded unless the entry's logPos is i.
	log        []uint32
	logLive    int               // positions that are not superseded
	logOld     []oldValue[V]     // beside log, if old values are wanted: the key's value at the last emission
	logHeaders [][]record.Header // beside log, but only once there were any
	walking    bool              // FlushCache is running
	onFlush    func(key []byte, e *entry[V], old oldValue[V], headers []record.Header) error
	wantOld    bool

	closed  bool
	scratch []byte
}

// oldValue is the value of a key before the updates that a flush emits as one.
type oldValue[V any] struct {
	v      V
	exists bool
}

func newBuffer[V any](name string, env Env, value serde.Serde[V]) *buffer[V] {
	kind := reflect.TypeFor[V]().Kind()
	return &buffer[V]{
		name:    name,
		prefix:  env.Prefix,
		engine:  env.Engine,
		context: env.Context,
		value:   value,
		nilable: slices.Contains([]reflect.Kind{
			reflect.Pointer, reflect.Slice, reflect.Map, reflect.Interface, reflect.Chan, reflect.Func,
			reflect.UnsafePointer,
		}, kind),
		aliases:    kind == reflect.Slice && reflect.TypeFor[V]().Elem().Kind() == reflect.Uint8,
		active:     newTable[V](len(env.Prefix), 0),
		valueBytes: 16,
		scratch:    make([]byte, 0, 64),
	}
}

// newPartBuffer is newBuffer for the part of a composite store with that tag. env is the store's.
func newPartBuffer[V any](name string, env Env, tag byte, value serde.Serde[V]) *buffer[V] {
	b := newBuffer(name, env.of(tag), value)
	b.label = b.prefix[len(env.Prefix):]
	return b
}

// isNil reports that v, of a type that has a nil, is nil: for all of them the first word is then zero.
//
//nolint:gosec // reads one word of a value that has at least one; reflect would cost an allocation per Put
func isNil[V any](v *V) bool { return *(*uintptr)(unsafe.Pointer(v)) == 0 }

// Name implements [Store].
func (b *buffer[V]) Name() string { return b.name }

// load returns the entry of key with its current state. The pointer holds until the next call.
func (b *buffer[V]) load(key []byte) (*entry[V], error) {
	if b.closed {
		return nil, fmt.Errorf("store: %s: %w", b.name, ErrClosed)
	}
	t := b.active
	e := &t.entries[t.findOrAdd(key)]
	if e.flags&flagCur != 0 {
		return e, nil
	}
	return e, b.fill(e, key)
}

// fill looks up the current state of an entry that is not dirty.
func (b *buffer[V]) fill(e *entry[V], key []byte) error {
	if e.flags&flagCommitted != 0 {
		return b.decode(e, key, b.active.committedOf(e))
	}
	if b.frozen != nil {
		if i, ok := b.frozen.find(key); ok {
			f := &b.frozen.entries[i]
			switch {
			case f.flags&flagCur != 0:
				e.cur, e.ts = f.cur, f.ts
				e.flags |= f.flags & (flagCur | flagExists)
				return nil
			case f.flags&flagCommitted != 0:
				return b.decode(e, key, b.frozen.committedOf(f))
			}
		}
	}
	if b.engine.Empty() {
		return b.decode(e, key, nil)
	}
	dst := b.scratch[:0]
	if b.aliases {
		dst = nil
	}
	stored, found, err := b.engine.Get(key, dst)
	if err != nil {
		return fmt.Errorf("store: %s: read: %w", b.name, err)
	}
	if !found {
		stored = nil
	} else if !b.aliases {
		b.scratch = stored
	}
	return b.decode(e, key, stored)
}

// decode makes stored, a committed state, the current one.
func (b *buffer[V]) decode(e *entry[V], key, stored []byte) error {
	if stored == nil {
		e.flags |= flagCur
		e.flags &^= flagExists
		return nil
	}
	v, ts, err := b.decodeStored(key, stored)
	if err != nil {
		return err
	}
	e.cur, e.ts = v, ts
	e.flags |= flagCur | flagExists
	return nil
}

func (b *buffer[V]) decodeStored(key, stored []byte) (v V, ts int64, err error) {
	if len(stored) < timestampBytes {
		err = fmt.Errorf("%d bytes are too short for a timestamp", len(stored))
	} else {
		ts = int64(binary.BigEndian.Uint64(stored))
		v, err = b.value.Decode(stored[timestampBytes:])
	}
	if err != nil {
		key = slices.Clone(key[len(b.prefix):])
		return v, 0, &CodecError{Store: b.name, Op: "decode value", Key: key, Err: err}
	}
	return v, ts, nil
}

// exists reports whether there is a row of key, without remembering that there is none: for look-ups that mostly fail.
func (b *buffer[V]) exists(key []byte) (bool, error) {
	if b.closed {
		return false, fmt.Errorf("store: %s: %w", b.name, ErrClosed)
	}
	if i, ok := b.active.find(key); ok {
		switch e := &b.active.entries[i]; {
		case e.flags&flagCur != 0:
			return e.flags&flagExists != 0, nil
		case e.flags&flagCommitted != 0:
			return e.flags&flagCommittedExists != 0, nil
		}
	}
	if b.frozen != nil {
		if i, ok := b.frozen.find(key); ok {
			switch f := &b.frozen.entries[i]; {
			case f.flags&flagCur != 0:
				return f.flags&flagExists != 0, nil
			case f.flags&flagCommitted != 0:
				return f.flags&flagCommittedExists != 0, nil
			}
		}
	}
	if b.engine.Empty() {
		return false, nil
	}
	stored, found, err := b.engine.Get(key, b.scratch[:0])
	if err != nil {
		return false, fmt.Errorf("store: %s: read: %w", b.name, err)
	}
	if found {
		b.scratch = stored
	}
	return found, nil
}

// put makes v the current state of key; exists false deletes it.
func (b *buffer[V]) put(key []byte, v V, exists bool, ts int64, headers []record.Header) error {
	t := b.active
	return b.write(t.findOrAdd(key), key, v, exists, ts, headers)
}

// updated is the outcome of update.
type updated[V any] struct {
	v         V
	exists    bool
	timestamp int64
	// moved says that f used the store, so that the caller has to encode the key again and put v itself.
	moved bool
}

// update replaces the state of key by what f makes of it, with one look-up.
func (b *buffer[V]) update(
	key []byte, headers []record.Header, f func(old V, timestamp int64, exists bool) (V, int64, bool),
) (u updated[V], err error) {
	e, err := b.load(key)
	if err != nil {
		return u, err
	}
	var old V
	var oldTimestamp int64
	exists := e.flags&flagExists != 0
	if exists {
		old, oldTimestamp = e.cur, e.ts
	}
	size, i := len(b.active.entries), b.active.last
	u.v, u.timestamp, u.exists = f(old, oldTimestamp, exists)
	if u.moved = len(b.active.entries) != size || b.active.last != i; u.moved {
		return u, nil // both the entry's place and the key, which is scratch memory, may be others
	}
	return u, b.write(i, key, u.v, u.exists, u.timestamp, headers)
}

// write is put with the entry at hand.
func (b *buffer[V]) write(i uint32, key []byte, v V, exists bool, ts int64, headers []record.Header) error {
	if b.closed {
		return fmt.Errorf("store: %s: %w", b.name, ErrClosed)
	}
	e := &b.active.entries[i]
	if b.onFlush != nil {
		if err := b.logUpdate(i, e, key, headers); err != nil {
			return err
		}
	}
	if b.nilable && exists && isNil(&v) {
		exists = false
	}
	e.cur, e.ts = v, ts
	e.flags |= flagCur | flagExists
	if !exists {
		var zero V
		e.cur = zero
		e.flags &^= flagExists
	}
	if e.flags&flagDirtyActive == 0 {
		e.flags |= flagDirtyActive
		b.dirty = append(b.dirty, i)
		b.dirtyBytes += len(key) + b.valueBytes + int(unsafe.Sizeof(*e))
	}
	return nil
}

// logUpdate notes that entry i is about to change.
func (b *buffer[V]) logUpdate(i uint32, e *entry[V], key []byte, headers []record.Header) error {
	var old oldValue[V]
	if b.wantOld {
		switch {
		case e.flags&flagLogged != 0:
			old = b.logOld[e.logPos] // several updates, one emission
		default:
			if e.flags&flagCur == 0 {
				if err := b.fill(e, key); err != nil {
					return err
				}
			}
			if e.flags&flagExists != 0 {
				old = oldValue[V]{v: e.cur, exists: true}
			}
		}
		b.logOld = append(b.logOld, old)
	}
	if b.logHeaders != nil || len(headers) > 0 {
		for len(b.logHeaders) < len(b.log) {
			b.logHeaders = append(b.logHeaders, nil)
		}
		b.logHeaders = append(b.logHeaders, headers)
	}
	if e.flags&flagLogged == 0 {
		e.flags |= flagLogged
		b.logLive++
	}
	e.logPos = uint32(len(b.log))
	b.log = append(b.log, i)
	if len(b.log) > 1<<16 && len(b.log) > 4*b.logLive && !b.walking {
		b.compactLog()
	}
	return nil
}

// live reports that position p of the log is the last update of its key.
func (b *buffer[V]) live(p int) bool {
	i := b.log[p]
	if i == noEntry {
		return false
	}
	e := &b.active.entries[i]
	return e.flags&flagLogged != 0 && e.logPos == uint32(p)
}

// compactLog drops superseded positions, so that a hot key does not grow the log without bound.
func (b *buffer[V]) compactLog() {
	n := 0
	for p := range b.log {
		if !b.live(p) {
			continue
		}
		b.log[n] = b.log[p]
		b.active.entries[b.log[n]].logPos = uint32(n)
		if b.wantOld {
			b.logOld[n] = b.logOld[p]
		}
		if b.logHeaders != nil {
			b.logHeaders[n] = b.logHeaders[p]
		}
		n++
	}
	b.truncateLog(n)
}

func (b *buffer[V]) truncateLog(n int) {
	b.log = b.log[:n]
	if b.wantOld {
		clear(b.logOld[n:])
		b.logOld = b.logOld[:n]
	}
	if b.logHeaders != nil {
		clear(b.logHeaders[n:])
		b.logHeaders = b.logHeaders[:n]
		if n == 0 {
			b.logHeaders = nil
		}
	}
	if n == 0 {
		b.logLive = 0
	}
}

// logGrowthMax bounds what a listener that writes to its own store can add during one flush.
const logGrowthMax = 1 << 20

// FlushCache implements [Store].
func (b *buffer[V]) FlushCache() error {
	if len(b.log) == 0 {
		return nil
	}
	if b.walking {
		return fmt.Errorf("store: %s: the flush listener flushed its own store", b.name)
	}
	b.walking = true
	defer func() { b.walking = false }()
	limit := len(b.log) + logGrowthMax
	// The log may grow during the walk: a processor downstream may write to this store too.
	for p := 0; p < len(b.log); p++ { //nolint:intrange // the log grows
		if !b.live(p) {
			continue
		}
		if p > limit {
			return fmt.Errorf("store: %s: the flush listener updates its own store endlessly", b.name)
		}
		e := &b.active.entries[b.log[p]]
		e.flags &^= flagLogged
		b.logLive--
		var old oldValue[V]
		if b.wantOld {
			old = b.logOld[p]
		}
		var headers []record.Header
		if p < len(b.logHeaders) {
			headers = b.logHeaders[p]
		}
		if err := b.onFlush(b.active.keyOf(b.log[p])[len(b.prefix):], e, old, headers); err != nil {
			return err
		}
	}
	b.truncateLog(0)
	return nil
}

// Seal implements [Store].
func (b *buffer[V]) Seal(epoch record.Epoch, changelog *record.Batch) error {
	switch {
	case b.closed:
		return fmt.Errorf("store: %s: %w", b.name, ErrClosed)
	case len(b.sealed) > 0 || b.sealedBatch != nil:
		return fmt.Errorf("store: %s: seal of epoch %d while the previous one is not committed", b.name, epoch)
	case b.logLive > 0:
		return fmt.Errorf("store: %s: seal of epoch %d before its cache was flushed", b.name, epoch)
	}
	if changelog == nil {
		changelog = &b.private
		changelog.Reset()
	}
	b.dirty, b.sealed = b.sealed[:0], b.dirty
	b.sealedBatch, b.sealedBase = changelog, changelog.Len()
	b.sealedBytes, b.dirtyBytes = b.dirtyBytes, 0
	b.orderSealed()
	total := 0
	short := append(make([]byte, 0, len(b.label)+headBytes), b.label...)
	buf := b.scratch
	for _, i := range b.sealed {
		e := &b.active.entries[i]
		e.flags ^= flagDirtyActive | flagDirtySealed
		var key []byte
		if int(e.keyLen) <= len(b.prefix)+headBytes {
			key = appendShortKey(short[:len(b.label)], e, len(b.prefix)) // not the arena: one cache miss less
		} else {
			key = b.active.keyOf(i)[len(b.prefix)-len(b.label):]
		}
		if e.flags&flagExists == 0 {
			changelog.Append(key, nil, e.ts, nil)
			continue
		}
		var err error
		if buf, err = b.value.Append(buf[:0], e.cur); err != nil {
			// Not b.scratch = buf: a failing serde may return anything. The caller rolls back.
			return &CodecError{Store: b.name, Op: "encode value", Key: slices.Clone(key), Err: err}
		}
		if buf == nil {
			buf = []byte{}
		}
		total += len(buf)
		changelog.Append(key, buf, e.ts, nil)
	}
	b.scratch = buf
	if n := len(b.sealed); n > 0 {
		b.valueBytes = (b.valueBytes + total/n + 1) / 2
	}
	return nil
}

// orderSealed puts the sealed entries in the order of the table if they are a good part of it. Seal and Commit then
// walk memory forwards instead of missing the cache several times per key, which would cost more than all the rest.
func (b *buffer[V]) orderSealed() {
	const partMin = 8
	if len(b.sealed)*partMin < len(b.active.entries) {
		return
	}
	n := 0
	for i := range b.active.entries {
		if b.active.entries[i].flags&flagDirtyActive != 0 {
			b.sealed[n] = uint32(i)
			n++
		}
	}
	if n != len(b.sealed) {
		panic(fmt.Sprintf("store: %s: %d dirty entries, %d in the list", b.name, n, len(b.sealed)))
	}
}

// Commit implements [Store].
func (b *buffer[V]) Commit(record.Epoch) {
	t := b.active
	for j, i := range b.sealed {
		r := b.sealedBatch.At(b.sealedBase + j)
		e := &t.entries[i]
		t.setCommitted(e, r.Value, r.Timestamp, b.aliases)
		e.flags &^= flagDirtySealed
	}
	b.endSealed()
}

func (b *buffer[V]) endSealed() {
	b.sealed = b.sealed[:0]
	b.sealedBatch, b.sealedBase, b.sealedBytes = nil, 0, 0
	b.private.Reset()
}

// Rollback implements [Store].
func (b *buffer[V]) Rollback() error {
	if b.walking {
		return fmt.Errorf("store: %s: rollback from within the flush listener", b.name)
	}
	var zero V
	for _, list := range [2][]uint32{b.sealed, b.dirty} {
		for _, i := range list {
			e := &b.active.entries[i]
			e.cur = zero
			e.flags &^= flagCur | flagExists | flagsDirty | flagLogged
		}
	}
	b.truncateLog(0)
	b.dirty, b.dirtyBytes = b.dirty[:0], 0
	b.endSealed()
	return nil
}

// Replay implements [Store].
func (b *buffer[V]) Replay(r *record.Raw) error {
	if r.Key == nil {
		return fmt.Errorf("store: %s: changelog record at offset %d has no key", b.name, r.Offset)
	}
	b.scratch = append(append(b.scratch[:0], b.prefix...), r.Key...)
	t := b.active
	e := &t.entries[t.findOrAdd(b.scratch)]
	if e.flags&flagsDirty != 0 {
		return fmt.Errorf("store: %s: changelog record at offset %d for a key with uncommitted writes", b.name, r.Offset)
	}
	t.setCommitted(e, r.Value, r.Timestamp, b.aliases)
	e.flags &^= flagCur | flagExists
	return nil
}

// UncommittedBytes implements [Store].
func (b *buffer[V]) UncommittedBytes() int { return b.dirtyBytes + b.sealedBytes }

// freeze makes the active table the frozen one and moves uncommitted writes to a new active table. The caller makes
// sure that the last frozen table was flushed.
func (b *buffer[V]) freeze() {
	old := b.active
	t := b.newActive()
	for p := range b.log {
		if !b.live(p) {
			b.log[p] = noEntry
		}
	}
	move := func(list []uint32) {
		for k, i := range list {
			o := &old.entries[i]
			j := t.findOrAdd(old.keyOf(i))
			list[k] = j
			n := &t.entries[j]
			if n.flags != 0 {
				continue // moved already: both epochs wrote it
			}
			n.cur, n.ts, n.logPos = o.cur, o.ts, o.logPos
			n.flags = o.flags &^ (flagCommitted | flagCommittedExists)
			if n.flags&flagLogged != 0 {
				b.log[n.logPos] = j
			}
		}
	}
	// The flags of the old entries stay until both lists have moved, since an entry can be on both.
	oldDirty := append(slices.Clone(b.sealed), b.dirty...)
	move(b.sealed)
	move(b.dirty)
	var zero V
	for _, i := range oldDirty {
		o := &old.entries[i]
		o.cur = zero // uncommitted: readers of the frozen table must not see it
		o.flags &^= flagCur | flagExists | flagsDirty | flagLogged
	}
	old.index = nil
	b.frozen, b.active = old, t
}

// newActive returns an empty table. As many keys again as in the last one are likely, and growing a table copies it.
func (b *buffer[V]) newActive() *table[V] {
	next := b.next
	b.next = nil
	select {
	case t := <-next:
		return t
	default: // none was prepared, or busy processors have not come to it
		return newTable[V](len(b.prefix), len(b.active.entries))
	}
}

// prepareEntriesMin is from where on making a table takes longer than handing one over.
const prepareEntriesMin = 4096

// prepare makes room for a million keys in the ten milliseconds before a cut, and not in it.
func (b *buffer[V]) prepare(wanted bool) {
	prefix, entries := len(b.prefix), len(b.active.entries)
	if !wanted || b.next != nil || entries < prepareEntriesMin {
		if !wanted {
			b.next = nil
		}
		return
	}
	next := make(chan *table[V], 1)
	b.next = next
	go func() { next <- newTable[V](prefix, entries) }()
}

// committedCount is how many entries a freeze would hand to a flush.
func (b *buffer[V]) committedCount() int { return b.active.committed }

// eachFrozen calls yield with the committed entries of the frozen table in key order. Called by the flush goroutine.
func (b *buffer[V]) eachFrozen(t any, _ bool, yield func(Entry) bool) bool {
	f, ok := t.(*table[V])
	if !ok {
		panic(fmt.Sprintf("store: %s: %T is a table of another store", b.name, t))
	}
	for _, i := range f.sorted() {
		if !yield(Entry{Key: f.keyOf(i), Value: f.committedOf(&f.entries[i])}) {
			return false
		}
	}
	return true
}

// frozenTable is what eachFrozen needs: a copy for the flush goroutine, since the field belongs to the task goroutine.
func (b *buffer[V]) frozenTable() any { return b.frozen }

func (b *buffer[V]) activeBytes() int {
	return b.active.bytes() + 4*(cap(b.dirty)+cap(b.sealed)+cap(b.log))
}

func (b *buffer[V]) frozenBytes() int {
	if b.frozen == nil {
		return 0
	}
	return b.frozen.bytes()
}

func (b *buffer[V]) mostlyExpired() bool { return false }

func (b *buffer[V]) close() { b.closed = true }

// setListener makes updates wait for FlushCache.
func (b *buffer[V]) setListener(
	wantOld bool, onFlush func(key []byte, e *entry[V], old oldValue[V], headers []record.Header) error,
) error {
	if len(b.dirty) > 0 {
		return errors.New("store: " + b.name + ": a flush listener must be set before the first write")
	}
	b.wantOld, b.onFlush = wantOld, onFlush
	return nil
}

// layered is what a Set needs of its stores beyond [Store].
type layered interface {
	Store
	activeBytes() int
	frozenBytes() int
	committedCount() int
	// mostlyExpired reports that a flush would free most of the store's memory.
	mostlyExpired() bool
	cachedUpdates() int
	// prepare makes ready, beside the task, what the next freeze needs; false drops it.
	prepare(bool)
	freeze()
	frozenTable() any
	// eachFrozen calls yield with the entries of a frozen table, in key order. With expire the engine may be read
	// meanwhile: rows in it that have expired are deleted by the way. Called by the flush goroutine.
	eachFrozen(table any, expire bool, yield func(Entry) bool) bool
	close()
}

// approximateCount adds up the layers.
func (b *buffer[V]) approximateCount() (int64, error) {
	if b.closed {
		return 0, fmt.Errorf("store: %s: %w", b.name, ErrClosed)
	}
	n, err := b.engine.ApproximateCount(b.prefix)
	if err != nil {
		return 0, fmt.Errorf("store: %s: count: %w", b.name, err)
	}
	count := int64(n)
	for i := range b.active.entries {
		if f := b.active.entries[i].flags; f&(flagsDirty|flagCommitted) != 0 && f&(flagExists|flagCommittedExists) != 0 {
			count++
		}
	}
	if b.frozen != nil && b.engine.Empty() {
		count += int64(b.frozen.committed)
	}
	return count, nil
}

// cachedUpdates is how many keys wait for FlushCache.
func (b *buffer[V]) cachedUpdates() int { return b.logLive }
