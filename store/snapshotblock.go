package store

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"iter"
	"sort"
	"sync"

	"github.com/golang/snappy"
)

// block is a part of a snapshot file in memory: whole entries, in the order of their keys. It is never changed.
type block struct {
	data    []byte
	entries []blockEntry
}

// blockEntry says where in data the parts of an entry are. value is -1 for a deletion.
type blockEntry struct{ key, value, end int }

func (b *block) key(i int) []byte {
	e := b.entries[i]
	if e.value < 0 {
		return b.data[e.key:e.end:e.end]
	}
	return b.data[e.key:e.value:e.value]
}

func (b *block) at(i int) Entry {
	at := Entry{Key: b.key(i)}
	if e := b.entries[i]; e.value >= 0 {
		at.Value = b.data[e.value:e.end:e.end]
	}
	return at
}

// find returns the first entry whose key is not below.
func (b *block) find(key []byte) int {
	return sort.Search(len(b.entries), func(i int) bool { return bytes.Compare(b.key(i), key) >= 0 })
}

// bytes is the memory that the block takes.
func (b *block) bytes() int { return cap(b.data) + 24*cap(b.entries) }

// decodeBlock decodes block i of a file from its chunks. Its errors are damage.
func decodeBlock(x *FileIndex, i int, chunks []byte) (*block, error) {
	data, err := unframe(chunks)
	if err != nil {
		return nil, err
	}
	b := &block{data: data}
	for at := 0; at < len(data); {
		e, err := decodeEntry(data, at)
		if err != nil {
			return nil, err
		}
		b.entries = append(b.entries, e)
		at = e.end
		if n := len(b.entries); n > 1 && bytes.Compare(b.key(n-2), b.key(n-1)) >= 0 {
			return nil, fmt.Errorf("key %x follows %x", b.key(n-1), b.key(n-2))
		}
	}
	switch n := len(b.entries); {
	case n == 0 || !bytes.Equal(b.key(0), x.blocks[i].first):
		return nil, errors.New("a block does not begin with the key that the index has")
	case i+1 < len(x.blocks) && bytes.Compare(b.key(n-1), x.blocks[i+1].first) >= 0:
		return nil, fmt.Errorf("key %x belongs to another block", b.key(n-1))
	}
	return b, nil
}

// decodeEntry finds the parts of the entry that begins at a place.
func decodeEntry(data []byte, at int) (e blockEntry, err error) {
	malformed := errors.New("an entry is malformed")
	keyLen, n := binary.Uvarint(data[at:])
	if n <= 0 || keyLen == 0 || keyLen-1 > entryKeyBytesMax {
		return e, malformed
	}
	at += n
	valueLen, n := binary.Uvarint(data[at:])
	if n <= 0 || valueLen > entryValueBytesMax+1 {
		return e, malformed
	}
	e = blockEntry{key: at + n, value: -1, end: at + n + int(keyLen-1)}
	if valueLen > 0 {
		e.value = e.end
		e.end += int(valueLen - 1)
	}
	if e.end > len(data) {
		return e, malformed
	}
	return e, nil
}

// Chunks of snappy's framing format that a file has.
const (
	chunkCompressed = 0x00
	chunkPlain      = 0x01
	chunkHeadBytes  = 8 // kind, length, checksum
)

// unframe decodes chunks of snappy's framing format, and nothing but such chunks: what readers of the format skip is
// damage here. Each is compared with its checksum.
func unframe(chunks []byte) (data []byte, err error) {
	table := crc32.MakeTable(crc32.Castagnoli)
	for len(chunks) > 0 {
		if len(chunks) < chunkHeadBytes {
			return nil, errors.New("a chunk is cut off")
		}
		kind := chunks[0]
		length := int(chunks[1]) | int(chunks[2])<<8 | int(chunks[3])<<16
		if length < 4 || len(chunks) < 4+length {
			return nil, errors.New("a chunk is cut off")
		}
		want, body := binary.LittleEndian.Uint32(chunks[4:]), chunks[chunkHeadBytes:4+length]
		chunks = chunks[4+length:]
		size := len(body)
		if kind == chunkCompressed {
			if size, err = snappy.DecodedLen(body); err != nil {
				return nil, err
			}
		}
		if kind > chunkPlain || size > indexBlockBytes {
			return nil, fmt.Errorf("a chunk is of kind %d and has %d bytes", kind, size)
		}
		at := len(data)
		data = append(data, make([]byte, size)...)
		if kind == chunkPlain {
			copy(data[at:], body)
		} else if _, err := snappy.Decode(data[at:], body); err != nil {
			return nil, err
		}
		sum := crc32.Checksum(data[at:], table)
		if (sum>>15|sum<<17)+0xa282ead8 != want {
			return nil, errors.New("a chunk does not match its checksum")
		}
	}
	return data, nil
}

// SnapshotFile is a file of a snapshot of which parts can be read.
type SnapshotFile struct {
	// Name is for messages.
	Name  string
	Index *FileIndex
	// ReadRange fills p with the bytes of the file from offset on, as [WriteIndexedEntries] wrote them. It is called by
	// several goroutines.
	ReadRange func(ctx context.Context, offset int64, p []byte) error
}

// Entries yields all entries, block by block. The slices stay as they are.
func (f *SnapshotFile) Entries(ctx context.Context) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		for i := range f.Index.blocks {
			blocks, err := f.load(ctx, i, 1)
			if err != nil {
				yield(Entry{}, fmt.Errorf("store: %w", err))
				return
			}
			for j := range blocks[0].entries {
				if !yield(blocks[0].at(j), nil) {
					return
				}
			}
		}
	}
}

// load reads n blocks from i on.
func (f *SnapshotFile) load(ctx context.Context, i, n int) ([]*block, error) {
	from, to := f.Index.extent(i, n)
	chunks := make([]byte, to-from)
	if err := f.ReadRange(ctx, from, chunks); err != nil {
		return nil, fmt.Errorf("read %s: %w", f.Name, err)
	}
	blocks := make([]*block, n)
	for j := range n {
		start, end := f.Index.extent(i+j, 1)
		b, err := decodeBlock(f.Index, i+j, chunks[start-from:end-from])
		if err != nil {
			return nil, fmt.Errorf("%s at byte %d: %w", f.Name, start, &DamageError{Err: err})
		}
		blocks[j] = b
	}
	return blocks, nil
}

// blockCache keeps the blocks that were used last. Safe for concurrent use.
type blockCache struct {
	limit func() int // in bytes

	mu struct {
		sync.Mutex

		blocks map[blockID]*cachedBlock
		bytes  int
		recent cachedBlock // the ring's anchor: next is the one used last
	}
}

type blockID struct{ file, block int }

type cachedBlock struct {
	id         blockID
	block      *block
	prev, next *cachedBlock
}

func newBlockCache(limit func() int) *blockCache {
	c := &blockCache{limit: limit}
	c.mu.blocks = make(map[blockID]*cachedBlock)
	c.mu.recent.prev, c.mu.recent.next = &c.mu.recent, &c.mu.recent
	return c
}

// get returns a block, nil if it is not here.
func (c *blockCache) get(id blockID) *block {
	c.mu.Lock()
	defer c.mu.Unlock()
	b := c.mu.blocks[id]
	if b == nil {
		return nil
	}
	c.unlinkLocked(b)
	c.linkLocked(b)
	return b.block
}

// put keeps a block, and lets others go to make room.
func (c *blockCache) put(id blockID, loaded *block) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mu.blocks[id] != nil {
		return
	}
	b := &cachedBlock{id: id, block: loaded}
	c.mu.blocks[id] = b
	c.linkLocked(b)
	c.mu.bytes += loaded.bytes()
	for limit := c.limit(); c.mu.bytes > limit && c.mu.recent.prev != b; {
		oldest := c.mu.recent.prev
		c.unlinkLocked(oldest)
		delete(c.mu.blocks, oldest.id)
		c.mu.bytes -= oldest.block.bytes()
	}
}

// clear lets all blocks go.
func (c *blockCache) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.mu.blocks)
	c.mu.bytes, c.mu.recent.prev, c.mu.recent.next = 0, &c.mu.recent, &c.mu.recent
}

func (c *blockCache) linkLocked(b *cachedBlock) {
	b.prev, b.next = &c.mu.recent, c.mu.recent.next
	b.prev.next, b.next.prev = b, b
}

func (c *blockCache) unlinkLocked(b *cachedBlock) {
	b.prev.next, b.next.prev = b.next, b.prev
}
