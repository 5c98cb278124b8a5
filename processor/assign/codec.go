package assign

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/tidemarkio/tidemark/record"
)

// Limits of what the decoder accepts. A group of this size does not fit the broker's message limit anyway.
const (
	tasksMax       = 1 << 20
	stringBytesMax = 1 << 12
	tagsMax        = 1 << 8
)

// appendString cuts what is too long: only a refusal can be, and its beginning tells enough.
func appendString(dst []byte, s string) []byte {
	s = s[:min(len(s), stringBytesMax)]
	dst = binary.AppendUvarint(dst, uint64(len(s)))
	return append(dst, s...)
}

func appendBool(dst []byte, b bool) []byte {
	if b {
		return append(dst, 1)
	}
	return append(dst, 0)
}

func appendTags(dst []byte, tags map[string]string) []byte {
	keys := slices.Sorted(maps.Keys(tags))
	keys = keys[:min(len(keys), tagsMax)]
	dst = binary.AppendUvarint(dst, uint64(len(keys)))
	for _, key := range keys {
		dst = appendString(dst, key)
		dst = appendString(dst, tags[key])
	}
	return dst
}

// appendTasks writes a set of tasks: each sub-topology once, and of its partitions the distances, so that a task of a
// dense set takes a byte. The coordinator keeps what all members write in one record of a megabyte.
func appendTasks(dst []byte, tasks []record.TaskID) []byte {
	groups := groupBySubtopology(tasks)
	dst = binary.AppendUvarint(dst, uint64(len(groups)))
	sub := int64(-1)
	for _, group := range groups {
		dst = binary.AppendUvarint(dst, uint64(int64(group[0].Subtopology)-sub-1))
		dst = binary.AppendUvarint(dst, uint64(len(group)))
		sub = int64(group[0].Subtopology)
		partition := int64(-1)
		for _, t := range group {
			dst = binary.AppendUvarint(dst, uint64(int64(t.Partition)-partition-1))
			partition = int64(t.Partition)
		}
	}
	return dst
}

// appendPositions writes a number for each of the tasks, in their order: 0 if the position is not known, or one more
// than it.
func appendPositions(dst []byte, tasks []record.TaskID, positions map[record.TaskID]int64) []byte {
	for _, group := range groupBySubtopology(tasks) {
		for _, t := range group {
			position, ok := positions[t]
			if !ok || position < 0 || position == math.MaxInt64 {
				position = -1
			}
			dst = binary.AppendUvarint(dst, uint64(position+1))
		}
	}
	return dst
}

// decoder reads fields until the first error, which end reports.
type decoder struct {
	data  []byte
	newer bool // a later version than ours: fields that we do not know may follow
	err   error
}

func (d *decoder) fail(err error) {
	if d.err == nil {
		d.err = err
	}
	d.data = nil
}

func (d *decoder) version() byte {
	if len(d.data) == 0 {
		d.fail(fmt.Errorf("%w: empty", ErrMalformed))
		return 0
	}
	v := d.data[0]
	d.data = d.data[1:]
	d.newer = v > Version
	if v < OldestVersion {
		d.fail(fmt.Errorf("%w %d, this build reads %d and later: upgrade the older members of the group first",
			ErrVersion, v, OldestVersion))
	}
	return v
}

func (d *decoder) uvarint() uint64 {
	if d.err != nil {
		return 0
	}
	v, n := binary.Uvarint(d.data)
	if n <= 0 {
		d.fail(fmt.Errorf("%w: truncated", ErrMalformed))
		return 0
	}
	d.data = d.data[n:]
	return v
}

// small reads a number that counts things.
func (d *decoder) small(what string) int {
	n := d.uvarint()
	if n > tasksMax {
		d.fail(fmt.Errorf("%w: %d %s", ErrMalformed, n, what))
		return 0
	}
	return int(n)
}

func (d *decoder) bool() bool {
	n := d.uvarint()
	if n > 1 {
		d.fail(fmt.Errorf("%w: a flag of %d", ErrMalformed, n))
	}
	return n == 1
}

func (d *decoder) string() string {
	n := d.uvarint()
	if n > stringBytesMax || n > uint64(len(d.data)) {
		d.fail(fmt.Errorf("%w: string of %d bytes in %d", ErrMalformed, n, len(d.data)))
		return ""
	}
	s := string(d.data[:n])
	d.data = d.data[n:]
	return s
}

func (d *decoder) tags() map[string]string {
	n := d.uvarint()
	if n > tagsMax {
		d.fail(fmt.Errorf("%w: %d tags", ErrMalformed, n))
		return nil
	}
	if n == 0 {
		return nil
	}
	tags := make(map[string]string, n)
	for range n {
		key := d.string()
		tags[key] = d.string()
	}
	if d.err != nil {
		return nil
	}
	return tags
}

// next reads the distance to the one before, and returns the next id.
func (d *decoder) next(before int64) int64 {
	distance := d.uvarint()
	if distance > math.MaxInt32 || before+1+int64(distance) > math.MaxInt32 {
		d.fail(fmt.Errorf("%w: %d after %d", ErrMalformed, distance, before))
		return before
	}
	return before + 1 + int64(distance)
}

func (d *decoder) tasks() []record.TaskID {
	var tasks []record.TaskID
	sub := int64(-1)
	for range d.small("sub-topologies") {
		sub = d.next(sub)
		n := d.uvarint()
		if d.err == nil && (n > tasksMax || n > uint64(len(d.data)) || n == 0) { // a task takes a byte at least
			d.fail(fmt.Errorf("%w: %d tasks in %d bytes", ErrMalformed, n, len(d.data)))
		}
		if d.err != nil {
			return nil
		}
		tasks = slices.Grow(tasks, int(n))
		partition := int64(-1)
		for range n {
			partition = d.next(partition)
			tasks = append(tasks, record.TaskID{Subtopology: int32(sub), Partition: int32(partition)})
		}
	}
	if d.err != nil {
		return nil
	}
	return tasks
}

func (d *decoder) positions(tasks []record.TaskID) map[record.TaskID]int64 {
	var positions map[record.TaskID]int64
	for _, t := range tasks {
		n := d.uvarint()
		if n > math.MaxInt64 {
			d.fail(fmt.Errorf("%w: position %d", ErrMalformed, n))
		}
		if d.err != nil {
			return nil
		}
		if n == 0 {
			continue
		}
		if positions == nil {
			positions = make(map[record.TaskID]int64, len(tasks))
		}
		positions[t] = int64(n - 1)
	}
	return positions
}

func (d *decoder) end() error {
	if d.err == nil && len(d.data) > 0 && !d.newer {
		d.fail(fmt.Errorf("%w: %d bytes too many", ErrMalformed, len(d.data)))
	}
	return d.err
}
