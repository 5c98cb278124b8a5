package serde

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// The built-in serdes are constants: nothing can replace them, and using them costs no allocation. Their bytes are
// those of the serializers in Kafka's Java client.
const (
	// String is UTF-8 text (StringSerializer). Bytes that are not UTF-8 are kept as they are.
	String stringSerde = 0
	// Bytes takes the bytes as they are (ByteArraySerializer). A decoded slice aliases the input.
	Bytes bytesSerde = 0
	// Int64 is 8 bytes, big-endian (LongSerializer).
	Int64 int64Serde = 0
	// Int32 is 4 bytes, big-endian (IntegerSerializer).
	Int32 int32Serde = 0
	// Float64 is 8 bytes, the IEEE 754 bits big-endian (DoubleSerializer).
	Float64 float64Serde = 0
	// Bool is one byte, 1 or 0 (BooleanSerializer).
	Bool boolSerde = 0
)

var (
	_ Serde[string]  = String
	_ Serde[[]byte]  = Bytes
	_ Serde[int64]   = Int64
	_ Serde[int32]   = Int32
	_ Serde[float64] = Float64
	_ Serde[bool]    = Bool
)

type (
	stringSerde  uint8
	bytesSerde   uint8
	int64Serde   uint8
	int32Serde   uint8
	float64Serde uint8
	boolSerde    uint8
)

// Append implements [Serde].
func (stringSerde) Append(dst []byte, v string) ([]byte, error) { return append(dst, v...), nil }

// Decode implements [Serde].
func (stringSerde) Decode(data []byte) (string, error) { return string(data), nil }

// Append implements [Serde].
func (bytesSerde) Append(dst, v []byte) ([]byte, error) { return append(dst, v...), nil }

// Decode implements [Serde]; the result aliases data.
func (bytesSerde) Decode(data []byte) ([]byte, error) {
	if data == nil {
		return []byte{}, nil // nil would be null, and null never reaches a serde
	}
	return data, nil
}

// Append implements [Serde].
func (int64Serde) Append(dst []byte, v int64) ([]byte, error) {
	return binary.BigEndian.AppendUint64(dst, uint64(v)), nil
}

// Decode implements [Serde].
func (int64Serde) Decode(data []byte) (int64, error) {
	if len(data) != 8 {
		return 0, lengthError("int64", 8, data)
	}
	return int64(binary.BigEndian.Uint64(data)), nil
}

// Append implements [Serde].
func (int32Serde) Append(dst []byte, v int32) ([]byte, error) {
	return binary.BigEndian.AppendUint32(dst, uint32(v)), nil
}

// Decode implements [Serde].
func (int32Serde) Decode(data []byte) (int32, error) {
	if len(data) != 4 {
		return 0, lengthError("int32", 4, data)
	}
	return int32(binary.BigEndian.Uint32(data)), nil
}

// Append implements [Serde].
func (float64Serde) Append(dst []byte, v float64) ([]byte, error) {
	return binary.BigEndian.AppendUint64(dst, math.Float64bits(v)), nil
}

// Decode implements [Serde].
func (float64Serde) Decode(data []byte) (float64, error) {
	if len(data) != 8 {
		return 0, lengthError("float64", 8, data)
	}
	return math.Float64frombits(binary.BigEndian.Uint64(data)), nil
}

// Append implements [Serde].
func (boolSerde) Append(dst []byte, v bool) ([]byte, error) {
	if v {
		return append(dst, 1), nil
	}
	return append(dst, 0), nil
}

// Decode implements [Serde].
func (boolSerde) Decode(data []byte) (bool, error) {
	if len(data) != 1 {
		return false, lengthError("bool", 1, data)
	}
	switch data[0] {
	case 0:
		return false, nil
	case 1:
		return true, nil
	}
	return false, fmt.Errorf("serde: bool: want byte 0 or 1, got %#x", data[0])
}

// errNull is what a serde answers that was asked for null in spite of its contract.
var errNull = errors.New("serde: null has no encoding: the runtime writes null keys and values itself")

func lengthError(kind string, want int, data []byte) error {
	const shown = 16 // enough to recognise text or another format in the message
	head, dots := data, ""
	if len(data) > shown {
		head, dots = data[:shown], "…"
	}
	return fmt.Errorf("serde: %s: want %d byte(s), got %d: %q%s (was it written with another serde?)",
		kind, want, len(data), head, dots)
}
