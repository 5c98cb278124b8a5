package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"reflect"
	"slices"

	"github.com/tidemarkio/tidemark/serde"
)

// unjoinedSerde is the format of the rows of [Unjoined]:
//
//	│ version 1 │ side 1 │ values, each: uvarint length, bytes │
type unjoinedSerde[L, R any] struct {
	left  serde.Serde[L]
	right serde.Serde[R]
	// aliases says that the values of a side, by its number, alias the bytes they are decoded from.
	aliases [2]bool
}

// unjoinedVersion is the first byte of a row.
const unjoinedVersion = 1

func newUnjoinedSerde[L, R any](left serde.Serde[L], right serde.Serde[R]) unjoinedSerde[L, R] {
	s := unjoinedSerde[L, R]{left: left, right: right}
	s.aliases[LeftSide], s.aliases[RightSide] = isBytes[L](), isBytes[R]()
	return s
}

// isBytes reports that T is a slice of bytes, the only type whose decoded values alias the encoded ones.
func isBytes[T any]() bool {
	t := reflect.TypeFor[T]()
	return t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Uint8
}

// Append implements serde.Serde.
func (s unjoinedSerde[L, R]) Append(dst []byte, row unjoinedRow[L, R]) ([]byte, error) {
	out, err := s.appendValue(append(dst, unjoinedVersion, byte(row.side)), row.side, row.unjoinedValue)
	for i := 0; i < len(row.more) && err == nil; i++ {
		out, err = s.appendValue(out, row.side, row.more[i])
	}
	if err != nil {
		return dst, err
	}
	return out, nil
}

func (s unjoinedSerde[L, R]) appendValue(dst []byte, side Side, v unjoinedValue[L, R]) (out []byte, err error) {
	start := len(dst)
	if side == LeftSide {
		out, err = s.left.Append(dst, v.left)
	} else {
		out, err = s.right.Append(dst, v.right)
	}
	if err != nil {
		return dst, err
	}
	var length [binary.MaxVarintLen64]byte
	n := binary.PutUvarint(length[:], uint64(len(out)-start))
	return slices.Insert(out, start, length[:n]...), nil
}

// Decode implements serde.Serde.
func (s unjoinedSerde[L, R]) Decode(data []byte) (row unjoinedRow[L, R], err error) {
	if len(data) < 2 || data[0] != unjoinedVersion || data[1] > byte(LeftSide) {
		return row, fmt.Errorf("store: records that wait begin with version %d and a side, got %x",
			unjoinedVersion, data[:min(2, len(data))])
	}
	row.side = Side(data[1])
	if data = data[2:]; len(data) == 0 {
		return row, errors.New("store: a row of records that wait is empty")
	}
	if s.aliases[row.side] {
		data = slices.Clone(data) // the store reuses what it gave us
	}
	for first := true; len(data) > 0; first = false {
		length, n := binary.Uvarint(data)
		if n <= 0 || length > uint64(len(data)-n) {
			return unjoinedRow[L, R]{}, fmt.Errorf("store: %d bytes cannot hold a record that waits", len(data))
		}
		end := n + int(length)
		v, err := s.decodeValue(row.side, data[n:end:end])
		if err != nil {
			return unjoinedRow[L, R]{}, err
		}
		if data = data[end:]; first {
			row.unjoinedValue = v
		} else {
			row.more = append(row.more, v)
		}
	}
	return row, nil
}

func (s unjoinedSerde[L, R]) decodeValue(side Side, data []byte) (v unjoinedValue[L, R], err error) {
	if side == LeftSide {
		v.left, err = s.left.Decode(data)
	} else {
		v.right, err = s.right.Decode(data)
	}
	return v, err
}
