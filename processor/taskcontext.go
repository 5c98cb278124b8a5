package processor

import (
	"log/slog"
	"time"

	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/store"
)

// TaskContext is what a task offers to its nodes. All of it belongs to the task goroutine.
type TaskContext interface {
	ApplicationID() string
	TaskID() record.TaskID
	Logger() *slog.Logger
	// Store returns a store of the task that the node declared, or a view of a global store.
	Store(name string) (store.Store, error)
	// Output resolves a topic to write to. An internal topic is named without the application id. The error is a
	// *LookupError unless the topic does not exist.
	Output(topic string) (Output, error)
	// Current is the input record being processed; the pointer stays the same for the life of the task.
	Current() *RecordMetadata
	// StreamTime is the highest timestamp that the task has processed, -1 before the first.
	StreamTime() int64
	// WallClock is the time of the current step in milliseconds since the Unix epoch.
	WallClock() int64
	// Schedule calls fn at each interval of the given time, from the task goroutine, until cancelled. Stream-time
	// punctuators are first due on the first record, wall-clock ones after one interval.
	Schedule(node string, interval time.Duration, kind PunctuationType, fn func(timestamp int64) error) (cancel func())
	// AddAlarm has a called whenever the given time reaches a.Due, from the task goroutine. changed is to be called when
	// Due has become earlier. name is unique for each kind in a task.
	AddAlarm(node, name string, kind PunctuationType, a Alarm) (changed func(), err error)
	// RequestCommit asks for a commit as soon as the current record is done.
	RequestCommit()
	// Enter notes the node whose user code runs next, so that a panic can be attributed. It costs one store.
	Enter(node string)
	// Dropped counts a record that an operator skipped (dropped-records), with the reason for the log.
	Dropped(node, reason string)
}

// Alarm is something to do at times of its own choice, as [Timers] have. Owned by the task goroutine.
type Alarm interface {
	// Due is the time from which on Fire may have something to do; math.MaxInt64 if there is nothing to do.
	Due() int64
	// Fire does what is due. After an error of user code, and if a handler lets it pass, it is called again for the rest.
	Fire(now int64) error
	// Reset says that stores were rolled back to the last commit.
	Reset()
}

// Output is a topic that a sink writes to. Records wait in memory until the commit.
type Output interface {
	// Send writes a record to the partition that the default partitioner (murmur2 of the key, as in Kafka's Java
	// client; round robin for a null key) chooses. nil is null. The slices are copied.
	Send(key, value []byte, timestamp int64, headers []record.Header) error
	// SendTo writes to a given partition.
	SendTo(partition int32, key, value []byte, timestamp int64, headers []record.Header) error
	// Partitions returns the number of partitions of the topic.
	Partitions() int32
}

// RecordMetadata says where the record being processed came from. In a punctuator Topic is "".
type RecordMetadata struct {
	store.Context // timestamp and headers

	Topic     string
	Partition int32
	Offset    int64
}

// PunctuationType says which time drives a punctuator.
type PunctuationType int

// Times of punctuators.
const (
	// StreamTime advances with the timestamps of processed records.
	StreamTime PunctuationType = iota
	// WallClockTime is the system's clock.
	WallClockTime
)
