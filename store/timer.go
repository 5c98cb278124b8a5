package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/tidemarkio/tidemark/serde"
)

// Timer is a point in time at which something is to happen for a key. There is one timer for the same four fields,
// however often it is registered (as in Flink).
type Timer[K any] struct {
	Key K
	// At is when it is due, in milliseconds since the Unix epoch.
	At   int64
	Kind TimerKind
	// Name tells timers of different purposes apart (Flink's namespace); "" by default.
	Name string
}

// TimerKind says which time fires a timer.
type TimerKind uint8

// Kinds of timers.
const (
	// EventTimer fires when stream time reaches it.
	EventTimer TimerKind = iota
	// WallClockTimer fires when the wall clock reaches it (Flink's processing time).
	WallClockTimer

	timerKinds
)

// timerVersion is the first byte of every encoded timer, see docs/format/timer.md.
const timerVersion = 1

// timerSerde encodes timers so that their bytes order by kind, time, name and key.
type timerSerde[K any] struct{ key serde.Serde[K] }

// appendTimerHead appends what all timers of a kind and time begin with.
func appendTimerHead(dst []byte, kind TimerKind, at int64) []byte {
	// With the sign bit flipped, negative times come before positive ones.
	return binary.BigEndian.AppendUint64(append(dst, timerVersion, byte(kind)), uint64(at)^1<<63)
}

// Append implements serde.Serde.
func (s timerSerde[K]) Append(dst []byte, t Timer[K]) ([]byte, error) {
	dst = appendTimerHead(dst, t.Kind, t.At)
	dst = append(binary.AppendUvarint(dst, uint64(len(t.Name))), t.Name...)
	return s.key.Append(dst, t.Key)
}

const timerHeadBytes = 10

// Decode implements serde.Serde.
func (s timerSerde[K]) Decode(data []byte) (t Timer[K], err error) {
	switch {
	case len(data) < timerHeadBytes:
		return t, fmt.Errorf("a timer of %d bytes is too short", len(data))
	case data[0] != timerVersion:
		return t, fmt.Errorf("a timer of format version %d, this build knows %d", data[0], timerVersion)
	case data[1] >= byte(timerKinds):
		return t, fmt.Errorf("a timer of the unknown kind %d", data[1])
	}
	t.Kind, t.At = TimerKind(data[1]), int64(binary.BigEndian.Uint64(data[2:])^1<<63)
	name, n := binary.Uvarint(data[timerHeadBytes:])
	rest := data[timerHeadBytes+max(n, 0):]
	if n <= 0 || name > uint64(len(rest)) {
		return t, errors.New("the name of a timer is cut off")
	}
	t.Name = string(rest[:name])
	t.Key, err = s.key.Decode(slices.Clone(rest[name:])) // the key may alias it, and is kept
	return t, err
}
