package processor

import (
	"fmt"

	"github.com/tidemarkio/tidemark/record"
)

// Failure describes a record that could not be handled, for an error handler. A punctuator, or what a record cache
// forwards at a commit, fails without a record: TopicPartition and Record are zero then.
type Failure struct {
	Stage          Stage
	Task           record.TaskID
	Node           string
	TopicPartition record.TopicPartition // of the input record; of the output for Production
	Record         record.Raw            // aliases the fetched buffer: copy what you keep
	Err            error
}

// Stage says where a record failed.
type Stage int

// Stages of failure.
const (
	Deserialization Stage = iota // key or value could not be decoded
	Processing                   // a processor or function returned an error or panicked
	Production                   // the broker refuses the record
)

// String names the stage.
func (s Stage) String() string {
	switch s {
	case Deserialization:
		return "deserialization"
	case Processing:
		return "processing"
	case Production:
		return "production"
	}
	return fmt.Sprintf("stage %d", int(s))
}

// Action is what to do about a failed record.
type Action struct {
	kind  actionKind
	topic string
}

type actionKind int

const (
	actionFail actionKind = iota
	actionContinue
	actionDeadLetter
)

// Handler decides about failed records (deserialization.exception.handler, processing.exception.handler,
// production.exception.handler). It runs on the task goroutine and must not block.
type Handler func(f Failure) Action

// Fail stops the application with the error. The default.
func Fail() Handler { return func(Failure) Action { return FailAction() } }

// Continue logs the record's place and skips it.
func Continue() Handler { return func(Failure) Action { return ContinueAction() } }

// DeadLetter writes the record to a topic, inside the same transaction, with its origin and the error in headers
// (KIP-1034), and goes on. The topic must exist.
func DeadLetter(topic string) Handler {
	return func(Failure) Action { return DeadLetterAction(topic) }
}

// FailAction stops the application.
func FailAction() Action { return Action{kind: actionFail} }

// ContinueAction skips the record.
func ContinueAction() Action { return Action{kind: actionContinue} }

// DeadLetterAction writes the record to topic and goes on.
func DeadLetterAction(topic string) Action { return Action{kind: actionDeadLetter, topic: topic} }

// IsFail reports whether the application stops.
func (a Action) IsFail() bool { return a.kind == actionFail }

// DeadLetterTopic returns the topic, "" if the record is not dead-lettered.
func (a Action) DeadLetterTopic() string { return a.topic }

// DeserializationError says that a key or value could not be decoded.
type DeserializationError struct {
	Node string
	Part string // "key" or "value"
	Err  error
}

func (e *DeserializationError) Error() string {
	return fmt.Sprintf("processor: source %q cannot decode the %s: %v", e.Node, e.Part, e.Err)
}

func (e *DeserializationError) Unwrap() error { return e.Err }

// UserError is an error or panic of user code: a processor, a function given to an operator, a punctuator.
type UserError struct {
	Task           record.TaskID
	Node           string
	TopicPartition record.TopicPartition // of the input record; zero if there is none
	Offset         int64
	// During says what user code did without a record of its own: DuringInit, DuringPunctuator, DuringTimer, DuringFlush,
	// DuringExpiry or DuringClose; "" while a record was processed.
	During string
	Stack  []byte // of a panic, else nil
	Err    error
}

// LookupError says that the brokers did not tell how many partitions a topic has that a record is to be written to. It
// is nobody's mistake: no handler may skip the record for it.
type LookupError struct {
	Task  record.TaskID
	Topic string
	Err   error
}

func (e *LookupError) Error() string {
	return fmt.Sprintf("processor: task %s cannot look output topic %q up: %v", e.Task, e.Topic, e.Err)
}

func (e *LookupError) Unwrap() error { return e.Err }

// BufferFullError says that what a suppress holds back has reached its limit, and must not leave early. To skip the
// record would lose results: no handler is asked.
type BufferFullError struct {
	Task  record.TaskID
	Node  string
	Store string
	// Records and Bytes are what the buffer holds. A limit of -1 is none.
	Records, MaxRecords int64
	Bytes, MaxBytes     int64
}

func (e *BufferFullError) Error() string {
	what, limit := fmt.Sprintf("%d records of at most %d", e.Records, e.MaxRecords), "MaxRecords"
	if e.MaxRecords < 0 || e.Records <= e.MaxRecords {
		what, limit = fmt.Sprintf("%d bytes of at most %d", e.Bytes, e.MaxBytes), "MaxBytes"
	}
	return fmt.Sprintf("processor: node %q of task %s: suppress buffer full: the store %q would hold %s (raise %s, "+
		"wait for less time, or use UntilTimeLimit with EmitEarlyWhenFull)", e.Node, e.Task, e.Store, what, limit)
}

// What user code may do beside processing a record.
const (
	DuringInit       = "Init"
	DuringPunctuator = "a punctuator"
	DuringTimer      = "a timer"
	DuringFlush      = "the flush of a record cache"
	DuringExpiry     = "the expiry of an entry"
	DuringClose      = "Close"
)

func (e *UserError) Error() string {
	what := "failed"
	if e.Stack != nil {
		what = "panicked"
	}
	where, hint := "", " (set OnProcessingError to skip or dead-letter such records)"
	switch e.During {
	case "":
	case DuringInit, DuringClose:
		where, hint = " in "+e.During, ""
	default:
		where, hint = " in "+e.During, " (set OnProcessingError to go on after such errors)"
	}
	if e.TopicPartition.Topic != "" {
		where += fmt.Sprintf(" on %s offset %d", e.TopicPartition, e.Offset)
	}
	return fmt.Sprintf("processor: node %q of task %s %s%s: %v%s", e.Node, e.Task, what, where, e.Err, hint)
}

func (e *UserError) Unwrap() error { return e.Err }
