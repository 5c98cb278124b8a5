package tidemark

import (
	"cmp"
	"encoding/binary"
	"maps"
	"slices"
	"time"

	"github.com/tidemarkio/tidemark/record"
)

func sortedPartitions(p Position) []record.TopicPartition {
	return slices.SortedFunc(maps.Keys(p), record.TopicPartition.Compare)
}

// appendMetadata encodes what a client needs to route.
func appendMetadata(dst []byte, m *Metadata) []byte {
	dst = binary.AppendVarint(append(dst, queryVersion), m.At.UnixMilli())
	dst = binary.AppendUvarint(dst, uint64(len(m.Instances)))
	for _, i := range m.Instances {
		for _, s := range []string{i.Endpoint, i.MemberID, i.InstanceID, i.ProcessID} {
			dst = appendBytes(dst, []byte(s))
		}
		dst = appendTaskIDs(appendTaskIDs(dst, i.Active), i.Standby)
	}
	dst = binary.AppendUvarint(dst, uint64(len(m.Stores)))
	for _, s := range m.Stores {
		dst = appendBytes(appendBytes(dst, []byte(s.Name)), []byte(s.Type))
		global := byte(0)
		if s.Global {
			global = 1
		}
		dst = binary.AppendVarint(append(dst, global), int64(s.Subtopology))
		dst = binary.AppendVarint(binary.AppendVarint(dst, int64(s.Partitions)), int64(s.KeyWindowBytes))
	}
	return dst
}

func appendTaskIDs(dst []byte, ids []record.TaskID) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(ids)))
	for _, id := range ids {
		dst = binary.AppendUvarint(dst, uint64(uint32(id.Subtopology)))
		dst = binary.AppendUvarint(dst, uint64(uint32(id.Partition)))
	}
	return dst
}

// decodeMetadata decodes what an instance says of its cluster.
func decodeMetadata(data []byte) (m Metadata, err error) {
	d := wireReader{data: data}
	d.version()
	m.At = time.UnixMilli(d.varint())
	const instanceBytesMin, storeBytesMin = 6, 6
	for range d.count(instanceBytesMin) {
		m.Instances = append(m.Instances, InstanceMetadata{
			Endpoint: string(d.bytes()), MemberID: string(d.bytes()), InstanceID: string(d.bytes()),
			ProcessID: string(d.bytes()), Active: d.taskIDs(), Standby: d.taskIDs(),
		})
	}
	for range d.count(storeBytesMin) {
		s := StoreMetadata{Name: string(d.bytes()), Type: string(d.bytes()), Global: d.byte() == 1}
		s.Subtopology, s.Partitions, s.KeyWindowBytes = d.partition(), d.partition(), int(d.partition())
		m.Stores = append(m.Stores, s)
	}
	slices.SortFunc(m.Stores, func(a, b StoreMetadata) int { return cmp.Compare(a.Name, b.Name) })
	return m, d.end("metadata")
}

func (d *wireReader) taskIDs() []record.TaskID {
	const taskBytesMin = 2
	n := d.count(taskBytesMin)
	if n == 0 {
		return nil
	}
	ids := make([]record.TaskID, 0, n)
	for range n {
		sub, partition := d.uvarint(), d.uvarint()
		if sub|partition > 1<<31-1 {
			d.fail("task %d_%d", sub, partition)
			return nil
		}
		ids = append(ids, record.TaskID{Subtopology: int32(sub), Partition: int32(partition)})
	}
	return ids
}
