package topology

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/tidemarkio/tidemark/serde"
)

// Change is what travels between table nodes: an update of one key (Kafka Streams' Change).
type Change[V any] struct {
	// New is the row's value from now on; without HasNew the row is deleted.
	New V
	// Old is the row's value before; without HasOld there was none, or nobody below asked for old values.
	Old    V
	HasNew bool
	HasOld bool
	// OutOfOrder says that a newer update of the row came before this one, to a versioned table. It changes the row's
	// history and not the row: joins of tables, foreign-key joins and groupings ignore it. It does not pass through
	// topics.
	OutOfOrder bool
}

// changeSerde is how a Change passes through a repartition topic, where an update of a regrouped table subtracts and
// adds in one record:
//
//	┌─────────┬───────┬──────────────────────┬───────────┬───────────┐
//	│ version │ flags │ uvarint length of new│ new bytes │ old bytes │
//	│ 1       │ 1: new│ only if both are     │           │           │
//	│         │ 2: old│ there                │           │           │
//	└─────────┴───────┴──────────────────────┴───────────┴───────────┘
type changeSerde[V any] struct{ of serde.Serde[V] }

const (
	changeVersion = 1
	changeHasNew  = 1 << 0
	changeHasOld  = 1 << 1
)

// Append implements serde.Serde.
func (s changeSerde[V]) Append(dst []byte, c Change[V]) ([]byte, error) {
	var flags byte
	if c.HasNew {
		flags |= changeHasNew
	}
	if c.HasOld {
		flags |= changeHasOld
	}
	out := dst
	out = append(out, changeVersion, flags)
	var err error
	if c.HasNew {
		start := len(out)
		if out, err = s.of.Append(out, c.New); err != nil {
			return dst, err
		}
		if c.HasOld {
			out = insertLength(out, start)
		}
	}
	if c.HasOld {
		if out, err = s.of.Append(out, c.Old); err != nil {
			return dst, err
		}
	}
	return out, nil
}

// insertLength inserts the length of what stands behind start, as a uvarint.
func insertLength(out []byte, start int) []byte {
	var length [binary.MaxVarintLen64]byte
	n := binary.PutUvarint(length[:], uint64(len(out)-start))
	return slices.Insert(out, start, length[:n]...)
}

// Decode implements serde.Serde.
func (s changeSerde[V]) Decode(data []byte) (Change[V], error) {
	var c Change[V]
	if len(data) < 2 || data[0] != changeVersion || data[1]&^(changeHasNew|changeHasOld) != 0 {
		return c, fmt.Errorf("topology: a change begins with version %d and flags, got %x",
			changeVersion, data[:min(2, len(data))])
	}
	flags, data := data[1], data[2:]
	c.HasNew, c.HasOld = flags&changeHasNew != 0, flags&changeHasOld != 0
	newBytes, oldBytes := data, data
	if c.HasNew && c.HasOld {
		length, n := binary.Uvarint(data)
		if n <= 0 || length > uint64(len(data)-n) {
			return Change[V]{}, fmt.Errorf("topology: a change of %d bytes cannot hold its new value", len(data))
		}
		end := n + int(length)
		newBytes, oldBytes = data[n:end:end], data[end:]
	}
	var err error
	if c.HasNew {
		if c.New, err = s.of.Decode(newBytes); err != nil {
			return Change[V]{}, err
		}
	}
	if c.HasOld {
		if c.Old, err = s.of.Decode(oldBytes); err != nil {
			return Change[V]{}, err
		}
	}
	return c, nil
}
