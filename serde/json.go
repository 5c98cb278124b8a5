package serde

import (
	"encoding/json"
	"fmt"
	"reflect"
)

// JSON returns a serde that writes T with encoding/json. Fields that T does not know are ignored when decoding, so that
// a writer may add some. It allocates; for hot paths write a Serde of your own.
func JSON[T any]() Serde[T] { return jsonSerde[T]{} }

type jsonSerde[T any] struct{}

// Append implements [Serde].
func (jsonSerde[T]) Append(dst []byte, v T) ([]byte, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return dst, fmt.Errorf("serde: json: encode %s: %w", reflect.TypeFor[T](), err)
	}
	return append(dst, data...), nil
}

// Decode implements [Serde].
func (jsonSerde[T]) Decode(data []byte) (T, error) {
	var v T
	if err := json.Unmarshal(data, &v); err != nil {
		var zero T
		return zero, fmt.Errorf("serde: json: decode %s: %w", reflect.TypeFor[T](), err)
	}
	return v, nil
}
