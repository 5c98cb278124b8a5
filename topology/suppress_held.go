package topology

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
)

// heldUpdate is an update that a suppress holds back.
type heldUpdate[V any] struct {
	value, prior       V // prior: what was forwarded last
	hasValue, hasPrior bool
	headers            []record.Header
}

// heldSerde is how a held update is stored (docs/format/suppress-buffer.md):
//
//	│ version 1 │ flags │ headers │ uvarint length of value │ value │ prior │
//	             1: value          only if both are there
//	             2: prior
//	             4: headers: uvarint count × (uvarint length, key, uvarint length+1, value); a length of 0 is a null value
type heldSerde[V any] struct{ of serde.Serde[V] }

const (
	heldVersion  = 1
	heldHasValue = 1 << 0
	heldHasPrior = 1 << 1
	heldHeaders  = 1 << 2
	heldFlags    = heldHasValue | heldHasPrior | heldHeaders
)

func newHeldSerde[V any](of serde.Serde[V]) serde.Serde[heldUpdate[V]] {
	if of == nil {
		return nil // reported where serdes are checked
	}
	return heldSerde[V]{of}
}

// Append implements serde.Serde.
func (s heldSerde[V]) Append(dst []byte, h heldUpdate[V]) ([]byte, error) {
	out := appendHeldHead(dst, h.hasValue, h.hasPrior, h.headers)
	var err error
	if h.hasValue {
		start := len(out)
		if out, err = s.of.Append(out, h.value); err != nil {
			return dst, err
		}
		if h.hasPrior {
			out = insertLength(out, start)
		}
	}
	if h.hasPrior {
		if out, err = s.of.Append(out, h.prior); err != nil {
			return dst, err
		}
	}
	return out, nil
}

// appendHeldHead appends all that stands before the values.
func appendHeldHead(out []byte, hasValue, hasPrior bool, headers []record.Header) []byte {
	var flags byte
	if hasValue {
		flags |= heldHasValue
	}
	if hasPrior {
		flags |= heldHasPrior
	}
	if len(headers) == 0 {
		return append(out, heldVersion, flags)
	}
	out = append(out, heldVersion, flags|heldHeaders)
	out = binary.AppendUvarint(out, uint64(len(headers)))
	for _, h := range headers {
		out = append(binary.AppendUvarint(out, uint64(len(h.Key))), h.Key...)
		if h.Value == nil {
			out = append(out, 0)
			continue
		}
		out = append(binary.AppendUvarint(out, uint64(len(h.Value))+1), h.Value...)
	}
	return out
}

// Decode implements serde.Serde.
func (s heldSerde[V]) Decode(data []byte) (h heldUpdate[V], err error) {
	if len(data) < 2 || data[0] != heldVersion || data[1]&^heldFlags != 0 {
		return h, fmt.Errorf("topology: a suppressed update begins with version %d and flags, got %x",
			heldVersion, data[:min(2, len(data))])
	}
	flags, rest := data[1], data[2:]
	if flags&heldHeaders != 0 {
		if h.headers, rest, err = decodeHeaders(rest); err != nil {
			return heldUpdate[V]{}, err
		}
	}
	value, prior := rest, rest
	if flags&heldHasValue != 0 && flags&heldHasPrior != 0 {
		length, n := binary.Uvarint(rest)
		if n <= 0 || length > uint64(len(rest)-n) {
			return heldUpdate[V]{}, errMalformedHeld
		}
		end := n + int(length)
		value, prior = rest[n:end:end], rest[end:]
	}
	if h.hasValue = flags&heldHasValue != 0; h.hasValue {
		if h.value, err = s.of.Decode(value); err != nil {
			return heldUpdate[V]{}, err
		}
	}
	if h.hasPrior = flags&heldHasPrior != 0; h.hasPrior {
		if h.prior, err = s.of.Decode(prior); err != nil {
			return heldUpdate[V]{}, err
		}
	}
	return h, nil
}

var errMalformedHeld = errors.New("topology: a suppressed update is malformed")

// decodeHeaders reads headers, which then alias data, and returns what follows.
func decodeHeaders(data []byte) (headers []record.Header, rest []byte, err error) {
	const headerBytesMin = 2
	count, n := binary.Uvarint(data)
	if n <= 0 || count > uint64(len(data)/headerBytesMin) {
		return nil, nil, errMalformedHeld
	}
	data = data[n:]
	headers = make([]record.Header, count)
	for i := range headers {
		length, n := binary.Uvarint(data)
		if n <= 0 || length > uint64(len(data)-n) {
			return nil, nil, errMalformedHeld
		}
		headers[i].Key, data = string(data[n:n+int(length)]), data[n+int(length):]
		length, n = binary.Uvarint(data)
		if n <= 0 || length > uint64(len(data)-n)+1 {
			return nil, nil, errMalformedHeld
		}
		data = data[n:]
		if length > 0 {
			end := int(length) - 1
			headers[i].Value, data = data[:end:end], data[end:]
		}
	}
	return headers, data, nil
}
