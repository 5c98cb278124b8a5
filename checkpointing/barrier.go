package checkpointing

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/tidemarkio/tidemark/record"
)

// What the runtime adds to the records of repartition topics while checkpoints are enabled, see
// docs/format/barrier.md. Both headers stand last and are taken off before an operator sees the record. The names are
// short because the first one is on every record.
const (
	// TaskHeader names the task that wrote the record.
	TaskHeader = "__tm.t"
	// BarrierHeader makes the record a barrier. It stands before the TaskHeader; the record has no key and no value.
	BarrierHeader = "__tm.b"
)

// headerVersion is the first byte of both headers.
const headerVersion = 1

// Barrier parts a channel, which is the records of one task in one partition of a repartition topic: what lies before
// it belongs to the checkpoint, what lies behind it does not. It carries all that a task must know to take part, since
// it may overtake the trigger on the control topic.
type Barrier struct {
	// ID is the checkpoint's, above 0.
	ID int64
	// Unaligned: no record is held back, tasks cut at the first barrier.
	Unaligned bool
	// Stop: tasks process nothing behind their cut.
	Stop bool
	// AlignedTimeoutMs is after how long an aligned task cuts all the same. 0: it waits for every barrier.
	AlignedTimeoutMs int64
	// TimeoutMs is after how long a task gives up waiting for barriers. 0: it waits until it is told.
	TimeoutMs int64
	// TriggeredMs is when the checkpoint was triggered, by the coordinator's clock.
	TriggeredMs int64
}

const (
	flagUnaligned = 1 << iota
	flagStop
	flagsKnown = flagUnaligned | flagStop
)

// Append encodes the value of a BarrierHeader.
func (b Barrier) Append(dst []byte) []byte {
	flags := byte(0)
	if b.Unaligned {
		flags |= flagUnaligned
	}
	if b.Stop {
		flags |= flagStop
	}
	dst = append(dst, headerVersion, flags)
	for _, v := range [...]int64{b.ID, b.AlignedTimeoutMs, b.TimeoutMs, b.TriggeredMs} {
		dst = binary.AppendUvarint(dst, uint64(max(v, 0)))
	}
	return dst
}

// ParseBarrier decodes the value of a BarrierHeader.
func ParseBarrier(data []byte) (b Barrier, err error) {
	rest, err := headerBody(data)
	if err != nil {
		return b, fmt.Errorf("checkpointing: barrier: %w", err)
	}
	if len(rest) == 0 || rest[0]&^flagsKnown != 0 {
		return b, fmt.Errorf("checkpointing: barrier: unknown flags in % x", data)
	}
	b.Unaligned, b.Stop = rest[0]&flagUnaligned != 0, rest[0]&flagStop != 0
	rest = rest[1:]
	for _, field := range [...]*int64{&b.ID, &b.AlignedTimeoutMs, &b.TimeoutMs, &b.TriggeredMs} {
		if *field, rest, err = takeUvarint(rest, math.MaxInt64); err != nil {
			return Barrier{}, fmt.Errorf("checkpointing: barrier % x: %w", data, err)
		}
	}
	if len(rest) > 0 || b.ID == 0 {
		return Barrier{}, fmt.Errorf("checkpointing: malformed barrier % x", data)
	}
	return b, nil
}

// AppendTask encodes the value of a TaskHeader.
func AppendTask(dst []byte, id record.TaskID) []byte {
	dst = append(dst, headerVersion)
	dst = binary.AppendUvarint(dst, uint64(uint32(id.Subtopology)))
	return binary.AppendUvarint(dst, uint64(uint32(id.Partition)))
}

// ParseTask decodes the value of a TaskHeader.
func ParseTask(data []byte) (id record.TaskID, err error) {
	rest, err := headerBody(data)
	if err != nil {
		return id, fmt.Errorf("checkpointing: producing task: %w", err)
	}
	sub, rest, err := takeUvarint(rest, math.MaxInt32)
	if err != nil {
		return id, fmt.Errorf("checkpointing: producing task % x: %w", data, err)
	}
	partition, rest, err := takeUvarint(rest, math.MaxInt32)
	if err != nil {
		return id, fmt.Errorf("checkpointing: producing task % x: %w", data, err)
	}
	if len(rest) > 0 {
		return id, fmt.Errorf("checkpointing: malformed producing task % x", data)
	}
	return record.TaskID{Subtopology: int32(sub), Partition: int32(partition)}, nil
}

// SplitHeaders takes the runtime's headers off a record: origin is the value of its TaskHeader, barrier that of its
// BarrierHeader, and rest are the headers that an operator may see. Both are nil on a record that was written while
// checkpoints were off. Only the last headers count: a user's may have any name.
func SplitHeaders(headers []record.Header) (origin, barrier []byte, rest []record.Header) {
	n := len(headers)
	if n == 0 || headers[n-1].Key != TaskHeader {
		return nil, nil, headers
	}
	origin, n = headers[n-1].Value, n-1
	if n > 0 && headers[n-1].Key == BarrierHeader {
		barrier, n = headers[n-1].Value, n-1
	}
	return origin, barrier, headers[:n:n]
}

var errShort = errors.New("it ends too early, or a number is too large")

func headerBody(data []byte) ([]byte, error) {
	if len(data) == 0 {
		return nil, errShort
	}
	if data[0] != headerVersion {
		return nil, fmt.Errorf("header % x has version %d, this program knows %d", data, data[0], headerVersion)
	}
	return data[1:], nil
}

func takeUvarint(data []byte, limit uint64) (int64, []byte, error) {
	v, n := binary.Uvarint(data)
	if n <= 0 || v > limit {
		return 0, nil, errShort
	}
	return int64(v), data[n:], nil
}
