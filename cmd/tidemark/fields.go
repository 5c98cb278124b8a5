package main

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/tidemarkio/tidemark/serde"
)

// fields decodes bytes as a row of fields, of which at most one has no fixed length. It is a flag.
type fields struct{ list []string }

// field is a kind of field; bytes is its length, 0 if it takes what is left.
type field struct {
	bytes  int
	decode func([]byte) (any, error)
}

func fieldKinds() map[string]field {
	return map[string]field{
		"string": {0, func(b []byte) (any, error) { return string(b), nil }},
		"hex":    {0, func(b []byte) (any, error) { return hex.EncodeToString(b), nil }},
		"base64": {0, func(b []byte) (any, error) { return b, nil }},
		"json": {0, func(b []byte) (any, error) {
			if !json.Valid(b) {
				return nil, errors.New("it is not JSON")
			}
			return json.RawMessage(b), nil
		}},
		"byte":    {1, func(b []byte) (any, error) { return b[0], nil }},
		"int32":   {4, decoded(serde.Int32)},
		"int64":   {8, decoded(serde.Int64)},
		"float64": {8, decoded(serde.Float64)},
		"bool":    {1, decoded(serde.Bool)},
		"time": {8, func(b []byte) (any, error) {
			ms, err := serde.Int64.Decode(b)
			return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z"), err
		}},
	}
}

func decoded[T any](s serde.Serde[T]) func([]byte) (any, error) {
	return func(b []byte) (any, error) { return s.Decode(b) }
}

// String is the flag's value.
func (f *fields) String() string { return strings.Join(f.list, ",") }

// Type is what the usage shows.
func (f *fields) Type() string { return "decoder" }

// Set parses the flag.
func (f *fields) Set(text string) error {
	kinds := fieldKinds()
	f.list = strings.Split(text, ",")
	open := 0
	for _, name := range f.list {
		kind, ok := kinds[name]
		if !ok {
			return fmt.Errorf("%q is none of %s", name, strings.Join(slices.Sorted(maps.Keys(kinds)), ", "))
		}
		if kind.bytes == 0 {
			open++
		}
	}
	if open > 1 {
		return errors.New("only one field can have a length that is not fixed")
	}
	return nil
}

// decode returns the value of one field, or a list of several.
func (f *fields) decode(data []byte) (any, error) {
	kinds := fieldKinds()
	rest := len(data)
	open := false
	for _, name := range f.list {
		rest -= kinds[name].bytes
		open = open || kinds[name].bytes == 0
	}
	if rest < 0 || rest > 0 && !open {
		return nil, fmt.Errorf("it has %d bytes, which are not %s", len(data), f)
	}
	values := make([]any, len(f.list))
	for i, name := range f.list {
		kind := kinds[name]
		n := kind.bytes
		if n == 0 {
			n = rest
		}
		var err error
		if values[i], err = kind.decode(data[:n]); err != nil {
			return nil, fmt.Errorf("field %d, %s: %w", i+1, name, err)
		}
		data = data[n:]
	}
	if len(values) == 1 {
		return values[0], nil
	}
	return values, nil
}
