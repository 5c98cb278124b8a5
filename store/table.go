package store

import (
	"bytes"
	"encoding/binary"
	"hash/maphash"
	"math/bits"
	"math/rand/v2"
	"sync"
	"unsafe"

	"github.com/tidwall/btree"
)

// flags say which parts of an entry mean something.
type flags uint8

const (
	// flagCur says that cur, ts and flagExists are the key's current state.
	flagCur flags = 1 << iota
	// flagExists says that cur is a value; without it the key is deleted or was never there.
	flagExists
	// flagCommitted says that this table knows the committed state: newer than what the layers below say.
	flagCommitted
	// flagCommittedExists says that the committed state is a value, not a deletion.
	flagCommittedExists
	// flagDirtyActive says that the active epoch wrote the key. Invariant: it is in buffer.dirty exactly once.
	flagDirtyActive
	// flagDirtySealed says that the sealed epoch wrote the key. Invariant: it is in buffer.sealed exactly once.
	flagDirtySealed
	// flagLogged says that an update waits for the flush listener. Invariant: buffer.log[logPos] is this entry.
	flagLogged

	flagsDirty = flagDirtyActive | flagDirtySealed
)

// timestampBytes is the length of the timestamp in front of every committed value.
const timestampBytes = 8

// noEntry is an index that no entry has.
const noEntry = ^uint32(0)

// entry is the state of one key. It holds no pointer unless V does. With a V of 8 bytes it is one cache line.
type entry[V any] struct {
	cur V     // decoded; valid with flagCur and flagExists
	ts  int64 // of cur or of its deletion

	// head is the beginning of the key behind the store's prefix, padded with zeros. Most look-ups need no more of the
	// key than that, which saves the cache miss in the arena.
	head [2]uint64

	key          ref
	keyLen       uint32
	committed    ref // timestamp and encoded value, as the engine stores them
	committedLen uint32
	committedCap uint32 // Invariant: committedLen <= committedCap, the bytes at committed
	logPos       uint32 // valid with flagLogged
	flags        flags
}

// headBytes is the length of entry.head.
const headBytes = 16

// table is an open-addressing hash table from key bytes to entries. Nothing is ever removed: a key that is no longer
// known loses its flags, and a whole table is dropped at once.
//
// A Go map with string keys would cost an allocation per new key, a pointer per entry for the garbage collector to
// follow, and a second look-up for the Put behind a Get.
type table[V any] struct {
	prefix  int // length of the store's prefix, which all keys begin with
	seed    maphash.Seed
	mix     [2]uint64 // seeds of the hash of short keys
	slots   []uint64  // hash tag in the high half, entry index + 1 in the low half; 0 is free. Length: a power of two.
	entries []entry[V]
	keys    arena
	values  arena // committed states

	// last is the entry that was found last, since processors read a key and then write it.
	last uint32
	// committed counts entries with flagCommitted: what a flush has to write.
	committed int

	// index orders the entries by key. Nil until the first range scan, then kept up to date.
	index *btree.BTreeG[uint32]
	// pivot is the key that pivotEntry stands for during a search in index.
	pivot []byte

	// orderOnce and order: the committed entries of a frozen table, sorted. Computed by whoever comes first, the
	// flush or a range scan.
	orderOnce sync.Once
	order     []uint32
}

const tableSlotsMin = 64

// newTable returns a table with room for that many entries.
func newTable[V any](prefix, entries int) *table[V] {
	slots := tableSlotsMin
	for slots/8*5 < entries {
		slots *= 2
	}
	return &table[V]{
		prefix:  prefix,
		seed:    maphash.MakeSeed(),
		mix:     [2]uint64{rand.Uint64(), rand.Uint64()}, //nolint:gosec // not a secret
		slots:   make([]uint64, slots),
		entries: make([]entry[V], 0, entries),
		last:    noEntry,
	}
}

// keyOf returns the key of entry i with the store's prefix. It stays valid and unchanged.
func (t *table[V]) keyOf(i uint32) []byte {
	e := &t.entries[i]
	return t.keys.at(e.key, e.keyLen)
}

// is reports that entry i has this key, whose head is given.
func (t *table[V]) is(i uint32, head [2]uint64, key []byte) bool {
	e := &t.entries[i]
	return e.head == head && int(e.keyLen) == len(key) &&
		(len(key) <= t.prefix+headBytes || bytes.Equal(t.keys.at(e.key, e.keyLen), key))
}

// headOf returns entry.head for a key without prefix.
func headOf(k []byte) [2]uint64 {
	le := binary.LittleEndian
	n := len(k)
	switch {
	case n >= 16:
		return [2]uint64{le.Uint64(k), le.Uint64(k[8:])}
	case n >= 8:
		// The last eight bytes overlap the first: shift out what is there already.
		return [2]uint64{le.Uint64(k), le.Uint64(k[n-8:]) >> (8 * (16 - n))}
	case n >= 4:
		return [2]uint64{uint64(le.Uint32(k)) | uint64(le.Uint32(k[n-4:]))<<(8*(n-4))}
	}
	var h uint64
	for i, b := range k {
		h |= uint64(b) << (8 * i)
	}
	return [2]uint64{h}
}

// appendShortKey appends the key of e without prefix, which must not be longer than its head.
func appendShortKey[V any](dst []byte, e *entry[V], prefix int) []byte {
	n := len(dst) + int(e.keyLen) - prefix
	dst = binary.LittleEndian.AppendUint64(dst, e.head[0])
	return binary.LittleEndian.AppendUint64(dst, e.head[1])[:n]
}

// tag hashes a key. The position of its slot is made from the same 32 bits: growing then needs no keys, and a false
// match of tags costs no more than one comparison.
func (t *table[V]) tag(head [2]uint64, key []byte) uint32 {
	if len(key) > t.prefix+headBytes {
		return uint32(maphash.Bytes(t.seed, key))
	}
	hi, lo := bits.Mul64(head[0]^t.mix[0], head[1]^t.mix[1]^uint64(len(key)))
	hi, lo = bits.Mul64(hi^lo^t.mix[1], 0x9e3779b97f4a7c15)
	return uint32(hi ^ lo)
}

// find returns the entry of key.
func (t *table[V]) find(key []byte) (uint32, bool) {
	head := headOf(key[t.prefix:])
	if t.last != noEntry && t.is(t.last, head, key) {
		return t.last, true
	}
	i, _ := t.probe(head, key)
	if i == noEntry {
		return noEntry, false
	}
	t.last = i
	return i, true
}

// probe returns the entry of key, or noEntry and the tag to add it with.
func (t *table[V]) probe(head [2]uint64, key []byte) (i, tag uint32) {
	tag = t.tag(head, key)
	mask := uint32(len(t.slots) - 1)
	for at := tag & mask; ; at = (at + 1) & mask {
		s := t.slots[at]
		if s == 0 {
			return noEntry, tag
		}
		if uint32(s>>32) == tag {
			if i := uint32(s) - 1; t.is(i, head, key) {
				return i, tag
			}
		}
	}
}

// findOrAdd returns the entry of key; a new one has no flags. Pointers to entries are invalid afterwards.
func (t *table[V]) findOrAdd(key []byte) uint32 {
	head := headOf(key[t.prefix:])
	if t.last != noEntry && t.is(t.last, head, key) {
		return t.last
	}
	i, tag := t.probe(head, key)
	if i == noEntry {
		i = t.add(head, key, tag)
	}
	t.last = i
	return i
}

func (t *table[V]) add(head [2]uint64, key []byte, tag uint32) uint32 {
	if len(t.entries) >= len(t.slots)/8*5 {
		t.grow()
	}
	i := uint32(len(t.entries))
	r, dst := t.keys.alloc(len(key))
	copy(dst, key)
	t.entries = append(t.entries, entry[V]{head: head, key: r, keyLen: uint32(len(key))})
	t.place(uint64(tag)<<32 | uint64(i+1))
	if t.index != nil {
		t.index.Set(i)
	}
	return i
}

func (t *table[V]) place(slot uint64) {
	mask := uint32(len(t.slots) - 1)
	at := uint32(slot>>32) & mask
	for t.slots[at] != 0 {
		at = (at + 1) & mask
	}
	t.slots[at] = slot
}

func (t *table[V]) grow() {
	old := t.slots
	t.slots = make([]uint64, 2*len(old))
	for _, s := range old {
		if s != 0 {
			t.place(s)
		}
	}
}

// setCommitted makes value, which may be nil for a deletion, the committed state of e. In place if it fits, unless
// keepOld, which byte-slice values need: the ones that readers hold alias the old bytes.
func (t *table[V]) setCommitted(e *entry[V], value []byte, ts int64, keepOld bool) {
	if e.flags&flagCommitted == 0 {
		e.flags |= flagCommitted
		t.committed++
	}
	if value == nil {
		e.flags &^= flagCommittedExists
		return
	}
	n := timestampBytes + len(value)
	var dst []byte
	if n <= int(e.committedCap) && !keepOld {
		dst = t.values.at(e.committed, uint32(n))
	} else {
		capacity := (n + 7) &^ 7 // room to grow: a varint gets longer now and then
		e.committed, dst = t.values.alloc(capacity)
		e.committedCap = uint32(capacity)
	}
	e.flags |= flagCommittedExists
	e.committedLen = uint32(n)
	binary.BigEndian.PutUint64(dst, uint64(ts))
	copy(dst[timestampBytes:], value)
}

// committedOf returns the committed state of e as the engine stores it; nil for a deletion.
func (t *table[V]) committedOf(e *entry[V]) []byte {
	if e.flags&flagCommittedExists == 0 {
		return nil
	}
	return t.values.at(e.committed, e.committedLen)
}

// bytes estimates the memory of the table.
func (t *table[V]) bytes() int {
	return t.keys.bytes + t.values.bytes + len(t.entries)*int(unsafe.Sizeof(entry[V]{})) + len(t.slots)*8
}

// pivotEntry stands for table.pivot in comparisons of the index.
const pivotEntry = noEntry

func (t *table[V]) indexKey(i uint32) []byte {
	if i == pivotEntry {
		return t.pivot
	}
	return t.keyOf(i)
}

// buildIndex makes the ordered view, once.
func (t *table[V]) buildIndex() {
	if t.index != nil {
		return
	}
	t.index = btree.NewBTreeGOptions(func(a, b uint32) bool {
		return bytes.Compare(t.indexKey(a), t.indexKey(b)) < 0
	}, btree.Options{NoLocks: true})
	order := make([]uint32, len(t.entries))
	for i := range order {
		order[i] = uint32(i)
	}
	sortByKey(order, t.keyOf)
	for _, i := range order {
		t.index.Load(i)
	}
}

// sorted returns the committed entries of a frozen table in key order. Safe for concurrent use.
func (t *table[V]) sorted() []uint32 {
	t.orderOnce.Do(func() {
		t.order = make([]uint32, 0, t.committed)
		for i := range t.entries {
			if t.entries[i].flags&flagCommitted != 0 {
				t.order = append(t.order, uint32(i))
			}
		}
		sortByKey(t.order, t.keyOf)
	})
	return t.order
}
