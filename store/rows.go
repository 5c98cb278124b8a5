package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"

	"github.com/tidemarkio/tidemark/record"
)

// What is in a snapshot as records of changelogs: for whoever reads snapshots without a running task, and for another
// number of partitions.

// rowPart says what the rows of a part of a kind of store are to the changelog.
type rowPart uint8

const (
	partUnknown rowPart = iota
	partRows            // as in the changelog, behind their timestamp
	partClocks          // as in the changelog, without a timestamp
	partDerived         // not in the changelog: replaying other rows makes them
	partHistory         // old versions
)

// rowParts returns the parts of a kind of store by their tags; tagged is false if there is but one, without a tag.
func rowParts(storeType string) (parts [4]rowPart, tagged bool, err error) {
	switch storeType {
	case TypeKeyValue, TypeTimer:
		return parts, false, nil
	case TypeTTLKeyValue:
		parts[ttlDataTag], parts[ttlDeadlineTag], parts[ttlIndexTag] = partRows, partRows, partDerived
	case TypeWindow, TypeSession:
		parts[clockTag], parts[dataTag], parts[indexTag] = partClocks, partRows, partDerived
	case TypeUnjoined, TypeTimeBuffer:
		parts[clockTag], parts[dataTag] = partClocks, partRows
	case TypeTimeOrdered:
		parts[clockTag], parts[entryTag], parts[placeTag] = partClocks, partRows, partRows
	case TypeVersioned:
		parts[clockTag], parts[oldTag], parts[latestTag] = partDerived, partHistory, partRows
	case TypeCustom:
		return parts, false, errors.New("it is a custom store, which keeps its state itself: its changelog restores it")
	default:
		return parts, false, fmt.Errorf("stores of type %q are unknown: was the snapshot made by a newer release?", storeType)
	}
	return parts, true, nil
}

// ChangelogRecords yields the rows of one store of a snapshot as records of its changelog, with key, value and
// timestamp as the store wrote them, and without offsets: [Set.Replay] of all of them makes the same store. Rows that
// the changelog does not carry are left out. Of a versioned store a record follows for each end of a version, as a
// deletion; the last record of a key is its latest version.
//
// entries are those of [Snapshot.Full] or [MergeFull]. storeType is the [Spec.Type]; with a TTL it is
// [TypeTTLKeyValue]. The slices hold until the next step.
func ChangelogRecords(
	storeName, storeType string, entries iter.Seq2[Entry, error],
) iter.Seq2[record.Raw, error] {
	return func(yield func(record.Raw, error) bool) {
		fail := func(err error) {
			yield(record.Raw{}, fmt.Errorf("store: rows of store %q of a snapshot: %w", storeName, err))
		}
		parts, tagged, err := rowParts(storeType)
		if err != nil {
			fail(err)
			return
		}
		pull, stop := iter.Pull2(entries)
		defer stop()
		tables, at, err := readNameTables(pull)
		if err != nil {
			fail(err)
			return
		}
		number, ok := tables.disk[storeName]
		if !ok {
			number, ok = tables.memory[storeName]
		}
		if !ok {
			fail(errors.New("the snapshot has no such store"))
			return
		}
		prefix := binary.BigEndian.AppendUint16(nil, number)
		c := rowReader{
			parts: parts, tagged: tagged, timed: storeType == TypeWindow || storeType == TypeSession, yield: yield,
			key: []byte{}, // empty is not nil
		}
		for ok = at.Key != nil; ok && err == nil; at, err, ok = pull() {
			row, mine := bytes.CutPrefix(at.Key, prefix)
			switch {
			case !mine && bytes.Compare(at.Key, prefix) > 0:
				return
			case !mine || at.Value == nil:
				continue
			}
			more, err := c.row(row, at.Value)
			if err != nil {
				fail(fmt.Errorf("row %x: %w", row, err))
				return
			}
			if !more {
				return
			}
		}
		if err != nil {
			fail(err)
		}
	}
}

// ChangelogRecords is the function of that name for a store of this set.
func (s *Set) ChangelogRecords(storeName string, entries iter.Seq2[Entry, error]) iter.Seq2[record.Raw, error] {
	i, ok := s.byName[storeName]
	if !ok {
		return func(yield func(record.Raw, error) bool) {
			yield(record.Raw{}, fmt.Errorf("store: task %s has no store %q", s.config.TaskID, storeName))
		}
	}
	return ChangelogRecords(storeName, typeOfStore(&s.stores[i]), entries)
}

// typeOfStore is the Type as Spec should have it.
func typeOfStore(st *setStore) string {
	if st.spec.Type == TypeKeyValue && st.spec.TTL != (TTL{}) {
		return TypeTTLKeyValue
	}
	if _, ok := st.layered.(custom); ok {
		return TypeCustom
	}
	return st.spec.Type
}

// rowReader makes records of the rows of a store.
type rowReader struct {
	parts  [4]rowPart
	tagged bool
	timed  bool // some clocks are not in the changelog
	yield  func(record.Raw, error) bool
	key    []byte // scratch
}

var errShortRow = errors.New("it is too short")

// row makes the records of one row. The key is without the store's prefix.
func (c *rowReader) row(key, value []byte) (more bool, err error) {
	part := partRows
	if c.tagged {
		if len(key) == 0 {
			return false, errShortRow
		}
		if int(key[0]) < len(c.parts) {
			part = c.parts[key[0]]
		} else {
			part = partUnknown
		}
	}
	switch part {
	case partDerived:
		return true, nil
	case partClocks:
		return c.clock(key, value)
	case partUnknown:
		return false, errors.New("it is of no known kind: was the snapshot made by a newer release?")
	case partRows, partHistory:
	}
	if len(value) < timestampBytes {
		return false, errShortRow
	}
	timestamp := int64(binary.BigEndian.Uint64(value))
	value = value[timestampBytes:]
	if part == partHistory {
		return c.version(key, value, timestamp)
	}
	if c.parts[latestTag] == partRows && c.parts[oldTag] == partHistory {
		key = key[1:] // the changelog of a versioned store has no tags
	}
	return c.yield(record.Raw{Key: key, Value: value, Timestamp: timestamp}, nil), nil
}

func (c *rowReader) clock(key, value []byte) (more bool, err error) {
	now, _, err := parseClock(value)
	if err != nil {
		return false, err
	}
	if name := string(key[1:]); c.timed && (name == indexClock || name == segmentClock) {
		return true, nil // facts about the engine
	}
	return c.yield(record.Raw{Key: key, Value: value, Timestamp: max(0, now)}, nil), nil
}

// version makes the records of an old version: it began with a put, and ended at a time from which on there is either
// another version, whose put follows and takes the place of the deletion, or none.
func (c *rowReader) version(key, value []byte, to int64) (more bool, err error) {
	const around = 1 + timeBytes // tag and segment
	if len(key) < around+timeBytes || len(value) < 2 || value[0] != versionFormat {
		return false, errors.New("it is no version")
	}
	from := int64(binary.BigEndian.Uint64(key[len(key)-timeBytes:]))
	c.key = append(c.key[:0], key[around:len(key)-timeBytes]...)
	if from < to {
		put := record.Raw{Key: c.key, Timestamp: from}
		if value[1] != 0 {
			put.Value = value[2:]
		}
		if !c.yield(put, nil) {
			return false, nil
		}
	}
	return c.yield(record.Raw{Key: c.key, Timestamp: to}, nil), nil
}
