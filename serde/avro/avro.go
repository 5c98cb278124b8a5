package avro

import (
	"context"
	"fmt"
	"reflect"

	"github.com/twmb/avro"

	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/serde/registry"
)

var _ serde.Serde[any] = (*Serde[any])(nil)

// Serde is a [serde.Serde] for Avro. Make it with [New]. It is safe for concurrent use.
type Serde[T any] struct {
	reader *avro.Schema
	writer *registry.Writer

	// decoders by the id of the writer's schema, encoders by the id to write under, which is always the same one.
	decoders *registry.ByID[decoder]
	encoders encoders
}

// Option changes a serde of [New].
type Option func(*options)

type options struct {
	text       string
	name       string
	namespace  string
	references []registry.Reference
}

// Schema is the schema to write with and to resolve what is read to, as JSON text (AVSC). Defaults to one that is
// derived from T, which must then be a struct.
func Schema(text string) Option { return func(o *options) { o.text = text } }

// Name is that of a derived record. Defaults to the name of T. Writers and readers must agree on it, or the reader's
// schema must have the writer's as an alias.
func Name(name string) Option { return func(o *options) { o.name = name } }

// Namespace is that of a derived schema. Defaults to none.
func Namespace(name string) Option { return func(o *options) { o.namespace = name } }

// References are the named types that the schema of [Schema] uses and does not define.
func References(refs ...registry.Reference) Option {
	return func(o *options) { o.references = append(o.references, refs...) }
}

// New returns a serde for T whose schema is registered under the subject of naming, such as registry.Value("orders").
// It does no I/O: the registry is asked for the id when the first value is written, or by Register. An error is a
// schema that is not valid, or a T that has none.
func New[T any](c *registry.Client, naming registry.Naming, opts ...Option) (*Serde[T], error) {
	var o options
	for _, opt := range opts {
		opt(&o)
	}
	fail := func(err error) (*Serde[T], error) { return nil, fmt.Errorf("avro: %s: %w", reflect.TypeFor[T](), err) }
	schema := registry.Schema{Type: registry.Avro, Text: o.text, References: o.references}
	if o.text == "" {
		var names []avro.SchemaOpt
		if o.name != "" {
			names = append(names, avro.WithName(o.name))
		}
		if o.namespace != "" {
			names = append(names, avro.WithNamespace(o.namespace))
		}
		derived, err := avro.SchemaFor[T](names...)
		if err != nil {
			return fail(fmt.Errorf("derive a schema (or give one with avro.Schema): %w", err))
		}
		schema.Text = derived.String()
	}
	reader, err := parse(schema)
	if err != nil {
		return fail(err)
	}
	writer, err := c.Writer(naming, fullName(reader), schema)
	if err != nil {
		return fail(err)
	}
	return &Serde[T]{
		reader: reader, writer: writer,
		decoders: registry.NewByID(c, func(s registry.Schema) (decoder, error) { return newDecoder(s, reader) }),
	}, nil
}

// Register asks the registry for the id of the schema now, and registers it if so configured, instead of when the first
// value is written: call it before the application runs, to find a refused schema before anything starts.
func (s *Serde[T]) Register(ctx context.Context) error {
	_, err := s.writer.Registered(ctx)
	return err
}

// Subject returns the subject that the schema is registered under.
func (s *Serde[T]) Subject() string { return s.writer.Subject() }

// Append implements [serde.Serde].
func (s *Serde[T]) Append(dst []byte, v T) ([]byte, error) {
	r, err := s.writer.Registered(context.Background())
	if err != nil {
		return dst, err
	}
	e, err := s.encoders.get(r, s.reader)
	if err != nil {
		return dst, &serde.UnavailableError{What: "the schema of subject " + s.Subject(), Permanent: true, Err: err}
	}
	out := registry.AppendHeader(dst, r.ID)
	if e.raw {
		switch b := any(v).(type) {
		case []byte:
			return append(out, b...), nil
		case string:
			return append(out, b...), nil
		}
	}
	if out, err = e.schema.AppendEncode(out, &v); err != nil {
		return dst, fmt.Errorf("avro: encode %s for subject %q: %w", reflect.TypeFor[T](), s.Subject(), err)
	}
	return out, nil
}

// Decode implements [serde.Serde].
func (s *Serde[T]) Decode(data []byte) (T, error) {
	var v T
	id, body, err := registry.Header(data)
	if err != nil {
		return v, fmt.Errorf("avro: decode %s: %w", reflect.TypeFor[T](), err)
	}
	d, err := s.decoders.Get(context.Background(), id)
	if err != nil {
		return v, fmt.Errorf("avro: decode %s: %w", reflect.TypeFor[T](), err)
	}
	if d.raw && setRaw(&v, body) {
		return v, nil
	}
	rest, err := d.schema.Decode(body, &v)
	if err == nil && len(rest) > 0 {
		err = fmt.Errorf("%d byte(s) are left behind the value", len(rest))
	}
	if err != nil {
		var zero T
		return zero, fmt.Errorf("avro: decode %s, written with schema id %d: %w", reflect.TypeFor[T](), id, err)
	}
	return v, nil
}
