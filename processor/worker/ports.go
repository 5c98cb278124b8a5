package worker

import (
	"context"
	"errors"
	"time"

	"github.com/tidemarkio/tidemark/eos"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/store"
)

// Fetcher is the port through which records come in: read_committed under every guarantee (isolation.level).
// internal/kafka implements it. One fetcher serves one worker; its methods are called by the worker goroutine.
//
// Flow control: each partition has at most two batches out; [Fetcher.Release] gives one back. A slow task therefore
// stops its own partitions and nobody else's.
type Fetcher interface {
	// Add starts fetching a partition at an offset. Adding a partition that is there already moves it.
	Add(tp record.TopicPartition, offset int64)
	// Remove stops fetching. Batches of it that are still on their way are not delivered.
	Remove(tp record.TopicPartition)
	// Batches delivers fetched batches. Batches fetched before the last Add or Remove of their partition may still
	// come out: [Fetcher.Stale] tells.
	Batches() <-chan *Fetched
	Stale(f *Fetched) bool
	Release(f *Fetched)
	// Buffered returns how many bytes of keys and values the batches of a partition hold that are out: on their way to the
	// worker, or not released. Safe for concurrent use.
	Buffered(tp record.TopicPartition) int
	Close() error
}

// Fetched is what one fetch brought of one partition.
type Fetched struct {
	TopicPartition record.TopicPartition
	Records        []record.Raw
	Bytes          int // of their keys and values
	// Next is the position behind the batch. It also moves over transaction markers and aborted records, so a batch
	// may have a Next and no records. After Add a first batch comes even if there is nothing to read, to say so.
	Next int64
	// HighWatermark is the end of the partition (last stable offset) when the batch was fetched, for lag.
	HighWatermark int64
	// Err ends the fetching of this partition until it is added again: ErrOffsetOutOfRange, or an error that no retry
	// mends (authorization, deleted topic). Transient errors are retried inside.
	Err error
	// Generation belongs to the Fetcher.
	Generation uint64
}

// ErrOffsetOutOfRange says that the position is below the start or beyond the end of the log.
var ErrOffsetOutOfRange = errors.New("offset out of range")

// Group is the port to the consumer group: one member per App, cooperative protocol (KIP-429), static if it has an
// instance id (KIP-345).
type Group interface {
	// Run joins and stays a member until ctx ends or membership fails for good (fenced instance id, authorization).
	// It calls the handler from its own goroutine and heartbeats meanwhile. On return a dynamic member has left the
	// group; a static one stays for its session timeout, unless LeaveOnClose was configured.
	Run(ctx context.Context, handler GroupHandler) error
	// Member returns the current identity. Generation is -1 while not a member. Safe for concurrent use.
	Member() eos.Member
	// Rejoin asks for a rebalance, e.g. because partitions were added. Safe for concurrent use.
	Rejoin(reason string)
}

// GroupHandler is told what the group decides. Calls come from the group's goroutine, one at a time.
type GroupHandler interface {
	// Subscription is asked before every join: topics, and user data for the assignor.
	Subscription() (topics []string, userData []byte)
	// Owned returns the partitions still held, for the cooperative protocol's owned partitions.
	Owned() []record.TopicPartition
	// Assign is asked on the member that leads the group.
	Assign(ctx context.Context, members []GroupMember) (map[string]GroupAssignment, error)
	// Assigned brings the new assignment, of which revoked partitions are already missing. It hands over what is no
	// longer assigned (commit or drop) before it returns. Its error ends Run, and the member leaves the group, also a
	// static one.
	Assigned(ctx context.Context, a GroupAssignment) (Afterwards, error)
	// Lost says that membership ended without a chance to commit (session expired, fenced): drop everything.
	Lost(err error)
}

// Afterwards is how a member goes on after an assignment.
type Afterwards struct {
	// Rejoin: it joins again at once, so that others can get what was given up.
	Rejoin bool
	// Pending: another rebalance follows soon, and the member asks for it often: see [PendingHeartbeat].
	Pending bool
}

// PendingHeartbeat is the longest time between the heartbeats of a member while a hand-over is under way: until the
// next assignment, at most for the group's rebalance timeout.
const PendingHeartbeat = 100 * time.Millisecond

// GroupMember is a member as the leader sees it.
type GroupMember struct {
	MemberID   string
	InstanceID string
	Topics     []string
	UserData   []byte
	Owned      []record.TopicPartition
	Generation int32 // of Owned; -1 unknown
	Leader     bool  // the member that assigns
}

// GroupAssignment is what one member gets.
type GroupAssignment struct {
	Partitions []record.TopicPartition
	UserData   []byte
}

// Admin is the port to what is neither produced nor consumed. Every call is bounded by ctx and retries transient
// errors.
type Admin interface {
	// Partitions returns the number of partitions of each topic that exists; the others are absent.
	Partitions(ctx context.Context, topics []string) (map[string]int32, error)
	// TopicConfig returns the topic's effective configuration.
	TopicConfig(ctx context.Context, topic string) (map[string]string, error)
	// CreateTopic creates a topic. One that exists already is not an error. replication -1 is the broker's default.
	CreateTopic(ctx context.Context, topic string, partitions int32, replication int16, config map[string]string) error
	// StartOffsets and EndOffsets return log start, and high watermark (uncommitted) or last stable offset (committed).
	StartOffsets(ctx context.Context, tps []record.TopicPartition) (map[record.TopicPartition]int64, error)
	EndOffsets(ctx context.Context, tps []record.TopicPartition, committed bool) (map[record.TopicPartition]int64, error)
	// CommittedOffsets reads the group's offsets with RequireStable (KIP-447): ErrUnstableOffsets while a transaction
	// that would change them is open. A partition without offset is absent.
	CommittedOffsets(
		ctx context.Context, group string, tps []record.TopicPartition) (map[record.TopicPartition]eos.Offset, error)
	// PossiblyUnstableOffsets reads what was committed last, without regard to open transactions.
	PossiblyUnstableOffsets(
		ctx context.Context, group string, tps []record.TopicPartition) (map[record.TopicPartition]eos.Offset, error)
	// BlockingProducers returns the transactional ids whose open transactions hold back a partition's last stable
	// offset, as far as the broker can tell (KIP-664); none if it cannot.
	BlockingProducers(ctx context.Context, tp record.TopicPartition) ([]string, error)
	// DeleteRecords purges partitions below the given offsets.
	DeleteRecords(ctx context.Context, before map[record.TopicPartition]int64) error
}

// ErrUnstableOffsets says that an open transaction holds back the group's offsets.
var ErrUnstableOffsets = errors.New("committed offsets are held back by an open transaction")

// StateDir is the port to the application's state directory; store.StateDir implements it.
type StateDir interface {
	// TaskDir returns the directory of a task's stores.
	TaskDir(id record.TaskID) string
	// Trusted reports whether what lies there may be used, and if not, why.
	Trusted(id record.TaskID) (ok bool, reason string)
	// MarkOpen and MarkClean tell whether a task is in use or was closed cleanly; position is the sum of its positions in
	// changelogs, -1 if it is unknown.
	MarkOpen(id record.TaskID) error
	MarkClean(id record.TaskID, position int64) error
	// Remove deletes a task's directory.
	Remove(id record.TaskID) error
	// Tasks lists the tasks with a directory.
	Tasks() ([]store.TaskState, error)
}
