package protobuf

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/tidemarkio/tidemark/serde/registry"
)

// schemaOf describes a file and what it imports. A registry takes the text of a .proto file or a serialized descriptor
// in base64; the text is not in a program, so Confluent's clients outside Java send the descriptor, as we do.
func schemaOf(file protoreflect.FileDescriptor) (registry.Schema, error) {
	data, err := proto.MarshalOptions{Deterministic: true}.Marshal(protodesc.ToFileDescriptorProto(file))
	if err != nil {
		return registry.Schema{}, fmt.Errorf("describe %s: %w", file.Path(), err)
	}
	s := registry.Schema{Type: registry.Protobuf, Text: base64.StdEncoding.EncodeToString(data)}
	imports := file.Imports()
	for i := range imports.Len() {
		imported := imports.Get(i)
		if wellKnown(imported.Path()) {
			continue
		}
		if imported.IsPlaceholder() {
			return registry.Schema{}, fmt.Errorf("%s imports %s, which is not linked into the program", file.Path(),
				imported.Path())
		}
		of, err := schemaOf(imported.FileDescriptor)
		if err != nil {
			return registry.Schema{}, err
		}
		s.References = append(s.References, registry.Reference{Name: imported.Path(), Schema: of})
	}
	return s, nil
}

// wellKnown tells whether registries have a file built in.
func wellKnown(path string) bool {
	return strings.HasPrefix(path, "google/protobuf/") || strings.HasPrefix(path, "google/type/") ||
		strings.HasPrefix(path, "confluent/")
}

// pathOf returns the positions of a message and of those around it, from the outermost to itself.
func pathOf(message protoreflect.MessageDescriptor) []int {
	var path []int
	for d := protoreflect.Descriptor(message); ; d = d.Parent() {
		if _, ok := d.(protoreflect.MessageDescriptor); !ok {
			break
		}
		path = append(path, d.Index())
	}
	slices.Reverse(path)
	return path
}
