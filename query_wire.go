package tidemark

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/store"
)

// queryVersion is the first byte of everything that instances and clients say to each other about queries. See
// docs/format/query.md.
const queryVersion = 1

// Limits of what a decoder takes.
const (
	askBytesMax     = 4 << 20   // a question: three keys at most
	frameBytesMax   = 256 << 20 // a page: at least a row, however large it is
	clusterBytesMax = 64 << 20
	namesBytesMax   = 1 << 12
	queryLimitMax   = 4096
)

// errWire says that bytes are not what they should be.
var errWire = errors.New("malformed message")

// Flags of a question.
const (
	askReverse = 1 << iota
	askUncommitted
	askPrefix
	askHasLo
	askHasHi
	askHasAfter
	askStale

	askFlags
)

// appendAsk encodes a question.
func appendAsk(dst []byte, q *ask) []byte {
	flags := byte(0)
	set := func(on bool, flag byte) {
		if on {
			flags |= flag
		}
	}
	w := &q.question
	set(w.Reverse, askReverse)
	set(w.Uncommitted, askUncommitted)
	set(w.Prefix, askPrefix)
	set(w.Lo != nil, askHasLo)
	set(w.Hi != nil, askHasHi)
	set(w.After != nil, askHasAfter)
	set(q.stale != nil, askStale)
	dst = append(dst, queryVersion, byte(w.Kind), flags)
	dst = appendBytes(dst, []byte(q.store))
	dst = binary.AppendVarint(binary.AppendVarint(dst, int64(q.partition)), int64(q.partitions))
	dst = appendBytes(dst, w.Key)
	for _, b := range [][]byte{w.Lo, w.Hi, w.After} {
		if b != nil {
			dst = appendBytes(dst, b)
		}
	}
	dst = binary.AppendVarint(binary.AppendVarint(dst, w.From), w.To)
	dst = binary.AppendUvarint(dst, uint64(max(w.Limit, 1)))
	if q.stale != nil {
		dst = binary.AppendVarint(binary.AppendVarint(dst, q.stale.MaxLag), int64(q.stale.MaxAge))
	}
	return appendPosition(dst, q.atLeast)
}

// decodeAsk decodes a question.
func decodeAsk(data []byte) (q ask, err error) {
	d := wireReader{data: data}
	d.version()
	w := &q.question
	w.Kind = store.QuestionKind(d.byte())
	flags := d.byte()
	if !w.Kind.Valid() || flags >= askFlags {
		d.fail("a question of kind %d with flags %#x", w.Kind, flags)
	}
	w.Reverse, w.Uncommitted, w.Prefix = flags&askReverse != 0, flags&askUncommitted != 0, flags&askPrefix != 0
	q.store = string(d.bytes())
	q.partition, q.partitions = d.partition(), d.partition()
	w.Key = d.bytes()
	if flags&askHasLo != 0 {
		w.Lo = d.bytes()
	}
	if flags&askHasHi != 0 {
		w.Hi = d.bytes()
	}
	if flags&askHasAfter != 0 {
		w.After = d.bytes()
	}
	w.From, w.To = d.varint(), d.varint()
	w.Limit = int(min(max(d.uvarint(), 1), queryLimitMax))
	if flags&askStale != 0 {
		q.stale = &StaleBound{MaxLag: d.varint(), MaxAge: time.Duration(d.varint())}
	}
	q.atLeast = d.position()
	return q, d.end("question")
}

// Types of frames in an answer.
const (
	framePage    = 'P'
	frameRefusal = 'R'
)

// Flags of a page.
const (
	pageMore = 1 << iota
	pageStandby

	pageFlags
)

// frameHead is the length of a frame's payload as four bytes, big endian, and its type.
const frameHead = 5

// appendPage appends a page as a frame.
func appendPage(dst []byte, r *reply) []byte {
	at := len(dst)
	dst = append(dst, 0, 0, 0, 0, framePage)
	flags := byte(0)
	if r.page.Next != nil {
		flags |= pageMore
	}
	if r.info.Standby {
		flags |= pageStandby
	}
	dst = append(dst, queryVersion, flags)
	dst = binary.AppendVarint(binary.AppendVarint(dst, r.info.Lag), int64(r.info.Age))
	dst = appendPosition(dst, r.info.Position)
	if r.page.Next != nil {
		dst = appendBytes(dst, r.page.Next)
	}
	dst = binary.AppendUvarint(dst, uint64(max(r.page.Count, 0)))
	dst = binary.AppendUvarint(dst, uint64(len(r.page.Rows)))
	for i := range r.page.Rows {
		row := &r.page.Rows[i]
		dst = appendBytes(appendBytes(dst, row.Key), row.Value)
		dst = binary.AppendVarint(binary.AppendVarint(binary.AppendVarint(dst, row.Timestamp), row.Start), row.End)
	}
	binary.BigEndian.PutUint32(dst[at:], uint32(len(dst)-at-frameHead))
	return dst
}

// appendRefusal appends a refusal as a frame.
func appendRefusal(dst []byte, no *refusal) []byte {
	at := len(dst)
	dst = append(dst, 0, 0, 0, 0, frameRefusal)
	dst = append(dst, queryVersion, byte(no.code), byte(no.state))
	dst = appendBytes(dst, []byte(no.text[:min(len(no.text), namesBytesMax)]))
	binary.BigEndian.PutUint32(dst[at:], uint32(len(dst)-at-frameHead))
	return dst
}

// readFrame reads one frame of an answer: a page, or a refusal as the error.
func readFrame(from io.Reader) (r reply, err error) {
	var head [frameHead]byte
	if _, err := io.ReadFull(from, head[:]); err != nil {
		return r, fmt.Errorf("read the answer: %w", err)
	}
	n := int64(binary.BigEndian.Uint32(head[:]))
	if n > frameBytesMax {
		return r, fmt.Errorf("%w: a frame of %d bytes, at most %d are taken", errWire, n, frameBytesMax)
	}
	payload, err := io.ReadAll(io.LimitReader(from, n)) // grows with what comes, not with what was promised
	if err == nil && int64(len(payload)) < n {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return r, fmt.Errorf("read the answer: %w", err)
	}
	switch head[frameHead-1] {
	case framePage:
		return decodePage(payload)
	case frameRefusal:
		return r, decodeRefusal(payload)
	}
	return r, fmt.Errorf("%w: a frame of type %q", errWire, head[frameHead-1])
}

func decodePage(data []byte) (r reply, err error) {
	d := wireReader{data: data}
	d.version()
	flags := d.byte()
	if flags >= pageFlags {
		d.fail("a page with flags %#x", flags)
	}
	r.info.Standby = flags&pageStandby != 0
	r.info.Lag, r.info.Age = d.varint(), time.Duration(d.varint())
	r.info.Position = d.position()
	if flags&pageMore != 0 {
		if r.page.Next = d.bytes(); r.page.Next == nil {
			r.page.Next = []byte{}
		}
	}
	r.page.Count = int64(min(d.uvarint(), math.MaxInt64))
	const rowBytesMin = 5
	n := d.count(rowBytesMin)
	r.page.Rows = make([]store.Row, 0, n)
	for range n {
		row := store.Row{Key: d.bytes(), Value: d.bytes()}
		row.Timestamp, row.Start, row.End = d.varint(), d.varint(), d.varint()
		r.page.Rows = append(r.page.Rows, row)
	}
	return r, d.end("page")
}

func decodeRefusal(data []byte) error {
	d := wireReader{data: data}
	d.version()
	no := &refusal{code: refusalCode(d.byte()), state: State(d.byte())}
	if no.code == 0 || no.code >= refusalCodes {
		d.fail("a refusal with code %d", no.code)
	}
	no.text = string(d.bytes())
	if err := d.end("refusal"); err != nil {
		return err
	}
	return no
}

func appendBytes(dst, b []byte) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(b))), b...)
}

func appendPosition(dst []byte, p Position) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(p)))
	for _, tp := range sortedPartitions(p) {
		dst = appendBytes(dst, []byte(tp.Topic))
		dst = binary.AppendUvarint(dst, uint64(uint32(tp.Partition)))
		dst = binary.AppendVarint(dst, p[tp])
	}
	return dst
}

// wireReader reads fields until the first error, which end reports. Slices alias the data.
type wireReader struct {
	data []byte
	err  error
}

func (d *wireReader) fail(format string, args ...any) {
	if d.err == nil {
		d.err = fmt.Errorf("%w: %s", errWire, fmt.Sprintf(format, args...))
	}
	d.data = nil
}

func (d *wireReader) byte() byte {
	if len(d.data) == 0 {
		d.fail("cut off")
		return 0
	}
	b := d.data[0]
	d.data = d.data[1:]
	return b
}

func (d *wireReader) version() {
	if v := d.byte(); v != queryVersion && d.err == nil {
		d.fail("version %d, this release knows %d", v, queryVersion)
	}
}

func (d *wireReader) uvarint() uint64 {
	v, n := binary.Uvarint(d.data)
	if n <= 0 {
		d.fail("cut off")
		return 0
	}
	d.data = d.data[n:]
	return v
}

func (d *wireReader) varint() int64 {
	v, n := binary.Varint(d.data)
	if n <= 0 {
		d.fail("cut off")
		return 0
	}
	d.data = d.data[n:]
	return v
}

func (d *wireReader) bytes() []byte {
	n := d.uvarint()
	if n > uint64(len(d.data)) {
		d.fail("%d bytes in %d", n, len(d.data))
		return nil
	}
	b := d.data[:n:n]
	d.data = d.data[n:]
	return b
}

// count reads how many things follow, of so many bytes at least: no allocation on a lie.
func (d *wireReader) count(bytesMin int) int {
	n := d.uvarint()
	if n > uint64(len(d.data)/bytesMin) {
		d.fail("%d things in %d bytes", n, len(d.data))
		return 0
	}
	return int(n)
}

func (d *wireReader) partition() int32 {
	p := d.varint()
	if p < int64(anyPartition) || p > math.MaxInt32 {
		d.fail("partition %d", p)
		return 0
	}
	return int32(p)
}

func (d *wireReader) position() Position {
	const entryBytesMin = 3
	n := d.count(entryBytesMin)
	if n == 0 {
		return nil
	}
	p := make(Position, n)
	for range n {
		topic, partition := string(d.bytes()), d.uvarint()
		if partition > math.MaxInt32 {
			d.fail("partition %d", partition)
		}
		p[record.TopicPartition{Topic: topic, Partition: int32(min(partition, math.MaxInt32))}] = d.varint()
	}
	return p
}

func (d *wireReader) end(what string) error {
	if d.err == nil && len(d.data) > 0 {
		d.fail("%d bytes too many", len(d.data))
	}
	if d.err != nil {
		return fmt.Errorf("tidemark: %s: %w", what, d.err)
	}
	return nil
}
