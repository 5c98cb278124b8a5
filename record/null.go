package record

import (
	"reflect"
	"unsafe"
)

// Nullness tells null from non-null values of T. Make it once with [NullnessOf] and keep it: the type is looked at
// there and not per record. The zero Nullness is that of a type without nil.
type Nullness[T any] struct {
	nilable bool
}

// NullnessOf returns the rule for T: pointers, slices, maps, interfaces, functions and channels are nil-able, and nil
// is null; other types say null through the flag that stands beside the value ([Record.NullKey], [Record.NullValue]).
func NullnessOf[T any]() Nullness[T] {
	switch reflect.TypeFor[T]().Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map, reflect.Interface, reflect.Func, reflect.Chan, reflect.UnsafePointer:
		return Nullness[T]{nilable: true}
	default:
		return Nullness[T]{}
	}
}

// Nilable reports whether T has a nil.
func (n Nullness[T]) Nilable() bool { return n.nilable }

// IsNull decides whether v is null: by the value itself if T is nil-able, by flag otherwise. The operators pass it over
// everything that user code made, so that the flags of the records between operators can be trusted alone.
func (n Nullness[T]) IsNull(v T, flag bool) bool {
	if !n.nilable {
		return flag
	}
	// The first word of every nil-able kind is a pointer that is zero only in nil: the pointer itself, the array of a
	// slice (an empty one has an address), the type of an interface. Comparing through any would allocate for slices.
	return *(*unsafe.Pointer)(unsafe.Pointer(&v)) == nil //nolint:gosec // see above; NullnessOf checked the kind
}

// WithKey returns r with another key, which is not null unless it is nil.
func WithKey[K2, K, V any](r Record[K, V], key K2) Record[K2, V] {
	return Record[K2, V]{
		Key: key, Value: r.Value, Timestamp: r.Timestamp, Headers: r.Headers, NullValue: r.NullValue,
	}
}

// WithValue returns r with another value, which is not null unless it is nil.
func WithValue[V2, K, V any](r Record[K, V], value V2) Record[K, V2] {
	return Record[K, V2]{
		Key: r.Key, Value: value, Timestamp: r.Timestamp, Headers: r.Headers, NullKey: r.NullKey,
	}
}
