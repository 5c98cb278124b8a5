package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/tidemarkio/tidemark/record"
)

// When the number of partitions changes, a task's keys come from several tasks of before, each of which had a time of
// its own. The task goes on with the least of them, so that nothing is late that would not have been, and remembers
// what the others had: for their keys more was late already, and more windows were emitted. What is remembered of a
// task no longer matters once the clock has passed it.

// tasksBefore is what the tasks had when there were so many partitions. Immutable.
type tasksBefore struct {
	partitions int32
	values     map[int32]int64 // by partition
}

// at returns what the task of a key had, -1 if that is not remembered.
func (t *tasksBefore) at(hash uint32) int64 {
	if v, ok := t.values[record.PartitionOfHash(hash, t.partitions)]; ok {
		return v
	}
	return clockStart
}

// latestOf is the greatest value remembered, -1 if there is none.
func latestOf(before []tasksBefore) int64 {
	latest := int64(clockStart)
	for i := range before {
		for _, v := range before[i].values {
			latest = max(latest, v)
		}
	}
	return latest
}

// Before returns what the clock had shown to a key in the task that the key was in, before the number of partitions
// changed: -1 if it is not remembered, since it does not matter or there was no change. hash is [record.Murmur2] of
// what chooses the key's partition.
func (c *Clock) Before(hash uint32) int64 {
	value := int64(clockStart)
	for i := range c.before {
		value = max(value, c.before[i].at(hash))
	}
	return value
}

// LatestBefore is the greatest that Before returns for any key.
func (c *Clock) LatestBefore() int64 { return c.latestBefore }

// NowOf is the clock's value for a key: Now, or Before if that is greater.
func (c *Clock) NowOf(hash uint32) int64 {
	if c.latestBefore <= c.now {
		return c.now
	}
	return max(c.now, c.Before(hash))
}

// A clock's row is its value, i64, and if something is remembered (docs/format/window-stores.md):
//
//	│ value i64 │ version 1 │ sets uvarint │ sets × (partitions, n, n × (partition, value + 1)), all uvarints │
const clockVersion = 1

var errClockRow = errors.New("it is malformed: was it written by a newer release?")

// appendClock writes a clock's row, without what the value has passed.
func appendClock(dst []byte, now int64, before []tasksBefore) []byte {
	dst = binary.BigEndian.AppendUint64(dst, uint64(now))
	if latestOf(before) <= now {
		return dst
	}
	var sets [][]byte
	for i := range before {
		t := &before[i]
		var entries []byte
		n := uint64(0)
		for _, p := range slices.Sorted(maps.Keys(t.values)) {
			if v := t.values[p]; v > now {
				entries = binary.AppendUvarint(binary.AppendUvarint(entries, uint64(p)), uint64(v)+1)
				n++
			}
		}
		if n > 0 {
			head := binary.AppendUvarint(binary.AppendUvarint(nil, uint64(t.partitions)), n)
			sets = append(sets, append(head, entries...))
		}
	}
	dst = binary.AppendUvarint(append(dst, clockVersion), uint64(len(sets)))
	for _, set := range sets {
		dst = append(dst, set...)
	}
	return dst
}

// parseClock reads what appendClock wrote.
func parseClock(data []byte) (now int64, before []tasksBefore, err error) {
	if len(data) < clockBytes {
		return 0, nil, fmt.Errorf("a clock has %d bytes, not %d", clockBytes, len(data))
	}
	now, rest := int64(binary.BigEndian.Uint64(data)), data[clockBytes:]
	if len(rest) == 0 {
		return now, nil, nil
	}
	if rest[0] != clockVersion {
		return 0, nil, errClockRow
	}
	r := uvarints{rest[1:], false}
	for sets := r.next(); sets > 0 && !r.bad; sets-- {
		t := tasksBefore{partitions: r.partition(), values: make(map[int32]int64)}
		for n := r.next(); n > 0 && !r.bad; n-- {
			p, v := r.partition(), int64(r.next()-1)
			r.bad = r.bad || p >= t.partitions || v < 0
			t.values[p] = v
		}
		r.bad = r.bad || t.partitions == 0
		before = append(before, t)
	}
	if r.bad || len(r.rest) > 0 {
		return 0, nil, errClockRow
	}
	return now, before, nil
}

// uvarints reads numbers until one is bad.
type uvarints struct {
	rest []byte
	bad  bool
}

func (u *uvarints) next() uint64 {
	v, n := binary.Uvarint(u.rest)
	if n <= 0 {
		u.bad, u.rest = true, nil
		return 0
	}
	u.rest = u.rest[n:]
	return v
}

func (u *uvarints) partition() int32 {
	v := u.next()
	u.bad = u.bad || v > maxPartition
	return int32(v & maxPartition)
}

const maxPartition = 1<<31 - 1
