package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/tidemarkio/tidemark/record"
)

// Placement says which partitions need a record of a changelog when the number of partitions changes.
type Placement uint8

// Placements.
const (
	// ByKey: the partition of the key, which is that of the records that the row was made of.
	ByKey Placement = iota
	// LeastEverywhere: every partition; of the records of several tasks with the same key, the one with the least value.
	// So are times that have been observed: nothing is late that would not have been.
	LeastEverywhere
	// LeastByKey is LeastEverywhere, and what each task had is remembered for the keys that it had: [Clock.Before].
	LeastByKey
	// GreatestEverywhere is LeastEverywhere with the greatest value: numbers that must not come again.
	GreatestEverywhere
	// Nowhere: the store makes the row anew.
	Nowhere
)

// Place says where a record of the store's changelog belongs, and by which key: the encoded key of the records that
// chose the partition, without window, time or tag. [MergedClocks] reads those that do not belong by key. Of the spec
// it needs Type, TTL, Rows, KeyWindows and PartitionKey.
func (s *Spec) Place(r record.Raw) (where Placement, key []byte, err error) {
	where, key, err = s.place(r.Key)
	if err == nil && where == ByKey {
		key, err = s.partitionKey(key)
	}
	if err != nil {
		return 0, nil, fmt.Errorf("store: %s: partition of the record with key %x: %w", s.Name, r.Key, err)
	}
	return where, key, nil
}

// partitionKey returns the part of an encoded key that chose the partition.
func (s *Spec) partitionKey(key []byte) ([]byte, error) {
	if s.PartitionKey != nil {
		return s.PartitionKey(key)
	}
	n := windowsBytes(s.KeyWindows)
	if n > len(key) {
		return nil, errShortRow
	}
	return key[:len(key)-n], nil
}

func windowsBytes(windows []int) (n int) {
	for _, bytes := range windows {
		n += bytes
	}
	return n
}

func (s *Spec) place(key []byte) (Placement, []byte, error) {
	switch s.Type {
	case TypeKeyValue:
		if s.TTL != (TTL{}) {
			return placeTTL(key)
		}
		return ByKey, key, nil
	case TypeVersioned:
		return ByKey, key, nil
	case TypeTTLKeyValue:
		return placeTTL(key)
	case TypeTimer:
		return placeTimer(key)
	case TypeWindow, TypeSession, TypeUnjoined, TypeTimeBuffer, TypeTimeOrdered:
		return s.placeTagged(key)
	case TypeCustom:
		return 0, nil, errors.New("it is a custom store, which alone knows where its rows belong")
	}
	return 0, nil, fmt.Errorf("where the rows of a store of type %q belong is not known", s.Type)
}

func placeTTL(key []byte) (Placement, []byte, error) {
	tag, row, err := placed(key)
	if err == nil && tag != ttlDataTag && tag != ttlDeadlineTag {
		return unknownTag(tag)
	}
	return ByKey, row, err
}

func placeTimer(key []byte) (Placement, []byte, error) {
	if len(key) < timerHeadBytes {
		return 0, nil, errShortRow
	}
	rest := key[timerHeadBytes:]
	name, n := binary.Uvarint(rest)
	if n <= 0 || name > uint64(len(rest)-n) {
		return 0, nil, errShortRow
	}
	return ByKey, rest[n+int(name):], nil
}

// placeTagged is for stores of several parts.
func (s *Spec) placeTagged(key []byte) (Placement, []byte, error) {
	tag, row, err := placed(key)
	switch {
	case err != nil:
		return 0, nil, err
	case tag == clockTag:
		return s.placeClock(string(row)), nil, nil
	case s.Type == TypeTimeOrdered && tag == placeTag:
		return ByKey, row, nil
	case tag != dataTag: // which is also entryTag
		return unknownTag(tag)
	}
	switch s.Type {
	case TypeUnjoined:
		return cut(row, timeBytes+1, 0)
	case TypeTimeBuffer, TypeTimeOrdered:
		back := timeBytes // the number of the arrival
		if s.Type == TypeTimeOrdered {
			back = 0
		}
		return cut(row, timeBytes, back)
	case TypeSession:
		return cut(row, timeBytes, 2*timeBytes)
	}
	switch s.Rows {
	case GridRows:
		return cut(row, timeBytes, 0)
	case SegmentRows:
		return cut(row, timeBytes, timeBytes)
	case DuplicateRows:
		return cut(row, timeBytes, 2*timeBytes)
	}
	return 0, nil, fmt.Errorf("where the rows of a window store with the layout %q belong is not known", s.Rows)
}

// placeClock tells clocks apart by their names, which are those of docs/format. Operators' clocks of window and session
// stores say what was late and what was emitted, which has to stay so for each key; the store's own bounds the times of
// rows, which may be those of a task that was ahead.
func (s *Spec) placeClock(name string) Placement {
	switch s.Type {
	case TypeTimeOrdered:
		if name == recordsClock || name == bytesClock {
			return Nowhere
		}
	case TypeTimeBuffer:
		if name == arrivalsClock {
			return GreatestEverywhere
		}
	case TypeWindow, TypeSession:
		switch {
		case name == duplicatesClock:
			return GreatestEverywhere
		case name == "", strings.HasPrefix(name, "observed"), strings.HasPrefix(name, "emitted"):
			return LeastByKey
		}
	}
	return LeastEverywhere
}

// placed cuts a key of a composite store into tag and row.
func placed(key []byte) (tag byte, row []byte, err error) {
	if len(key) == 0 {
		return 0, nil, errShortRow
	}
	return key[0], key[1:], nil
}

// cut takes bytes from both ends of a key.
func cut(key []byte, front, back int) (Placement, []byte, error) {
	if len(key) < front+back {
		return 0, nil, errShortRow
	}
	return ByKey, key[front : len(key)-back], nil
}

func unknownTag(tag byte) (Placement, []byte, error) {
	return 0, nil, fmt.Errorf("its rows have no tag %d", tag)
}
