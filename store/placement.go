package store

import (
	"encoding/binary"
	"fmt"

	"github.com/tidemarkio/tidemark/record"
)

// Placement says which partitions need a record of a changelog when the number of partitions changes.
type Placement uint8

// Placements.
const (
	// ByKey: the partition of the key, which is that of the records that the row was made of.
	ByKey Placement = iota
	// LeastEverywhere: every partition; of the records of several tasks with the same key, the one with the least value
	// but -1, which stands for never. So are times that have been observed: nothing is late that would not have been.
	LeastEverywhere
	// GreatestEverywhere is LeastEverywhere with the greatest value: numbers that must not come again.
	GreatestEverywhere
	// Nowhere: the store makes the row anew.
	Nowhere
)

// placing is a store that knows where its changelog's records belong.
type placing interface {
	placement(key []byte) (Placement, []byte, error)
}

// PartitionKey says where a record of a store's changelog belongs, and by which key: the encoded key of the records that
// chose the partition, without window, time or tag. Values of clocks are eight bytes, big endian; see [ClockValue].
func (s *Set) PartitionKey(storeName string, r record.Raw) (where Placement, key []byte, err error) {
	i, ok := s.byName[storeName]
	if !ok {
		return 0, nil, fmt.Errorf("store: task %s has no store %q", s.config.TaskID, storeName)
	}
	st := &s.stores[i]
	p, ok := st.layered.(placing)
	if !ok {
		return 0, nil, fmt.Errorf("store: %s: where the rows of a %T belong is not known", storeName, st.facade())
	}
	where, key, err = p.placement(r.Key)
	if err == nil && where == ByKey && st.spec.PartitionKey != nil {
		key, err = st.spec.PartitionKey(key)
	}
	if err != nil {
		return 0, nil, fmt.Errorf("store: %s: partition of the record with key %x: %w", storeName, r.Key, err)
	}
	return where, key, nil
}

// ClockValue returns the value of a record whose placement is LeastEverywhere or GreatestEverywhere.
func ClockValue(r record.Raw) (int64, error) {
	if len(r.Value) != clockBytes {
		return 0, fmt.Errorf("store: a clock has %d bytes, not %d", clockBytes, len(r.Value))
	}
	return int64(binary.BigEndian.Uint64(r.Value)), nil
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

func (s *KeyValue[K, V]) placement(key []byte) (Placement, []byte, error) { return ByKey, key, nil }

func (s *ttlStore[K, V]) placement(key []byte) (Placement, []byte, error) {
	tag, row, err := placed(key)
	if err == nil && tag != ttlDataTag && tag != ttlDeadlineTag {
		return unknownTag(tag)
	}
	return ByKey, row, err
}

func (s *Timers[K]) placement(key []byte) (Placement, []byte, error) {
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

func (s *timed[K, V]) placement(key []byte) (Placement, []byte, error) {
	tag, row, err := placed(key)
	switch {
	case err != nil:
		return 0, nil, err
	case tag == clockTag && string(row) == duplicatesClock:
		return GreatestEverywhere, nil, nil
	case tag == clockTag:
		return LeastEverywhere, nil, nil
	case tag != dataTag:
		return unknownTag(tag)
	case s.next != nil:
		return cut(row, timeBytes, 0)
	}
	return cut(row, timeBytes, s.tailBytes())
}

func (s *Unjoined[K, L, R]) placement(key []byte) (Placement, []byte, error) {
	tag, row, err := placed(key)
	switch {
	case err != nil:
		return 0, nil, err
	case tag == clockTag:
		return LeastEverywhere, nil, nil
	case tag != dataTag:
		return unknownTag(tag)
	}
	return cut(row, timeBytes+1, 0)
}

func (b *TimeBuffer[K, V]) placement(key []byte) (Placement, []byte, error) {
	tag, row, err := placed(key)
	switch {
	case err != nil:
		return 0, nil, err
	case tag == clockTag && string(row) == arrivalsClock:
		return GreatestEverywhere, nil, nil
	case tag == clockTag:
		return LeastEverywhere, nil, nil
	case tag != dataTag:
		return unknownTag(tag)
	}
	return cut(row, timeBytes, timeBytes)
}

func (s *TimeOrdered[K, V]) placement(key []byte) (Placement, []byte, error) {
	tag, row, err := placed(key)
	switch {
	case err != nil:
		return 0, nil, err
	case tag == clockTag && (string(row) == recordsClock || string(row) == bytesClock):
		return Nowhere, nil, nil
	case tag == clockTag:
		return LeastEverywhere, nil, nil
	case tag == entryTag:
		return cut(row, timeBytes, 0)
	case tag == placeTag:
		return ByKey, row, nil
	}
	return unknownTag(tag)
}

func (s *Versioned[K, V]) placement(key []byte) (Placement, []byte, error) { return ByKey, key, nil }
