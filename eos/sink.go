package eos

import (
	"context"
	"errors"
	"log/slog"

	"github.com/tidemarkio/tidemark/record"
)

// Sink is the port to a system outside of Kafka that takes part in our commits: a database, files, a service. R is what
// one record becomes there: a row, a line, a message. topology.SinkTo writes a stream to one.
//
// A two-phase sink (Flink's TwoPhaseCommitSinkFunction) prepares what an epoch wrote so that it survives a crash of
// both sides and is not visible yet. The Kafka transaction then decides: its offsets carry the names of what was
// prepared.
//
//	epoch ─► Prepare(name) ─► Kafka commit with the name ─► Commit(name)
//	                              └─ aborted ─────────────► Abort(name)
//	a task comes (back) up: Recover ─► Commit what the committed offsets name, Abort the rest
//
// An idempotent sink makes rows visible in Prepare, and writes them so that repeating it is harmless (upserts by key).
// After a crash its readers may have seen rows of an epoch that is processed again; the last state is the same.
//
// Methods are called by several goroutines.
type Sink[R any] interface {
	// String names the target in descriptions and messages, as in "postgres table orders"; no secrets.
	String() string
	// Idempotent says which of the two kinds it is. Only an idempotent sink can be used under [AtLeastOnce].
	Idempotent() bool
	// SizeBytes estimates the memory that a row takes until it is committed.
	SizeBytes(row R) int
	// Connect makes the connection of one task. It may do I/O, and must not change anything yet.
	Connect(ctx context.Context, at SinkTask) (SinkConn[R], error)
}

// SinkTask says whom a connection is for.
type SinkTask struct {
	ApplicationID string
	Sink          string // name of the operator
	Task          record.TaskID
	Logger        *slog.Logger
}

// SinkConn is the connection of a task to a sink. Its methods are called by one goroutine at a time: Recover first.
type SinkConn[R any] interface {
	Participant

	// Prepare writes the rows of an epoch, in order, and prepares them under the name: afterwards Commit must succeed
	// however often it takes. rows are only read, and not beyond the call. After an error Abort of the same name follows,
	// and the same rows may come again under this or another name.
	Prepare(ctx context.Context, name TransactionName, rows []R) error
}

// Participant is what a commit needs to know of a task's connection to a sink.
type Participant interface {
	// Recover takes the task over from its owner before, who is dead or deposed, and returns what is prepared of the task
	// for this sink. When it has returned, no other connection may be able to prepare anything for the two any more,
	// also if its request is already on its way: only then is the list complete.
	Recover(ctx context.Context) ([]TransactionName, error)
	// Commit makes a prepared transaction visible. It is retried until it succeeds. If there is none of that name (an
	// attempt before may have succeeded without an answer) it returns ErrNotPrepared. ErrFenced says that a newer owner
	// has recovered, and will do it or has: return it only if that is certain.
	Commit(ctx context.Context, name TransactionName) error
	// Abort drops a transaction, whether Prepare succeeded, failed, or is still executed by the other side. It returns
	// nil only when the transaction cannot become prepared any more. One that does not exist is no error.
	Abort(ctx context.Context, name TransactionName) error
	// Close gives the connection back. What is prepared stays.
	Close() error
}

// ErrNotPrepared says that there is no prepared transaction of that name.
var ErrNotPrepared = errors.New("there is no such prepared transaction")
