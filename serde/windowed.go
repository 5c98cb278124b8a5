package serde

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/tidemarkio/tidemark/record"
)

// TimeWindowed is the serde of keys of windows of one size: the key's bytes and the window's start as eight bytes, big
// endian, as Kafka Streams' TimeWindowedSerializer writes them. The end is not written: it is start + size when a key
// is decoded.
func TimeWindowed[K any](key Serde[K], size time.Duration) Serde[record.Windowed[K]] {
	return timeWindowedSerde[K]{key: key, endOf: func(start int64) int64 { return start + size.Milliseconds() }}
}

// TimeWindowedFunc is [TimeWindowed] for windows whose end follows from their start in another way, as that of calendar
// windows.
func TimeWindowedFunc[K any](key Serde[K], endOf func(startMs int64) (endMs int64)) Serde[record.Windowed[K]] {
	return timeWindowedSerde[K]{key: key, endOf: endOf}
}

// SessionWindowed is the serde of keys of sessions: the key's bytes, the window's end and its start, eight bytes each,
// big endian, as Kafka Streams' SessionWindowedSerializer writes them.
func SessionWindowed[K any](key Serde[K]) Serde[record.Windowed[K]] {
	return sessionWindowedSerde[K]{key: key}
}

// WindowBytes returns, for a serde of keys with windows, how many bytes at the end of an encoded key are a window: 8 of
// [TimeWindowed], 16 of [SessionWindowed]. A key with a window within a key with a window has several, the outermost
// first. Of other serdes it is nil. The window is not what chooses a key's partition while records come out of an
// aggregation: the key in it was.
func WindowBytes(of any) []int {
	w, ok := of.(interface{ windowBytes() []int })
	if !ok {
		return nil
	}
	return w.windowBytes()
}

func (s timeWindowedSerde[K]) windowBytes() []int {
	return append([]int{timeBytes}, WindowBytes(s.key)...)
}

func (s sessionWindowedSerde[K]) windowBytes() []int {
	return append([]int{2 * timeBytes}, WindowBytes(s.key)...)
}

const timeBytes = 8

type timeWindowedSerde[K any] struct {
	key   Serde[K]
	endOf func(start int64) int64
}

// Append implements [Serde].
func (s timeWindowedSerde[K]) Append(dst []byte, w record.Windowed[K]) ([]byte, error) {
	out, err := s.key.Append(dst, w.Key)
	if err != nil {
		return dst, err
	}
	return binary.BigEndian.AppendUint64(out, uint64(w.Window.Start)), nil
}

// Decode implements [Serde].
func (s timeWindowedSerde[K]) Decode(data []byte) (w record.Windowed[K], err error) {
	n := len(data) - timeBytes
	if n < 0 {
		return w, fmt.Errorf("serde: a windowed key ends with %d bytes of time, got %d bytes", timeBytes, len(data))
	}
	w.Window.Start = int64(binary.BigEndian.Uint64(data[n:]))
	w.Window.End = s.endOf(w.Window.Start)
	w.Key, err = s.key.Decode(data[:n:n])
	return w, err
}

type sessionWindowedSerde[K any] struct{ key Serde[K] }

// Append implements [Serde].
func (s sessionWindowedSerde[K]) Append(dst []byte, w record.Windowed[K]) ([]byte, error) {
	out, err := s.key.Append(dst, w.Key)
	if err != nil {
		return dst, err
	}
	out = binary.BigEndian.AppendUint64(out, uint64(w.Window.End))
	return binary.BigEndian.AppendUint64(out, uint64(w.Window.Start)), nil
}

// Decode implements [Serde].
func (s sessionWindowedSerde[K]) Decode(data []byte) (w record.Windowed[K], err error) {
	n := len(data) - 2*timeBytes
	if n < 0 {
		return w, fmt.Errorf("serde: a session's key ends with %d bytes of time, got %d bytes", 2*timeBytes, len(data))
	}
	w.Window.End = int64(binary.BigEndian.Uint64(data[n:]))
	w.Window.Start = int64(binary.BigEndian.Uint64(data[n+timeBytes:]))
	w.Key, err = s.key.Decode(data[:n:n])
	return w, err
}
