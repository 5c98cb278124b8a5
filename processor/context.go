package processor

import (
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"time"

	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/store"
)

// Context is what a [Processor] works with (Kafka Streams' ProcessorContext). K and V are the types it forwards. It
// belongs to the task goroutine: do not use it from another one.
type Context[K, V any] interface {
	ProcessingContext

	// Forward hands r to all children, in the order of their declaration, and returns when they are done.
	Forward(r record.Record[K, V]) error
	// ForwardTo hands r to one child, by its name.
	ForwardTo(child string, r record.Record[K, V]) error
}

// ProcessingContext is what every kind of processor works with (Kafka Streams' ProcessingContext).
type ProcessingContext interface {
	StoreProvider

	// Schedule calls fn at each interval of stream time or wall-clock time until cancelled. On stream time it is first
	// due with the first record, then at multiples of the interval, at most once per record; on wall-clock time
	// first after one interval. An interval below a millisecond fails the call of Init or Process, and so does any call
	// in a processor of a global store. Schedules are not kept: after a restart they begin anew. For times that survive,
	// see [NewTimers].
	Schedule(interval time.Duration, kind PunctuationType, fn Punctuator) Cancellable
	// Commit asks for a commit as soon as the current record is done.
	Commit()

	// RecordMetadata says where the record being processed came from; false in a punctuator.
	RecordMetadata() (RecordMetadata, bool)
	// Headers are the headers of the record being processed: shared, not to be modified.
	Headers() []record.Header
	// StreamTime is the highest timestamp that the task has processed, -1 before the first.
	StreamTime() int64
	// CurrentSystemTime is the wall clock in milliseconds since the Unix epoch, as the task knows it.
	CurrentSystemTime() int64
	// ApplicationID is Config.ApplicationID.
	ApplicationID() string
	// TaskID names the task.
	TaskID() record.TaskID
	// Logger has the task and the node among its attributes.
	Logger() *slog.Logger
}

// StoreProvider gives access to the stores that a node declared, and to all global stores.
type StoreProvider interface {
	// Store returns a store by name; [StateStore] does so with its type.
	Store(name string) (store.Store, error)
}

// StateStore returns a store of the node with its type, as in
// StateStore[*store.KeyValue[string, int64]](ctx, "counts"). It fails if the node is not connected to a store of that
// name, or if the store's type is another. A global store is read as a *store.Global[K, V], by every node, without
// being connected. Look it up once, in Init.
func StateStore[S store.Store](ctx StoreProvider, name string) (S, error) {
	var zero S
	s, err := ctx.Store(name)
	if err != nil {
		return zero, err
	}
	typed, ok := s.(S)
	if !ok {
		return zero, fmt.Errorf("processor: store %q is a %T, not a %s", name, s, reflect.TypeFor[S]())
	}
	return typed, nil
}

// MustStateStore is [StateStore] for use in Init, where the mistake it panics on becomes the error of the task.
func MustStateStore[S store.Store](ctx StoreProvider, name string) S {
	s, err := StateStore[S](ctx, name)
	if err != nil {
		panic(err)
	}
	return s
}

// nodeContext implements Context for the node of a Processor. Owned by the task goroutine.
type nodeContext[K, V any] struct {
	Outputs[K, V]

	task      TaskContext
	node      string
	log       *slog.Logger
	named     map[string]Receiver[K, V]
	keyNull   record.Nullness[K]
	valueNull record.Nullness[V]

	// failed is the first error of a Forward, or a mistake in a call without an error result, since the last leave.
	// It is kept because user code may wrap or swallow it, and neither may change who has to deal with it.
	failed error
}

// Attach remembers the child's name for ForwardTo.
func (c *nodeContext[K, V]) Attach(name string, child any) error {
	if err := c.Outputs.Attach(name, child); err != nil {
		return err
	}
	c.named[name] = child.(Receiver[K, V]) //nolint:forcetypeassert,errcheck // Outputs.Attach checked it
	return nil
}

// leave turns the result of user code into the node's: nil, an error from below as it was, or a *UserError.
func (c *nodeContext[K, V]) leave(err error) error {
	failed := c.failed
	c.failed = nil
	if failed != nil {
		return failed
	}
	return WrapUserError(c.task, c.node, err)
}

func (c *nodeContext[K, V]) Forward(r record.Record[K, V]) error {
	return c.forward(&c.Outputs, nil, r)
}

func (c *nodeContext[K, V]) ForwardTo(child string, r record.Record[K, V]) error {
	to, ok := c.named[child]
	if !ok {
		return fmt.Errorf("processor: node %q has no child %q", c.node, child)
	}
	return c.forward(nil, to, r)
}

// forward makes r the current record for what lies below, so that their stores and processors see its timestamp and
// headers and not those of the input record.
func (c *nodeContext[K, V]) forward(all *Outputs[K, V], one Receiver[K, V], r record.Record[K, V]) error {
	r.NullKey = c.keyNull.IsNull(r.Key, r.NullKey)
	r.NullValue = c.valueNull.IsNull(r.Value, r.NullValue)
	current := c.task.Current()
	before := current.Context
	current.Context = store.Context{Timestamp: r.Timestamp, Headers: r.Headers}
	var err error
	if one != nil {
		err = one.Receive(r)
	} else {
		err = all.Forward(r)
	}
	current.Context = before
	c.task.Enter(c.node) // user code goes on
	if err != nil && c.failed == nil {
		c.failed = err
	}
	return err
}

func (c *nodeContext[K, V]) Schedule(interval time.Duration, kind PunctuationType, fn Punctuator) Cancellable {
	var mistake error
	switch {
	case interval < time.Millisecond:
		mistake = fmt.Errorf("processor: schedule: interval %v is below a millisecond", interval)
	case c.task.TaskID() == record.GlobalTaskID():
		mistake = errors.New("processor: schedule: a processor of a global store has no punctuators: what it does must " +
			"follow from the records alone, or the instances would differ")
	}
	if mistake != nil {
		if c.failed == nil {
			c.failed = WrapUserError(c.task, c.node, mistake)
		}
		return Cancellable{}
	}
	return Cancellable{c.task.Schedule(c.node, interval, kind, func(timestamp int64) error {
		c.begin()
		return c.leave(fn(timestamp))
	})}
}

// begin prepares a call of user code that no record causes; leave ends it.
func (c *nodeContext[K, V]) begin() {
	c.failed = nil // a panic left it
	c.task.Enter(c.node)
}

func (c *nodeContext[K, V]) taskContext() TaskContext { return c.task }
func (c *nodeContext[K, V]) nodeName() string         { return c.node }

func (c *nodeContext[K, V]) Store(name string) (store.Store, error) { return c.task.Store(name) }
func (c *nodeContext[K, V]) Commit()                                { c.task.RequestCommit() }
func (c *nodeContext[K, V]) Headers() []record.Header               { return c.task.Current().Headers }
func (c *nodeContext[K, V]) StreamTime() int64                      { return c.task.StreamTime() }
func (c *nodeContext[K, V]) CurrentSystemTime() int64               { return c.task.WallClock() }
func (c *nodeContext[K, V]) ApplicationID() string                  { return c.task.ApplicationID() }
func (c *nodeContext[K, V]) TaskID() record.TaskID                  { return c.task.TaskID() }
func (c *nodeContext[K, V]) Logger() *slog.Logger                   { return c.log }

func (c *nodeContext[K, V]) RecordMetadata() (RecordMetadata, bool) {
	m := *c.task.Current()
	return m, m.Topic != ""
}

// WrapUserError makes a *[UserError] of an error of user code in a node, with the place of the current record. Nil
// stays nil, and an error that is one already, or that is a [LookupError] or a [BufferFullError], stays as it is.
func WrapUserError(ctx TaskContext, node string, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*UserError](err); ok {
		return err
	}
	if _, ok := errors.AsType[*LookupError](err); ok {
		return err
	}
	if _, ok := errors.AsType[*BufferFullError](err); ok {
		return err
	}
	at := ctx.Current()
	return &UserError{
		Task:           ctx.TaskID(),
		Node:           node,
		TopicPartition: record.TopicPartition{Topic: at.Topic, Partition: at.Partition},
		Offset:         at.Offset,
		Err:            err,
	}
}
