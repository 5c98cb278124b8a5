package eos

import (
	"context"

	"github.com/tidemarkio/tidemark/record"
)

// Producer is the port to Kafka's producer: a transactional one under exactly_once_v2, an idempotent one under
// at_least_once. internal/kafka implements it; processor/worker/commit.go is its only caller and keeps this order:
//
//	Init (once, and after every error that is not ErrRetry)
//	  ┌► Begin(partitions) → Send(batches) and SendOffsets(offsets), in any order or at once → Commit ─┐
//	  │                                 └──────────────── on error ──────────────► Abort                │
//	  └─────────────────────────────────────────────────────────────────────────────────────────────────┘
//
// Under at_least_once Begin and Abort do nothing, and SendOffsets must come after Send: it commits plainly.
// Methods are called by one goroutine at a time, except that Send and SendOffsets may overlap.
// Every error is classified by [Classify].
type Producer interface {
	// Init acquires the producer id and epoch. It fences older producers of the same transactional id and waits until
	// their open transaction is aborted or their prepared commit completed: afterwards the outcome of everything that
	// this id ever sent is decided.
	Init(ctx context.Context) error
	// Begin adds partitions, and the group's offsets if there will be any, to a new transaction.
	Begin(ctx context.Context, partitions []record.TopicPartition, withOffsets bool) error
	// Send produces whole batches and waits until the broker has acknowledged all of them. The result holds, for each
	// batch, the offset behind its last record. Batches are only read. A *RecordTooLargeError names the record.
	Send(ctx context.Context, batches []*record.Batch) ([]int64, error)
	// SendOffsets adds the input offsets to the transaction, in the name of the group member (KIP-447).
	SendOffsets(ctx context.Context, member Member, offsets map[record.TopicPartition]Offset) error
	// Commit ends the transaction. An ErrUnknownOutcome error means that it may or may not have committed: Init, then
	// compare the group's committed offsets.
	Commit(ctx context.Context) error
	// Abort ends the transaction and drops it. After an error from Abort, Init does the same.
	Abort(ctx context.Context) error
	// TransactionalID returns the id, "" under at_least_once.
	TransactionalID() string
	// Close releases connections. It does not abort: that is the caller's duty.
	Close() error
}

// Member identifies a member of the consumer group at one generation.
type Member struct {
	GroupID    string
	MemberID   string
	InstanceID string // group.instance.id, "" for a dynamic member
	Generation int32
}

// Offset is a committed position: the offset of the next record to read, and text that travels with it.
type Offset struct {
	Offset   int64
	Metadata string
}
