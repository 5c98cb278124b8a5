package store

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/tidemarkio/tidemark/record"
)

// segmentClock keeps the length of the segments in which the rows in the engine lie.
const segmentClock = "segment"

// settleSegments moves the rows in the engine to the segments of this version of the program: their length follows from
// the retention, which may have changed, and a row is looked up in the segment of its time.
func (s *timed[K, V]) settleSegments() error {
	length, err := s.clocks.localFact(segmentClock)
	if err != nil || length.Now() == s.segment {
		return err
	}
	length.setLocal(s.segment)
	if s.data.engine.Empty() {
		return nil
	}
	head := len(s.data.prefix)
	for row, err := range s.data.engine.Scan(s.data.prefix, prefixEnd(s.data.prefix), false) {
		if err != nil {
			return fmt.Errorf("store: %s: move rows to other segments: %w", s.name, err)
		}
		old := record.Raw{Key: slices.Clone(row.Key[head:])}
		moved := old
		if err := s.resegment(&moved); err != nil {
			return err
		}
		if len(row.Value) < timestampBytes {
			return fmt.Errorf("store: %s: a row of %d bytes is too short", s.name, len(row.Value))
		}
		if bytes.Equal(old.Key, moved.Key) {
			continue
		}
		moved.Timestamp = int64(binary.BigEndian.Uint64(row.Value))
		moved.Value = append([]byte{}, row.Value[timestampBytes:]...)
		for _, r := range []*record.Raw{&old, &moved} {
			if err := s.data.Replay(r); err != nil {
				return err
			}
		}
	}
	return nil
}

// resegment puts a row of the changelog into the segment of its time.
func (s *timed[K, V]) resegment(r *record.Raw) error {
	tail := s.tailBytes()
	if len(r.Key) < timeBytes+tail {
		return fmt.Errorf("store: %s: row at offset %d: a key of %d bytes is too short", s.name, r.Offset, len(r.Key))
	}
	time := int64(binary.BigEndian.Uint64(r.Key[len(r.Key)-tail:]))
	if segment := uint64(time / s.segment); binary.BigEndian.Uint64(r.Key) != segment {
		r.Key = slices.Clone(r.Key)
		binary.BigEndian.PutUint64(r.Key, segment)
	}
	return nil
}

// replayed follows a row of the changelog.
func (s *timed[K, V]) replayed(r *record.Raw) error {
	if err := s.resegment(r); err != nil || s.index == nil {
		return err
	}
	return s.index.replay(r, s.tailBytes())
}
