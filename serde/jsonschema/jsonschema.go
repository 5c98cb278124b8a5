package jsonschema

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"reflect"

	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/serde/registry"
)

var _ serde.Serde[any] = (*Serde[any])(nil)

// Validation says when values are checked against the schema.
type Validation int

// Kinds of validation.
const (
	OnWrite        Validation = iota // the default: nothing is written that readers would refuse
	OnWriteAndRead                   // also what is read must fit the serde's own schema
	Never                            // as Confluent's json.fail.invalid.schema=false
)

// Serde is a [serde.Serde] for JSON. Make it with [New]. It is safe for concurrent use.
type Serde[T any] struct {
	own        *compiled
	writer     *registry.Writer
	validation Validation
	against    latest // what is written is checked against
}

// Option changes a serde of [New].
type Option func(*options)

type options struct {
	text       string
	title      string
	references []registry.Reference
	validation Validation
}

// Schema is the schema as JSON text. Defaults to one that is derived from T: an object without other properties than
// T's fields, of which those without omitempty or omitzero are required.
func Schema(text string) Option { return func(o *options) { o.text = text } }

// Title is that of a derived schema, the name for registry.Record and registry.TopicRecord. Defaults to the name of T.
func Title(title string) Option { return func(o *options) { o.title = title } }

// References are the schemas that the schema of [Schema] uses by a $ref to outside, named as the $ref does.
func References(refs ...registry.Reference) Option {
	return func(o *options) { o.references = append(o.references, refs...) }
}

// Validate says when values are checked. Defaults to OnWrite.
func Validate(v Validation) Option { return func(o *options) { o.validation = v } }

// New returns a serde for T whose schema is registered under the subject of naming, such as registry.Value("orders").
// It does no I/O: the registry is asked for the id when the first value is written, or by Register. An error is a
// schema that is not valid, or a T that has none.
func New[T any](c *registry.Client, naming registry.Naming, opts ...Option) (*Serde[T], error) {
	var o options
	for _, opt := range opts {
		opt(&o)
	}
	fail := func(err error) (*Serde[T], error) {
		return nil, fmt.Errorf("jsonschema: %s: %w", reflect.TypeFor[T](), err)
	}
	if o.validation < OnWrite || o.validation > Never {
		return fail(fmt.Errorf("validation %d: want OnWrite, OnWriteAndRead or Never", int(o.validation)))
	}
	if o.text == "" {
		var err error
		if o.text, err = derive[T](o.title); err != nil {
			return fail(fmt.Errorf("derive a schema (or give one with jsonschema.Schema): %w", err))
		}
	}
	schema := registry.Schema{Type: registry.JSON, Text: o.text, References: o.references}
	own, err := compile(schema)
	if err != nil {
		return fail(err)
	}
	writer, err := c.Writer(naming, own.title, schema)
	if err != nil {
		return fail(err)
	}
	return &Serde[T]{own: own, writer: writer, validation: o.validation}, nil
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
	fail := func(err error) ([]byte, error) {
		return dst, fmt.Errorf("jsonschema: encode %s for subject %q: %w", reflect.TypeFor[T](), s.Subject(), err)
	}
	buf := bytes.NewBuffer(registry.AppendHeader(dst, r.ID))
	begin := buf.Len()
	enc := json.NewEncoder(buf)
	enc.SetEscapeHTML(false) // Java's serializer does not
	if err := enc.Encode(v); err != nil {
		return fail(err)
	}
	buf.Truncate(buf.Len() - 1) // the line break of the encoder
	if s.validation != Never {
		schema, err := s.against.get(r, s.own)
		if err != nil {
			return dst, &serde.UnavailableError{What: "the schema of subject " + s.Subject(), Permanent: true, Err: err}
		}
		if err := schema.check(buf.Bytes()[begin:]); err != nil {
			return fail(err)
		}
	}
	return buf.Bytes(), nil
}

// Decode implements [serde.Serde].
func (s *Serde[T]) Decode(data []byte) (T, error) {
	var v, zero T
	id, body, err := registry.Header(data)
	if err != nil {
		return zero, fmt.Errorf("jsonschema: decode %s: %w", reflect.TypeFor[T](), err)
	}
	if s.validation == OnWriteAndRead {
		err = s.own.check(body)
	}
	if err == nil {
		err = json.Unmarshal(body, &v)
	}
	if err != nil {
		return zero, fmt.Errorf("jsonschema: decode %s, written with schema id %d: %w", reflect.TypeFor[T](), id, err)
	}
	return v, nil
}
