package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"iter"

	"github.com/golang/snappy"
)

// Files of snapshots and of changes, docs/format/snapshot-file.md.

// snapshotMagic is what a file begins with; the last byte is the version.
const (
	snapshotMagic   = "TMKSNAP"
	snapshotVersion = 1
)

const (
	entryKeyBytesMax   = 1 << 16
	entryValueBytesMax = 1 << 30
)

// snapshotFooter is what stands before the checksum at the end of a file: to snappy's framing a chunk of four bytes
// that readers skip.
const snapshotFooter = "\x80\x04\x00\x00"

const footerBytes = len(snapshotFooter) + 4

// ErrNewerFormat says that a file was written by a newer release, which may lay it out in another way.
var ErrNewerFormat = errors.New(
	"store: the format is newer than this program: use the release that wrote it, or a later one")

// DamageError says that a file of a snapshot cannot be read to its end: it is cut off, or its bytes have changed. The
// action: use another snapshot. What was read before it must not be used.
type DamageError struct {
	// Entries is how many were read before.
	Entries int64
	Err     error
}

// Error says where and why.
func (e *DamageError) Error() string {
	return fmt.Sprintf("store: the snapshot file is damaged behind entry %d: %v", e.Entries, e.Err)
}

// Unwrap returns the cause.
func (e *DamageError) Unwrap() error { return e.Err }

// WriteEntries writes entries in ascending key order to a snapshot file; a nil value is a deletion. It returns how many
// there were. An error of the entries ends it: what was written then has no end, and is no file.
func WriteEntries(w io.Writer, entries iter.Seq2[Entry, error]) (n int64, err error) {
	out, err := newEntryWriter(w)
	if err != nil {
		return 0, err
	}
	for at, err := range entries {
		if err != nil {
			return out.count, err
		}
		if err := out.add(at); err != nil {
			return out.count, err
		}
	}
	return out.count, out.finish()
}

// entryWriter writes a snapshot file entry by entry.
type entryWriter struct {
	w     *snappy.Writer
	sink  *summingWriter
	count int64
	head  []byte // scratch
	last  []byte // key
	// index is being made if it is not nil: then chunks end between entries. held is what waits for the next chunk.
	index *FileIndex
	held  int
}

// summingWriter adds up a CRC-32C and the length.
type summingWriter struct {
	w     io.Writer
	sum   uint32
	bytes int64
	table *crc32.Table
}

func (s *summingWriter) Write(p []byte) (int, error) {
	s.sum = crc32.Update(s.sum, s.table, p)
	s.bytes += int64(len(p))
	return s.w.Write(p)
}

func newEntryWriter(w io.Writer) (*entryWriter, error) {
	sink := &summingWriter{w: w, table: crc32.MakeTable(crc32.Castagnoli)}
	if _, err := sink.Write(append([]byte(snapshotMagic), snapshotVersion)); err != nil {
		return nil, fmt.Errorf("store: write snapshot file: %w", err)
	}
	return &entryWriter{w: snappy.NewBufferedWriter(sink), sink: sink}, nil
}

func (e *entryWriter) add(at Entry) error {
	switch {
	case e.count > 0 && bytes.Compare(e.last, at.Key) >= 0:
		return fmt.Errorf("store: write snapshot file: key %x follows %x, which is not in ascending order", at.Key, e.last)
	case len(at.Key) > entryKeyBytesMax || len(at.Value) > entryValueBytesMax:
		return fmt.Errorf("store: write snapshot file: an entry of %d + %d bytes is too large", len(at.Key), len(at.Value))
	}
	e.head = binary.AppendUvarint(e.head[:0], uint64(len(at.Key))+1)
	e.head = binary.AppendUvarint(e.head, lengthOf(at.Value))
	if e.index != nil {
		if err := e.beginBlock(len(e.head)+len(at.Key)+len(at.Value), at.Key); err != nil {
			return err
		}
	}
	for _, part := range [3][]byte{e.head, at.Key, at.Value} {
		if _, err := e.w.Write(part); err != nil {
			return fmt.Errorf("store: write snapshot file: %w", err)
		}
	}
	e.last = append(e.last[:0], at.Key...)
	e.count++
	return nil
}

// lengthOf tells nil from empty.
func lengthOf(value []byte) uint64 {
	if value == nil {
		return 0
	}
	return uint64(len(value)) + 1
}

// finish writes the end mark and the checksum.
func (e *entryWriter) finish() error {
	e.head = binary.AppendUvarint(append(e.head[:0], 0), uint64(e.count))
	var err error
	if e.index != nil {
		err = e.endIndex()
	}
	if err == nil {
		_, err = e.w.Write(e.head)
	}
	if err = errors.Join(err, e.w.Close()); err == nil {
		_, err = e.sink.w.Write(binary.BigEndian.AppendUint32([]byte(snapshotFooter), e.sink.sum))
	}
	if err != nil {
		return fmt.Errorf("store: write snapshot file: %w", err)
	}
	return nil
}

// ReadEntries reads a snapshot file. Whatever is wrong with it is an error in the stream, a [*DamageError] if the bytes
// are not those that were written; an end without an error is the end of the file, with all of its entries. The slices
// hold until the next step. Memory is bounded by the largest entry.
func ReadEntries(r io.Reader) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		in := entryReader{source: &sourceReader{r: r, table: crc32.MakeTable(crc32.Castagnoli)}}
		if err := in.begin(); err != nil {
			yield(Entry{}, in.classify(err))
			return
		}
		for {
			at, more, err := in.next()
			if err != nil {
				yield(Entry{}, in.classify(err))
				return
			}
			if !more || !yield(at, nil) {
				return
			}
		}
	}
}

// sourceReader remembers what the reader below failed with, which is no damage, and adds up the checksum of all bytes
// but the last ones, which have it.
type sourceReader struct {
	r     io.Reader
	err   error
	sum   uint32
	tail  []byte // the last footerBytes
	table *crc32.Table
}

func (s *sourceReader) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && err != io.EOF { // a connection that is cut is no end
		s.err = err
	}
	s.note(p[:n])
	return n, err
}

func (s *sourceReader) note(p []byte) {
	if len(p) >= footerBytes {
		s.sum = crc32.Update(s.sum, s.table, s.tail)
		s.sum = crc32.Update(s.sum, s.table, p[:len(p)-footerBytes])
		s.tail = append(s.tail[:0], p[len(p)-footerBytes:]...)
		return
	}
	s.tail = append(s.tail, p...)
	if over := len(s.tail) - footerBytes; over > 0 {
		s.sum = crc32.Update(s.sum, s.table, s.tail[:over])
		s.tail = append(s.tail[:0], s.tail[over:]...)
	}
}

// intact reports that the file ends with its checksum.
func (s *sourceReader) intact() bool {
	return bytes.Equal(s.tail, binary.BigEndian.AppendUint32([]byte(snapshotFooter), s.sum))
}

type entryReader struct {
	source *sourceReader
	in     *snappy.Reader
	count  int64
	buf    []byte // the entry
	last   []byte // key
}

func (e *entryReader) classify(err error) error {
	switch {
	case e.source.err != nil:
		return fmt.Errorf("store: read snapshot file behind entry %d: %w", e.count, e.source.err)
	case errors.Is(err, ErrNewerFormat):
		return err
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		err = errors.New("it ends too early")
	}
	return &DamageError{Entries: e.count, Err: err}
}

func (e *entryReader) begin() error {
	var head [len(snapshotMagic) + 1]byte
	if _, err := io.ReadFull(e.source, head[:]); err != nil {
		return err
	}
	switch version := head[len(snapshotMagic)]; {
	case string(head[:len(snapshotMagic)]) != snapshotMagic:
		return fmt.Errorf("it begins with %x, not as a snapshot file", head)
	case version > snapshotVersion:
		return fmt.Errorf("snapshot file of version %d: %w", version, ErrNewerFormat)
	case version != snapshotVersion:
		return fmt.Errorf("version %d is unknown", version)
	}
	e.in = snappy.NewReader(e.source)
	return nil
}

func (e *entryReader) next() (at Entry, more bool, err error) {
	keyLen, err := binary.ReadUvarint(e.in)
	if err != nil {
		return at, false, err
	}
	if keyLen == 0 {
		return at, false, e.end()
	}
	valueLen, err := binary.ReadUvarint(e.in)
	if err != nil {
		return at, false, err
	}
	if keyLen-1 > entryKeyBytesMax || valueLen > entryValueBytesMax+1 {
		return at, false, fmt.Errorf("a key of %d and a value of %d bytes", keyLen-1, valueLen)
	}
	keyLen--
	size := int(keyLen)
	if valueLen > 0 {
		size += int(valueLen - 1)
	}
	if err := e.fill(size); err != nil {
		return at, false, err
	}
	at.Key = e.buf[:keyLen:keyLen]
	if valueLen > 0 {
		at.Value = e.buf[keyLen:]
	}
	if e.count > 0 && bytes.Compare(e.last, at.Key) >= 0 {
		return at, false, fmt.Errorf("key %x follows %x", at.Key, e.last)
	}
	e.last = append(e.last[:0], at.Key...)
	e.count++
	return at, true, nil
}

// fill reads so many bytes into buf. A length may be damaged: memory grows with what is there, not with what is said.
func (e *entryReader) fill(size int) error {
	const step = 1 << 20
	if e.buf == nil {
		e.buf = []byte{} // an empty value is not nil
	}
	e.buf = e.buf[:0]
	for len(e.buf) < size {
		at := len(e.buf)
		n := min(size-at, step)
		if cap(e.buf)-at < n {
			e.buf = append(e.buf, make([]byte, n)...)
		} else {
			e.buf = e.buf[:at+n]
		}
		if _, err := io.ReadFull(e.in, e.buf[at:]); err != nil {
			return err
		}
	}
	return nil
}

// end reads the end mark, behind its first byte.
func (e *entryReader) end() error {
	count, err := binary.ReadUvarint(e.in)
	if err != nil {
		return err
	}
	switch _, err := e.in.ReadByte(); {
	case err == nil:
		return errors.New("something follows its end")
	case !errors.Is(err, io.EOF):
		return err
	case e.source.err != nil:
		return e.source.err
	case count != uint64(e.count):
		return fmt.Errorf("it says that it has %d entries", count)
	case !e.source.intact():
		return errors.New("it does not match its checksum")
	}
	return nil
}
