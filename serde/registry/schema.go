package registry

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/sr"
)

// Type is the language of a schema.
type Type int

// Types of schemas.
const (
	Avro Type = iota
	Protobuf
	JSON
)

// String returns the name that registries use.
func (t Type) String() string {
	switch t {
	case Avro:
		return "AVRO"
	case Protobuf:
		return "PROTOBUF"
	case JSON:
		return "JSON"
	}
	return fmt.Sprintf("type %d", int(t))
}

// Schema is a schema with all that it refers to.
type Schema struct {
	Type       Type
	Text       string
	References []Reference
}

// Reference is a schema that another one uses by name.
type Reference struct {
	// Name is what the other schema calls it: the full name of an Avro type, the import path of a Protobuf file, the
	// $ref of a JSON schema.
	Name string
	// Subject it is registered under. Defaults to Name.
	Subject string
	// Version of the subject. 0 registers or looks up Schema, as Config.Registration says; one from the registry has
	// both.
	Version int
	// Schema that is referred to. Needed, also with a Version: the serdes compile it.
	Schema Schema
}

// referencesDepthMax bounds how deep references of references may go: a registry could answer with a circle.
const referencesDepthMax = 32

func (s Schema) request(refs []sr.SchemaReference) sr.Schema {
	types := map[Type]sr.SchemaType{Avro: sr.TypeAvro, Protobuf: sr.TypeProtobuf, JSON: sr.TypeJSON}
	return sr.Schema{Schema: s.Text, Type: types[s.Type], References: refs}
}

func typeOf(t sr.SchemaType) (Type, error) {
	switch t {
	case sr.TypeAvro:
		return Avro, nil
	case sr.TypeProtobuf:
		return Protobuf, nil
	case sr.TypeJSON:
		return JSON, nil
	}
	return 0, fmt.Errorf("registry: a schema of the unknown type %v", t)
}
