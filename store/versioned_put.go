package store

import (
	"fmt"
	"slices"

	"github.com/tidemarkio/tidemark/record"
)

// put puts a version of an encoded key, or a deletion, unless it is too old, and notes it for the changelog.
func (s *Versioned[K, V]) put(key []byte, v V, exists bool, ts int64) (PutResult, error) {
	if ts < 0 {
		return PutResult{}, fmt.Errorf("store: %s: put at the negative time %d", s.name, ts)
	}
	if ts < s.observed.now-s.retention {
		return PutResult{}, nil
	}
	latest, latestTS, hasLatest, err := s.current(key)
	if err != nil {
		return PutResult{}, err
	}
	if err := s.note(key, v, exists, ts); err != nil {
		return PutResult{}, err
	}
	validTo, err := s.apply(key, v, exists, ts)
	if err != nil || validTo == ValidToOpen {
		return PutResult{Stored: err == nil, ValidTo: validTo}, err
	}
	// Compaction keeps the last record of a key, which had better be its latest version. (Kafka Streams forgets the
	// latest version here, if a compaction comes between.)
	if !hasLatest {
		if latestTS, err = s.deletedAt(key, ts); err != nil {
			return PutResult{}, err
		}
	}
	return PutResult{Stored: true, ValidTo: validTo}, s.note(key, latest, hasLatest, latestTS)
}

// note adds a version to what the changelog gets.
func (s *Versioned[K, V]) note(key []byte, v V, exists bool, ts int64) error {
	if !exists {
		s.puts.Append(key, nil, ts, nil)
		return nil
	}
	b, err := s.value.Append(s.valueBytes[:0], v)
	if err != nil {
		return &CodecError{Store: s.name, Op: "encode value", Key: slices.Clone(key), Err: err}
	}
	if b == nil {
		b = []byte{}
	}
	s.valueBytes = b
	s.puts.Append(key, b, ts, nil)
	return nil
}

// apply puts a version, however old it is: what the changelog has was not too old when it was put. It returns the end
// of the version. A crash may leave rows from behind the checkpoint that a replay begins at; putting the same versions
// over them in the same order makes the same rows.
func (s *Versioned[K, V]) apply(key []byte, v V, exists bool, ts int64) (validTo int64, err error) {
	_, latestTS, hasLatest, err := s.current(key)
	if err != nil {
		return 0, err
	}
	s.observed.Advance(ts)
	if hasLatest && ts >= latestTS || !hasLatest && ts >= s.deleted.now {
		return ValidToOpen, s.applyLatest(key, v, exists, ts)
	}
	row, found, err := s.find(key, ts, s.lastEnd(hasLatest, latestTS))
	switch {
	case err != nil:
		return 0, err
	case found && row.from <= ts:
		validTo = row.to
		if row.from < ts {
			// The version that was valid then ends here.
			if s.segmentOf(row.to) != s.segmentOf(ts) {
				err = s.putRow(key, row, false)
			}
			row.to = ts
			if err == nil {
				err = s.putRow(key, row, true)
			}
		}
	case found:
		validTo = row.from
	case hasLatest:
		validTo = latestTS
	default:
		return ValidToOpen, s.applyLatest(key, v, exists, ts)
	}
	if err != nil {
		return 0, err
	}
	return validTo, s.putRow(key, versionRow[V]{version: version[V]{v, exists}, from: ts, to: validTo}, true)
}

// applyLatest puts a version that no other follows.
func (s *Versioned[K, V]) applyLatest(key []byte, v V, exists bool, ts int64) error {
	latest, latestTS, hasLatest, err := s.current(key)
	if err != nil {
		return err
	}
	if hasLatest && ts > latestTS {
		row := versionRow[V]{version: version[V]{latest, true}, from: latestTS, to: ts}
		if err := s.putRow(key, row, true); err != nil {
			return err
		}
	}
	if !exists {
		s.deleted.Advance(ts)
		if !hasLatest || ts == latestTS {
			// No version ends here that would say when this one began.
			if err := s.putRow(key, versionRow[V]{from: ts, to: ts}, true); err != nil {
				return err
			}
		}
		if !hasLatest {
			return nil
		}
	}
	return s.latest.put(s.latestKey, v, exists, ts, nil)
}

// Seal implements [Store].
func (s *Versioned[K, V]) Seal(epoch record.Epoch, changelog *record.Batch) error {
	if err := s.composite.Seal(epoch, nil); err != nil {
		return err
	}
	if changelog != nil {
		for i := range s.puts.Len() {
			r := s.puts.At(i)
			changelog.Append(r.Key, r.Value, r.Timestamp, nil)
		}
	}
	s.puts.Reset()
	return nil
}

// Rollback implements [Store].
func (s *Versioned[K, V]) Rollback() error {
	s.puts.Reset()
	return s.composite.Rollback()
}

// Replay implements [Store]: it puts the version once more.
func (s *Versioned[K, V]) Replay(r *record.Raw) error {
	switch {
	case r.Key == nil:
		return fmt.Errorf("store: %s: changelog record at offset %d has no key", s.name, r.Offset)
	case r.Timestamp < 0:
		return fmt.Errorf("store: %s: changelog record at offset %d has the negative time %d", s.name, r.Offset, r.Timestamp)
	case s.composite.UncommittedBytes() > 0 || s.puts.Len() > 0:
		return fmt.Errorf("store: %s: changelog record at offset %d for a store with uncommitted writes", s.name, r.Offset)
	}
	var v V
	if r.Value != nil {
		data := r.Value
		if s.latest.aliases {
			data = slices.Clone(data)
		}
		var err error
		if v, err = s.value.Decode(data); err != nil {
			return &CodecError{Store: s.name, Op: "decode value", Key: slices.Clone(r.Key), Err: err}
		}
	}
	s.keyBytes = append(s.keyBytes[:0], r.Key...)
	if _, err := s.apply(s.keyBytes, v, r.Value != nil && !s.null.IsNull(v, false), r.Timestamp); err != nil {
		return err
	}
	if err := s.composite.Seal(0, nil); err != nil {
		return err
	}
	s.Commit(0)
	return nil
}

// UncommittedBytes implements [Store].
func (s *Versioned[K, V]) UncommittedBytes() int {
	return s.composite.UncommittedBytes() + s.puts.Bytes()
}
