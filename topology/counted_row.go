package topology

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/tidemarkio/tidemark/serde"
)

// countRow is what is kept of a key with count windows.
type countRow[A any] struct {
	seen int64 // records so far
	open []countWindow[A]
}

// countWindow is a window that is not full, by ascending end.
type countWindow[A any] struct {
	end       int64
	value     A
	exists    bool
	timestamp int64 // the highest of the records
}

// countRowSerde is how a row is stored (docs/format/count-windows.md):
//
//	│ version 1 │ seen uvarint │ windows uvarint │ windows × (end uvarint, timestamp uvarint, length+1 uvarint, value) │
//
// A length of 0 stands for no aggregate.
type countRowSerde[A any] struct{ of serde.Serde[A] }

const countRowVersion = 1

func newCountRowSerde[A any](of serde.Serde[A]) serde.Serde[countRow[A]] {
	if of == nil {
		return nil // reported where serdes are checked
	}
	return countRowSerde[A]{of}
}

// Append implements serde.Serde.
func (s countRowSerde[A]) Append(dst []byte, row countRow[A]) ([]byte, error) {
	out := binary.AppendUvarint(append(dst, countRowVersion), uint64(row.seen))
	out = binary.AppendUvarint(out, uint64(len(row.open)))
	var value []byte
	for i := range row.open {
		w := &row.open[i]
		out = binary.AppendUvarint(binary.AppendUvarint(out, uint64(w.end)), uint64(w.timestamp))
		if !w.exists {
			out = append(out, 0)
			continue
		}
		var err error
		if value, err = s.of.Append(value[:0], w.value); err != nil {
			return dst, err
		}
		out = append(binary.AppendUvarint(out, uint64(len(value))+1), value...)
	}
	return out, nil
}

// Decode implements serde.Serde.
func (s countRowSerde[A]) Decode(data []byte) (row countRow[A], err error) {
	if len(data) == 0 || data[0] != countRowVersion {
		return row, fmt.Errorf("topology: a row of count windows begins with version %d, got %x",
			countRowVersion, data[:min(1, len(data))])
	}
	data = data[1:]
	malformed := errors.New("topology: a row of count windows is malformed")
	number := func() int64 {
		n, size := binary.Uvarint(data)
		if size <= 0 || int64(n) < 0 {
			err = malformed
			return 0
		}
		data = data[size:]
		return int64(n)
	}
	row.seen = number()
	const windowBytesMin = 3
	count := number()
	if err != nil || count > int64(len(data)/windowBytesMin) {
		return countRow[A]{}, malformed
	}
	row.open = make([]countWindow[A], count)
	for i := range row.open {
		w := &row.open[i]
		w.end, w.timestamp = number(), number()
		length := number() - 1
		if err != nil || length > int64(len(data)) {
			return countRow[A]{}, malformed
		}
		if length < 0 {
			continue
		}
		w.exists = true
		if w.value, err = s.of.Decode(data[:length:length]); err != nil {
			return countRow[A]{}, err
		}
		data = data[length:]
	}
	if len(data) > 0 {
		return countRow[A]{}, malformed
	}
	return row, nil
}
