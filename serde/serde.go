package serde

// Serde encodes and decodes values of one type.
//
// A Serde is stateless and safe for concurrent use. It never sees null: the runtime handles null keys and values
// before it is asked (see package record).
type Serde[T any] interface {
	// Append appends the encoding of v to dst and returns the extended slice, as append does. It must not keep dst.
	// An error leaves dst's first len(dst) bytes as they were.
	Append(dst []byte, v T) ([]byte, error)
	// Decode reads one value from all of data. It must not keep or modify data unless T is a byte slice, in which
	// case the result aliases it. The error says what was expected and what was found.
	Decode(data []byte) (T, error)
}
