package checkpointing

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/tidemarkio/tidemark/checkpointing/storage"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/store"
)

// What a savepoint keeps of the records in flight: docs/format/in-flight.md.

// inFlightVersion is the first byte of the value of an entry.
const inFlightVersion = 1

// inFlight copies the records in flight into a file.
func (x *export) inFlight(ctx context.Context, target storage.Storage, out *TaskSnapshot) error {
	ranges := slices.DeleteFunc(slices.Clone(x.cut.InFlight), func(r Range) bool { return r.Start >= r.End })
	if len(ranges) == 0 {
		return nil
	}
	read := x.e.config.InFlight
	if read == nil {
		return errors.New("records are in flight, and nobody can read them")
	}
	// Entries are in the order of their keys: topic, partition, offset. The ranges of several tasks in one partition
	// overlap.
	slices.SortFunc(ranges, func(a, b Range) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition), a.From.Compare(b.From))
	})
	f, err := x.store(ctx, target, FileInFlight, func(ctx context.Context) iter.Seq2[store.Entry, error] {
		seqs := make([]iter.Seq2[store.Entry, error], len(ranges))
		for i, r := range ranges {
			seqs[i] = inFlightEntries(r, read(ctx, r))
		}
		return store.MergeEntries(seqs...)
	})
	if err != nil {
		return err
	}
	out.InFlightFile = &f
	out.Bytes += f.Bytes
	return nil
}

// inFlightEntries encodes the records of a range.
func inFlightEntries(r Range, records iter.Seq2[record.Raw, error]) iter.Seq2[store.Entry, error] {
	return func(yield func(store.Entry, error) bool) {
		var key, value []byte
		for raw, err := range records {
			if err != nil {
				yield(store.Entry{}, fmt.Errorf("read what is in flight in %s-%d: %w", r.Topic, r.Partition, err))
				return
			}
			if raw.Offset < r.Start || raw.Offset >= r.End {
				continue
			}
			key = appendInFlightKey(key[:0], r.Topic, r.Partition, raw.Offset)
			value = appendInFlightValue(value[:0], r.From, raw)
			if !yield(store.Entry{Key: key, Value: value}, nil) {
				return
			}
		}
	}
}

func appendInFlightKey(dst []byte, topic string, partition int32, offset int64) []byte {
	dst = append(append(dst, topic...), 0) // no topic contains it
	dst = binary.BigEndian.AppendUint32(dst, uint32(partition))
	return binary.BigEndian.AppendUint64(dst, uint64(offset))
}

func appendInFlightValue(dst []byte, from record.TaskID, r record.Raw) []byte {
	dst = append(dst, inFlightVersion)
	dst = binary.AppendUvarint(dst, uint64(uint32(from.Subtopology)))
	dst = binary.AppendUvarint(dst, uint64(uint32(from.Partition)))
	dst = binary.AppendVarint(dst, r.Timestamp)
	dst = appendNullable(appendNullable(dst, r.Key), r.Value)
	dst = binary.AppendUvarint(dst, uint64(len(r.Headers)))
	for _, h := range r.Headers {
		dst = appendNullable(appendNullable(dst, []byte(h.Key)), h.Value)
	}
	return dst
}

// appendNullable writes a length, plus one, and the bytes; 0 is null.
func appendNullable(dst, data []byte) []byte {
	if data == nil {
		return append(dst, 0)
	}
	return append(binary.AppendUvarint(dst, uint64(len(data))+1), data...)
}

// InFlightRecord is a record that was sent before its task's cut and not processed before the receiver's.
type InFlightRecord struct {
	Topic     string
	Partition int32
	From      record.TaskID
	record.Raw
}

// decodeInFlight is the inverse of inFlightEntries. The record aliases the entry.
func decodeInFlight(at store.Entry) (r InFlightRecord, err error) {
	const tail = 1 + 4 + 8
	if len(at.Key) <= tail || at.Key[len(at.Key)-tail] != 0 {
		return r, fmt.Errorf("the key %x is none of a record in flight", at.Key)
	}
	numbers := at.Key[len(at.Key)-tail+1:]
	r.Topic = string(at.Key[:len(at.Key)-tail])
	r.Partition, r.Offset = int32(binary.BigEndian.Uint32(numbers)), int64(binary.BigEndian.Uint64(numbers[4:]))
	if len(at.Value) == 0 || at.Value[0] != inFlightVersion {
		return r, fmt.Errorf("the record in flight at %s-%d, offset %d is of an unknown version", r.Topic, r.Partition, r.Offset)
	}
	d := inFlightDecoder{data: at.Value[1:]}
	r.From.Subtopology, r.From.Partition = int32(d.uvarint()), int32(d.uvarint())
	r.Timestamp = d.varint()
	r.Key, r.Value = d.bytes(), d.bytes()
	if n := d.uvarint(); n <= uint64(len(d.data)) {
		for range n {
			r.Headers = append(r.Headers, record.Header{Key: string(d.bytes()), Value: d.bytes()})
		}
	} else {
		d.failed = true
	}
	if d.failed || len(d.data) > 0 {
		return r, fmt.Errorf("the record in flight at %s-%d, offset %d is malformed", r.Topic, r.Partition, r.Offset)
	}
	return r, nil
}

// inFlightDecoder reads numbers and bytes; after a failure everything is zero.
type inFlightDecoder struct {
	data   []byte
	failed bool
}

func (d *inFlightDecoder) take(n int) {
	if n <= 0 {
		d.failed, d.data = true, nil
		return
	}
	d.data = d.data[n:]
}

func (d *inFlightDecoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.data)
	if d.take(n); d.failed {
		return 0
	}
	return v
}

func (d *inFlightDecoder) varint() int64 {
	v, n := binary.Varint(d.data)
	if d.take(n); d.failed {
		return 0
	}
	return v
}

func (d *inFlightDecoder) bytes() []byte {
	n := d.uvarint()
	if n == 0 {
		return nil
	}
	n--
	if n > uint64(len(d.data)) {
		d.failed, d.data = true, nil
		return nil
	}
	b := d.data[:n:n]
	d.data = d.data[n:]
	return b
}
