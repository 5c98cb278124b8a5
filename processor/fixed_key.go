package processor

import (
	"errors"
	"io"

	"github.com/tidemarkio/tidemark/record"
)

// FixedKeyProcessor is a [Processor] that cannot change the key (Kafka Streams' FixedKeyProcessor): what it forwards
// lies where its input lay, and nothing below needs a repartition topic because of it. The optional interfaces are
// [FixedKeyInitializer] and io.Closer.
type FixedKeyProcessor[K, VIn, VOut any] interface {
	// Process handles one record, as [Processor] does.
	Process(ctx FixedKeyContext[K, VOut], r FixedKeyRecord[K, VIn]) error
}

// FixedKeyInitializer is the [ContextInitializer] of a [FixedKeyProcessor].
type FixedKeyInitializer[K, VOut any] interface {
	Init(ctx FixedKeyContext[K, VOut]) error
}

// FixedKeyFunc makes a [FixedKeyProcessor] of a function that needs neither state nor timers.
type FixedKeyFunc[K, VIn, VOut any] func(ctx FixedKeyContext[K, VOut], r FixedKeyRecord[K, VIn]) error

// Process implements [FixedKeyProcessor].
func (f FixedKeyFunc[K, VIn, VOut]) Process(ctx FixedKeyContext[K, VOut], r FixedKeyRecord[K, VIn]) error {
	return f(ctx, r)
}

// FixedKeyContext is the [Context] of a [FixedKeyProcessor] (Kafka Streams' FixedKeyProcessorContext).
type FixedKeyContext[K, V any] interface {
	ProcessingContext

	// Forward hands r to all children, in the order of their declaration, and returns when they are done. r is made of a
	// record that the processor was given, now or earlier: by [FixedKeyWithValue], or by changing a copy.
	Forward(r FixedKeyRecord[K, V]) error
	// ForwardTo hands r to one child, by its name.
	ForwardTo(child string, r FixedKeyRecord[K, V]) error
}

// FixedKeyRecord is a [record.Record] whose key can be read and not changed (Kafka Streams' FixedKeyRecord). Only the
// runtime makes one; change its other fields in a copy.
type FixedKeyRecord[K, V any] struct {
	Value V
	// Timestamp is the event time in milliseconds since the Unix epoch.
	Timestamp int64
	// Headers are shared by all records made from one input record: change them by WithHeader and WithoutHeader, never in
	// place.
	Headers []record.Header
	// NullValue says that the value is null (a tombstone) although V has no nil. Value is then V's zero value.
	NullValue bool

	key     K
	nullKey bool
	given   bool // by the runtime
}

// Key returns the key. It must not be modified.
func (r FixedKeyRecord[K, V]) Key() K { return r.key }

// NullKey reports whether the key is null; Key is then K's zero value.
func (r FixedKeyRecord[K, V]) NullKey() bool { return r.nullKey }

// Header returns the last header of that name.
func (r FixedKeyRecord[K, V]) Header(name string) (value []byte, found bool) {
	return record.LastHeader(r.Headers, name)
}

// WithHeader returns r with one more header. Others of that name stay.
func (r FixedKeyRecord[K, V]) WithHeader(name string, value []byte) FixedKeyRecord[K, V] {
	r.Headers = record.AddHeader(r.Headers, name, value)
	return r
}

// WithoutHeader returns r without the headers of that name.
func (r FixedKeyRecord[K, V]) WithoutHeader(name string) FixedKeyRecord[K, V] {
	r.Headers = record.RemoveHeader(r.Headers, name)
	return r
}

// FixedKeyWithValue returns r with another value, which is not null unless it is nil.
func FixedKeyWithValue[V2, K, V any](r FixedKeyRecord[K, V], value V2) FixedKeyRecord[K, V2] {
	return FixedKeyRecord[K, V2]{
		Value: value, Timestamp: r.Timestamp, Headers: r.Headers, key: r.key, nullKey: r.nullKey, given: r.given,
	}
}

// NewFixedKeyNode is [NewNode] for a [FixedKeyProcessor].
func NewFixedKeyNode[K, VIn, VOut any](
	ctx TaskContext, name string, p FixedKeyProcessor[K, VIn, VOut],
) Receiver[K, VIn] {
	return NewNode(ctx, name, &fixedKey[K, VIn, VOut]{user: p})
}

// fixedKey runs a FixedKeyProcessor as the Processor that it is at heart. Owned by the task goroutine.
type fixedKey[K, VIn, VOut any] struct {
	user FixedKeyProcessor[K, VIn, VOut]
	ctx  FixedKeyContext[K, VOut] // made once: a context of its own for each record would be boxed
}

var (
	_ ContextInitializer[string, string]        = (*fixedKey[string, int, string])(nil)
	_ Processor[string, int64, string, float64] = (*fixedKey[string, int64, float64])(nil)
	_ io.Closer                                 = (*fixedKey[string, int, string])(nil)
)

// Init implements [ContextInitializer].
func (p *fixedKey[K, VIn, VOut]) Init(ctx Context[K, VOut]) error {
	host, _ := ctx.(timerHost) // the runtime's own is one
	p.ctx = fixedKeyContext[K, VOut]{ctx, host, ctx}
	if i, ok := p.user.(FixedKeyInitializer[K, VOut]); ok {
		return i.Init(p.ctx)
	}
	return nil
}

// Process implements [Processor].
func (p *fixedKey[K, VIn, VOut]) Process(_ Context[K, VOut], r record.Record[K, VIn]) error {
	return p.user.Process(p.ctx, FixedKeyRecord[K, VIn]{
		Value: r.Value, Timestamp: r.Timestamp, Headers: r.Headers, NullValue: r.NullValue,
		key: r.Key, nullKey: r.NullKey, given: true,
	})
}

// Close implements io.Closer.
func (p *fixedKey[K, VIn, VOut]) Close() error {
	if c, ok := p.user.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

// fixedKeyContext implements FixedKeyContext.
type fixedKeyContext[K, V any] struct {
	ProcessingContext
	timerHost

	to Context[K, V]
}

// errFixedKeyMade is what a record with a key of the user's own is refused with.
var errFixedKeyMade = errors.New("processor: a FixedKeyRecord has no key unless it is made of one that the processor " +
	"was given: use FixedKeyWithValue, or Process instead of ProcessValues if there is none")

func (c fixedKeyContext[K, V]) Forward(r FixedKeyRecord[K, V]) error {
	if !r.given {
		return errFixedKeyMade
	}
	return c.to.Forward(r.record())
}

func (c fixedKeyContext[K, V]) ForwardTo(child string, r FixedKeyRecord[K, V]) error {
	if !r.given {
		return errFixedKeyMade
	}
	return c.to.ForwardTo(child, r.record())
}

func (r FixedKeyRecord[K, V]) record() record.Record[K, V] {
	return record.Record[K, V]{
		Key: r.key, Value: r.Value, Timestamp: r.Timestamp, Headers: r.Headers, NullKey: r.nullKey, NullValue: r.NullValue,
	}
}
