package serde

// Nullable returns a serde for *T in which nil stands for null: Nullable(String) is a Serde[*string]. The bytes are
// those of s. Use it where the difference between null and the zero value of T matters to functions; where it does not,
// T itself will do, since records carry null beside the value.
//
// s may be any type that implements Serde[T], so that Nullable(String) needs no type argument.
func Nullable[T any](s Serde[T]) Serde[*T] { return nullableSerde[T]{of: s} }

type nullableSerde[T any] struct{ of Serde[T] }

// Append implements [Serde].
func (n nullableSerde[T]) Append(dst []byte, v *T) ([]byte, error) {
	if v == nil {
		return dst, errNull
	}
	return n.of.Append(dst, *v)
}

// Decode implements [Serde].
func (n nullableSerde[T]) Decode(data []byte) (*T, error) {
	v, err := n.of.Decode(data)
	if err != nil {
		return nil, err
	}
	return &v, nil
}
