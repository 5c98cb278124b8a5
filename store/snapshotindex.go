package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"iter"
	"sort"
)

// FileIndex tells where in a snapshot file the rows of a key are, so that they are found without reading all of it:
// docs/format/snapshot-index.md. It is made with the file, by [WriteIndexedEntries], and immutable afterwards.
type FileIndex struct {
	// Entries is how many the file has.
	Entries int64
	// Bytes and SHA256 are those of the file as it is stored: an index is of no use to another one. Whoever stores the
	// file sets them.
	Bytes  int64
	SHA256 [sha256.Size]byte

	blocks []indexBlock
	end    int64 // of the last block
}

// indexBlock is a chunk of a file, or a few that one large entry takes. Entries do not reach into the next block.
type indexBlock struct {
	offset int64
	first  []byte // key
}

const (
	indexMagic   = "TMKSIDX"
	indexVersion = 1
	// indexBlockBytes is the size of a block before compression: that of a chunk in snappy's framing.
	indexBlockBytes = 64 << 10
	// indexStart is where the first block begins: behind the head of the file and that of snappy's framing.
	indexStart = int64(len(snapshotMagic) + 1 + 10)
)

// WriteIndexedEntries is [WriteEntries] with an index.
func WriteIndexedEntries(w io.Writer, entries iter.Seq2[Entry, error]) (*FileIndex, error) {
	out, err := newEntryWriter(w)
	if err != nil {
		return nil, err
	}
	out.index = new(FileIndex)
	for at, err := range entries {
		if err != nil {
			return nil, err
		}
		if err := out.add(at); err != nil {
			return nil, err
		}
	}
	if err := out.finish(); err != nil {
		return nil, err
	}
	return out.index, nil
}

// beginBlock begins a block with an entry, unless it has room in the one before.
func (e *entryWriter) beginBlock(size int, key []byte) error {
	if e.held > 0 && e.held+size > indexBlockBytes {
		if err := e.w.Flush(); err != nil {
			return fmt.Errorf("store: write snapshot file: %w", err)
		}
		e.held = 0
	}
	if e.held == 0 {
		at := e.sink.bytes
		if len(e.index.blocks) == 0 {
			at = indexStart // snappy's head is written with the first chunk
		}
		e.index.blocks = append(e.index.blocks, indexBlock{at, bytes.Clone(key)})
	}
	e.held += size
	return nil
}

// endIndex ends the last block.
func (e *entryWriter) endIndex() error {
	err := e.w.Flush()
	e.index.Entries, e.index.end = e.count, max(e.sink.bytes, indexStart)
	return err
}

// find returns the block that a key is in, if the file has it; -1 if it does not.
func (x *FileIndex) find(key []byte) int {
	return sort.Search(len(x.blocks), func(i int) bool { return bytes.Compare(x.blocks[i].first, key) > 0 }) - 1
}

// extent returns where n blocks from i on lie.
func (x *FileIndex) extent(i, n int) (from, to int64) {
	to = x.end
	if i+n < len(x.blocks) {
		to = x.blocks[i+n].offset
	}
	return x.blocks[i].offset, to
}

// count estimates how many entries with the prefix there are.
func (x *FileIndex) count(prefix []byte) uint64 {
	if len(x.blocks) == 0 {
		return 0
	}
	from, to := max(x.find(prefix), 0), len(x.blocks)
	if end := prefixEnd(prefix); end != nil {
		to = x.find(end) + 1
	}
	return uint64(max(to-from, 0)) * uint64(x.Entries) / uint64(len(x.blocks))
}

// Append encodes the index.
func (x *FileIndex) Append(dst []byte) []byte {
	begin := len(dst)
	dst = append(append(dst, indexMagic...), indexVersion)
	dst = append(dst, x.SHA256[:]...)
	for _, n := range [3]int64{x.Bytes, x.Entries, int64(len(x.blocks))} {
		dst = binary.AppendUvarint(dst, uint64(n))
	}
	var offset int64
	var key []byte
	for _, b := range x.blocks {
		shared := 0
		for shared < min(len(key), len(b.first)) && key[shared] == b.first[shared] {
			shared++
		}
		dst = binary.AppendUvarint(dst, uint64(b.offset-offset))
		dst = binary.AppendUvarint(dst, uint64(shared))
		dst = appendString(dst, string(b.first[shared:]))
		offset, key = b.offset, b.first
	}
	dst = binary.AppendUvarint(dst, uint64(x.end-offset))
	return binary.BigEndian.AppendUint32(dst, crc32.Checksum(dst[begin:], crc32.MakeTable(crc32.Castagnoli)))
}

// DecodeFileIndex is the inverse of Append. Its error is a [*DamageError], or matches [ErrNewerFormat].
func DecodeFileIndex(data []byte) (*FileIndex, error) {
	x, err := decodeFileIndex(data)
	if err != nil && !errors.Is(err, ErrNewerFormat) {
		err = &DamageError{Err: fmt.Errorf("its index: %w", err)}
	}
	return x, err
}

func decodeFileIndex(data []byte) (*FileIndex, error) {
	const head = len(indexMagic) + 1
	switch {
	case len(data) < head+sha256.Size+crc32.Size || string(data[:len(indexMagic)]) != indexMagic:
		return nil, errors.New("it does not begin as one")
	case data[len(indexMagic)] > indexVersion:
		return nil, fmt.Errorf("index of version %d: %w", data[len(indexMagic)], ErrNewerFormat)
	case data[len(indexMagic)] != indexVersion:
		return nil, fmt.Errorf("version %d is unknown", data[len(indexMagic)])
	}
	body := data[:len(data)-crc32.Size]
	if crc32.Checksum(body, crc32.MakeTable(crc32.Castagnoli)) != binary.BigEndian.Uint32(data[len(body):]) {
		return nil, errors.New("it does not match its checksum")
	}
	x := &FileIndex{SHA256: [sha256.Size]byte(body[head:])}
	d := decoder{data: body[head+sha256.Size:]}
	x.Bytes, x.Entries = int64(d.uvarint()), int64(d.uvarint())
	n := d.count()
	if n > 0 {
		x.blocks = make([]indexBlock, 0, n)
	}
	for range n {
		if err := x.decodeBlock(&d); err != nil {
			return nil, err
		}
	}
	begin := indexStart
	if n > 0 {
		begin = x.blocks[n-1].offset
	}
	more := d.uvarint()
	if n == 0 {
		more -= uint64(indexStart)
	}
	x.end = begin + int64(more)
	ends := x.end > begin || n == 0 && x.end == begin
	if d.failed || len(d.data) > 0 || x.Bytes < 0 || x.Entries < 0 || !ends {
		return nil, errors.New("it is malformed")
	}
	return x, nil
}

// decodeBlock decodes the next block.
func (x *FileIndex) decodeBlock(d *decoder) error {
	var last indexBlock
	if len(x.blocks) > 0 {
		last = x.blocks[len(x.blocks)-1]
	}
	b := indexBlock{offset: last.offset + int64(d.uvarint())}
	shared, rest := d.uvarint(), d.string()
	if d.failed || shared > uint64(len(last.first)) {
		return errors.New("it is malformed")
	}
	b.first = append(bytes.Clone(last.first[:shared]), rest...)
	if b.offset <= last.offset || len(x.blocks) > 0 && bytes.Compare(last.first, b.first) >= 0 {
		return fmt.Errorf("block %d does not follow the one before", len(x.blocks))
	}
	x.blocks = append(x.blocks, b)
	return nil
}
