package record

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
)

// TopicPartition names one partition of a topic.
type TopicPartition struct {
	Topic     string
	Partition int32
}

// String returns "topic-partition", as Kafka's tools print it.
func (tp TopicPartition) String() string { return tp.Topic + "-" + strconv.Itoa(int(tp.Partition)) }

// Compare orders by topic, then by partition.
func (tp TopicPartition) Compare(other TopicPartition) int {
	if c := cmp.Compare(tp.Topic, other.Topic); c != 0 {
		return c
	}
	return cmp.Compare(tp.Partition, other.Partition)
}

// TaskID names a task: a sub-topology and a partition of its inputs. Its text form is Kafka Streams' "0_3".
type TaskID struct {
	Subtopology int32
	Partition   int32
}

// GlobalTaskID is the task that keeps the global stores of an instance, "-1_-1". It belongs to no sub-topology and no
// partition.
func GlobalTaskID() TaskID { return TaskID{Subtopology: -1, Partition: -1} }

// String returns "subtopology_partition".
func (id TaskID) String() string {
	return strconv.Itoa(int(id.Subtopology)) + "_" + strconv.Itoa(int(id.Partition))
}

// Compare orders by sub-topology, then by partition.
func (id TaskID) Compare(other TaskID) int {
	if c := cmp.Compare(id.Subtopology, other.Subtopology); c != 0 {
		return c
	}
	return cmp.Compare(id.Partition, other.Partition)
}

// MarshalText implements encoding.TextMarshaler: JSON has task ids in their text form, also as keys.
func (id TaskID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (id *TaskID) UnmarshalText(text []byte) (err error) {
	*id, err = ParseTaskID(string(text))
	return err
}

// ParseTaskID parses the text form that [TaskID.String] gives.
func ParseTaskID(s string) (TaskID, error) {
	sub, part, ok := strings.Cut(s, "_")
	a, errA := strconv.ParseInt(sub, 10, 32)
	b, errB := strconv.ParseInt(part, 10, 32)
	if !ok || errA != nil || errB != nil || a < 0 || b < 0 {
		return TaskID{}, fmt.Errorf("record: %q is not a task id: want <sub-topology>_<partition>, as in 0_3", s)
	}
	return TaskID{Subtopology: int32(a), Partition: int32(b)}, nil
}

// Epoch numbers the transactions of one task: the writes between two commits belong to one epoch. Epochs grow by one;
// 0 means that nothing was ever committed. The upper half is the era, which begins anew when an application starts from
// a savepoint: state of another era is state of another life.
type Epoch uint64

const eraShift = 32

// Era returns the upper half.
func (e Epoch) Era() uint64 { return uint64(e) >> eraShift }

// EpochOf returns the first epoch of an era.
func EpochOf(era uint64) Epoch { return Epoch(era << eraShift) }
