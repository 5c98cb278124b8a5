package registry

import (
	"encoding/binary"
	"fmt"
	"math"
)

// The header in front of each key and value: docs/format/registry.md.
const (
	magic       = 0
	headerBytes = 5
	// indexesMax bounds how deep Protobuf messages may be nested in one another.
	indexesMax = 64
)

// AppendHeader appends the header of data written under a schema's id.
func AppendHeader(dst []byte, id int) []byte {
	return binary.BigEndian.AppendUint32(append(dst, magic), uint32(id))
}

// Header returns the id of a header and what follows it.
func Header(data []byte) (id int, rest []byte, err error) {
	if len(data) < headerBytes || data[0] != magic {
		return 0, nil, fmt.Errorf("registry: want the byte 0 and the id of a schema in front, got %d byte(s) that begin "+
			"with %q (was it written by another serde?)", len(data), data[:min(len(data), 8)])
	}
	n := binary.BigEndian.Uint32(data[1:])
	if n > math.MaxInt32 {
		return 0, nil, fmt.Errorf("registry: %d is not the id of a schema: ids are positive 32-bit numbers (was it written "+
			"by another serde?)", n)
	}
	return int(n), data[headerBytes:], nil
}

// AppendIndexes appends the path of a Protobuf message in its file, which follows the header: the position of the
// outermost message, then that of each message within the one before. The most frequent path, [0], is one byte.
func AppendIndexes(dst []byte, path []int) []byte {
	if len(path) == 1 && path[0] == 0 {
		return append(dst, 0)
	}
	dst = binary.AppendVarint(dst, int64(len(path)))
	for _, i := range path {
		dst = binary.AppendVarint(dst, int64(i))
	}
	return dst
}

// SkipIndexes returns what follows the path of a Protobuf message.
func SkipIndexes(data []byte) ([]byte, error) {
	count, n := binary.Varint(data)
	if n <= 0 || count < 0 || count > indexesMax {
		return nil, fmt.Errorf("registry: want the path of a Protobuf message behind the id, got %d byte(s) that begin "+
			"with %q (was it written by another serde?)", len(data), data[:min(len(data), 8)])
	}
	rest := data[n:]
	for range count {
		i, n := binary.Varint(rest)
		if n <= 0 || i < 0 || i > math.MaxInt32 {
			return nil, fmt.Errorf("registry: the path of a Protobuf message of %d steps ends early, or has a step that is "+
				"no position", count)
		}
		rest = rest[n:]
	}
	return rest, nil
}
