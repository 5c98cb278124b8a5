package serde

import (
	"encoding/binary"
	"errors"
	"fmt"
	"reflect"
	"slices"
)

// versionMax bounds versions: a number above it is not a version but another format.
const versionMax = 1 << 20

// Versioned returns a serde for values whose format changes over the life of an application. It writes the version of
// the format before each value, always the current one, and reads every version that it knows, upgrading older values:
//
//	orders, err := serde.Versioned(3, serde.JSON[Order](),
//		serde.Upgrade(1, serde.JSON[orderV1](), func(o orderV1) (Order, error) { … }),
//		serde.Upgrade(2, serde.JSON[orderV2](), func(o orderV2) (Order, error) { … }))
//
// Versions are from 1 to 1,048,576; those up to 127 take one byte (docs/format/versioned.md). A store is upgraded value
// by value, as values are read and written again; a version may be dropped when no value of it is left. Deploy a new
// version to all instances before it writes, or stop them: an older program refuses it with an error that says so.
//
// It is for values. As a key it would give the same key other bytes, so another partition and another entry in stores,
// after each change of the version.
//
// Data that was written without Versioned cannot be told apart and is not readable: use a new topic or store name.
func Versioned[T any](current int, s Serde[T], older ...Older[T]) (Serde[T], error) {
	v := &versionedSerde[T]{current: uint64(max(current, 0)), of: s, older: make(map[uint64]Older[T], len(older))}
	var errs []error
	if current < 1 || current > versionMax {
		errs = append(errs,
			fmt.Errorf("serde: versioned %s: the version %d is not in 1 to %d", v.name(), current, versionMax))
	}
	if s == nil {
		errs = append(errs, fmt.Errorf("serde: versioned %s: the serde of the current version is nil", v.name()))
	}
	for _, o := range older {
		switch _, twice := v.older[uint64(max(o.version, 0))]; {
		case o.decode == nil:
			errs = append(errs, fmt.Errorf("serde: versioned %s: version %d has no serde or no function that upgrades it: "+
				"make it with serde.Upgrade", v.name(), o.version))
		case o.version < 1 || o.version >= current:
			errs = append(errs, fmt.Errorf("serde: versioned %s: version %d is not older than the current one, %d",
				v.name(), o.version, current))
		case twice:
			errs = append(errs, fmt.Errorf("serde: versioned %s: version %d is given twice", v.name(), o.version))
		default:
			v.older[uint64(o.version)] = o
			v.known = append(v.known, o.version)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	v.known = append(v.known, current)
	slices.Sort(v.known)
	return v, nil
}

// Older is a former version of a format, for [Versioned]. Make it with [Upgrade].
type Older[T any] struct {
	version int
	decode  func(data []byte) (T, error)
}

// Upgrade describes a version that is only read: the serde that it was written with, and how its values become today's.
// upgrade must be deterministic: an upgraded value is not written back until it is put again, so it may run many times.
// Its error counts as one of decoding.
func Upgrade[Old, T any](version int, s Serde[Old], upgrade func(Old) (T, error)) Older[T] {
	o := Older[T]{version: version}
	if s == nil || upgrade == nil {
		return o // Versioned reports it
	}
	o.decode = func(data []byte) (T, error) {
		var zero T
		old, err := s.Decode(data)
		if err != nil {
			return zero, err
		}
		v, err := upgrade(old)
		if err != nil {
			return zero, fmt.Errorf("upgrade: %w", err)
		}
		return v, nil
	}
	return o
}

type versionedSerde[T any] struct {
	current uint64
	of      Serde[T]
	older   map[uint64]Older[T]
	known   []int // for messages
}

// Append implements [Serde].
func (s *versionedSerde[T]) Append(dst []byte, v T) ([]byte, error) {
	out, err := s.of.Append(binary.AppendUvarint(dst, s.current), v)
	if err != nil {
		return dst, err
	}
	return out, nil
}

// Decode implements [Serde].
func (s *versionedSerde[T]) Decode(data []byte) (T, error) {
	var zero T
	version, n := binary.Uvarint(data)
	if n <= 0 || version == 0 || version > versionMax {
		return zero, fmt.Errorf("serde: versioned %s: want a version in front, got %d byte(s) that begin with %q (was it "+
			"written without serde.Versioned?)", s.name(), len(data), data[:min(len(data), 8)])
	}
	body := data[n:]
	if version == s.current {
		return s.of.Decode(body)
	}
	o, ok := s.older[version]
	if !ok {
		return zero, fmt.Errorf("serde: versioned %s: version %d is not one of %v: a newer program wrote it, or the "+
			"version was dropped while values of it were left", s.name(), version, s.known)
	}
	v, err := o.decode(body)
	if err != nil {
		return zero, fmt.Errorf("serde: versioned %s: version %d: %w", s.name(), version, err)
	}
	return v, nil
}

func (s *versionedSerde[T]) name() string { return reflect.TypeFor[T]().String() }
