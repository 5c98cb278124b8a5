package avro

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/twmb/avro"

	"github.com/tidemarkio/tidemark/serde/registry"
)

// decoder reads what one writer's schema wrote as the reader's.
type decoder struct {
	schema *avro.Schema
	raw    bool // both are plain bytes, which Confluent's serializer writes without their length
}

func newDecoder(s registry.Schema, reader *avro.Schema) (decoder, error) {
	if s.Type != registry.Avro {
		return decoder{}, fmt.Errorf("it is of type %s, not %s", s.Type, registry.Avro)
	}
	writer, err := parse(s)
	if err != nil {
		return decoder{}, err
	}
	resolved, err := avro.Resolve(writer, reader)
	if err != nil {
		return decoder{}, err
	}
	return decoder{resolved, isBytes(writer)}, nil
}

// encoders is the one encoder of a serde, which depends on the registered schema.
type encoders struct{ of atomic.Pointer[encoder] }

type encoder struct {
	id     int
	schema *avro.Schema
	raw    bool
}

// get returns the encoder for a registered schema: the reader's own, unless the registry's latest is another one.
func (e *encoders) get(r *registry.Registered, own *avro.Schema) (*encoder, error) {
	if have := e.of.Load(); have != nil && have.id == r.ID {
		return have, nil
	}
	schema := own
	if r.Schema.Text != own.String() {
		var err error
		if schema, err = parse(r.Schema); err != nil {
			return nil, fmt.Errorf("the latest schema, id %d: %w", r.ID, err)
		}
	}
	made := &encoder{r.ID, schema, isBytes(schema)}
	e.of.Store(made)
	return made, nil
}

// parse compiles a schema after those that it refers to.
func parse(s registry.Schema) (*avro.Schema, error) {
	var cache avro.SchemaCache
	var add func(s registry.Schema) (*avro.Schema, error)
	add = func(s registry.Schema) (*avro.Schema, error) {
		for _, r := range s.References {
			if _, err := add(r.Schema); err != nil {
				return nil, fmt.Errorf("its reference %q: %w", r.Name, err)
			}
		}
		return cache.Parse(s.Text)
	}
	return add(s)
}

func isBytes(s *avro.Schema) bool {
	root := s.Root()
	return root.Type == "bytes" && root.LogicalType == ""
}

// setRaw sets what v points to, if it can be made of plain bytes. A byte slice aliases them, as a Serde may.
func setRaw(v any, body []byte) bool {
	switch p := v.(type) {
	case *[]byte:
		*p = body
	case *string:
		*p = string(body)
	case *any:
		*p = slices.Clone(body)
	default:
		return false
	}
	return true
}

// fullName is the name of a record with its namespace, and the type of anything else, as in Confluent's serdes.
func fullName(s *avro.Schema) string {
	root := s.Root()
	switch {
	case root.Name == "":
		return root.Type
	case root.Namespace == "", strings.Contains(root.Name, "."):
		return root.Name
	}
	return root.Namespace + "." + root.Name
}
