package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
)

// bufferedFormat is the first byte of an encoded buffered record.
const bufferedFormat = 1

// bufferedSerde encodes a buffered record: format, headers, and the value behind them.
type bufferedSerde[V any] struct {
	value   serde.Serde[V]
	aliases bool // decoded values alias the encoded bytes
}

// Append implements serde.Serde. The value of a header is preceded by its length and 1, or by 0 if it is nil.
func (s bufferedSerde[V]) Append(dst []byte, v buffered[V]) ([]byte, error) {
	dst = binary.AppendUvarint(append(dst, bufferedFormat), uint64(len(v.headers)))
	for _, h := range v.headers {
		dst = appendString(dst, h.Key)
		if h.Value == nil {
			dst = append(dst, 0)
			continue
		}
		dst = append(binary.AppendUvarint(dst, uint64(len(h.Value))+1), h.Value...)
	}
	return s.value.Append(dst, v.value)
}

// Decode implements serde.Serde.
func (s bufferedSerde[V]) Decode(data []byte) (v buffered[V], err error) {
	if len(data) == 0 || data[0] != bufferedFormat {
		return v, fmt.Errorf("no buffered record of format %d: was it written by a newer release?", bufferedFormat)
	}
	d := decoder{data: data[1:]}
	for range d.count() {
		h := record.Header{Key: d.string()}
		if n := d.uvarint(); n > 0 {
			if n-1 > uint64(len(d.data)) {
				d.fail()
				break
			}
			h.Value = append([]byte{}, d.data[:n-1]...)
			d.data = d.data[n-1:]
		}
		v.headers = append(v.headers, h)
	}
	if d.failed {
		return v, errors.New("the headers of a buffered record are malformed")
	}
	if s.aliases {
		d.data = slices.Clone(d.data)
	}
	v.value, err = s.value.Decode(d.data)
	return v, err
}
