package protobuf

import (
	"context"
	"errors"
	"fmt"
	"reflect"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/serde/registry"
)

var _ serde.Serde[proto.Message] = (*Serde[proto.Message])(nil)

// Serde is a [serde.Serde] for a message type. Make it with [New] or [NewDynamic]. It is safe for concurrent use.
type Serde[T proto.Message] struct {
	message protoreflect.MessageType
	path    []byte // of the message in its file, encoded
	writer  *registry.Writer
}

// New returns a serde for T, a pointer to a generated message such as *orderspb.Order, whose file is registered under
// the subject of naming, such as registry.Value("orders"). It does no I/O: the registry is asked for the id when the
// first message is written, or by Register.
func New[T proto.Message](c *registry.Client, naming registry.Naming) (*Serde[T], error) {
	var zero T
	t := reflect.TypeFor[T]()
	if _, dynamic := any(zero).(*dynamicpb.Message); dynamic || t.Kind() != reflect.Pointer {
		return nil, fmt.Errorf("protobuf: %s does not tell which message it is: use a generated message type, or "+
			"protobuf.NewDynamic", t)
	}
	return newSerde[T](c, naming, zero.ProtoReflect().Type())
}

// NewDynamic returns a serde for messages that are known by their descriptor only.
func NewDynamic(
	c *registry.Client, naming registry.Naming, message protoreflect.MessageDescriptor,
) (*Serde[*dynamicpb.Message], error) {
	if message == nil {
		return nil, errors.New("protobuf: the descriptor is nil")
	}
	return newSerde[*dynamicpb.Message](c, naming, dynamicpb.NewMessageType(message))
}

func newSerde[T proto.Message](
	c *registry.Client, naming registry.Naming, message protoreflect.MessageType,
) (*Serde[T], error) {
	desc := message.Descriptor()
	fail := func(err error) (*Serde[T], error) { return nil, fmt.Errorf("protobuf: %s: %w", desc.FullName(), err) }
	schema, err := schemaOf(desc.ParentFile())
	if err != nil {
		return fail(err)
	}
	writer, err := c.Writer(naming, string(desc.FullName()), schema)
	if err != nil {
		return fail(err)
	}
	return &Serde[T]{message: message, path: registry.AppendIndexes(nil, pathOf(desc)), writer: writer}, nil
}

// Register asks the registry for the id of the schema now, and registers it if so configured, instead of when the first
// message is written: call it before the application runs, to find a refused schema before anything starts.
func (s *Serde[T]) Register(ctx context.Context) error {
	_, err := s.writer.Registered(ctx)
	return err
}

// Subject returns the subject that the file of the message is registered under.
func (s *Serde[T]) Subject() string { return s.writer.Subject() }

// Append implements [serde.Serde]. A nil message is an error: null is written by the runtime.
func (s *Serde[T]) Append(dst []byte, v T) ([]byte, error) {
	r := v.ProtoReflect()
	if !r.IsValid() {
		return dst, fmt.Errorf("protobuf: encode %s: the message is nil: null has no encoding", s.name())
	}
	if r.Descriptor().FullName() != s.name() {
		return dst, fmt.Errorf("protobuf: encode %s: got a message of type %s", s.name(), r.Descriptor().FullName())
	}
	registered, err := s.writer.Registered(context.Background())
	if err != nil {
		return dst, err
	}
	out := append(registry.AppendHeader(dst, registered.ID), s.path...)
	if out, err = (proto.MarshalOptions{Deterministic: true}).MarshalAppend(out, v); err != nil {
		return dst, fmt.Errorf("protobuf: encode %s for subject %q: %w", s.name(), s.Subject(), err)
	}
	return out, nil
}

// Decode implements [serde.Serde].
func (s *Serde[T]) Decode(data []byte) (T, error) {
	var zero T
	id, body, err := registry.Header(data)
	if err == nil {
		body, err = registry.SkipIndexes(body)
	}
	if err != nil {
		return zero, fmt.Errorf("protobuf: decode %s: %w", s.name(), err)
	}
	v, ok := s.message.New().Interface().(T)
	if !ok {
		return zero, fmt.Errorf("protobuf: decode %s: its messages are %T, not %s", s.name(), v, reflect.TypeFor[T]())
	}
	if err := proto.Unmarshal(body, v); err != nil {
		return zero, fmt.Errorf("protobuf: decode %s, written with schema id %d: %w", s.name(), id, err)
	}
	return v, nil
}

func (s *Serde[T]) name() protoreflect.FullName { return s.message.Descriptor().FullName() }
