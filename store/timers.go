package store

import (
	"errors"
	"iter"
	"slices"

	"github.com/tidemarkio/tidemark/serde"
)

// Timers keeps the timers of one task, in the order in which they are due. Processors use it through
// processor.NewTimers, which also fires them.
//
// Owned by the task goroutine.
type Timers[K any] struct {
	*buffer[struct{}]

	key      timerSerde[K]
	keyBytes []byte // scratch: prefix and encoded timer
}

var _ layered = (*Timers[string])(nil)

// TimerSpec describes a persistent, logged store of timers for processor.NewTimers; the caller may change fields.
// Without a changelog (LoggingDisabled) a crash on another machine loses the timers.
func TimerSpec[K any](name string, key serde.Serde[K]) Spec {
	s := Spec{Name: name, Type: TypeTimer, KeySerde: typeOf(key), KeyWindows: serde.WindowBytes(key)}
	s.New = func(env Env) (Store, error) {
		if key == nil {
			return nil, errors.New("store: " + name + ": the key serde of timers must not be nil")
		}
		return &Timers[K]{
			buffer: newBuffer[struct{}](name, env, nothingSerde{}), key: timerSerde[K]{key},
			keyBytes: slices.Clone(env.Prefix),
		}, nil
	}
	return s
}

func (s *Timers[K]) encodeKey(t Timer[K]) ([]byte, error) {
	b, err := s.key.Append(s.keyBytes[:len(s.prefix)], t)
	if err != nil {
		return nil, &CodecError{Store: s.name, Op: "encode key", Err: err}
	}
	s.keyBytes = b
	return b, nil
}

// Put adds a timer. One that is there already stays.
func (s *Timers[K]) Put(t Timer[K]) error {
	key, err := s.encodeKey(t)
	if err != nil {
		return err
	}
	return s.put(key, struct{}{}, true, t.At, nil)
}

// Delete removes a timer. That it is not there is no error.
func (s *Timers[K]) Delete(t Timer[K]) error {
	key, err := s.encodeKey(t)
	if err != nil {
		return err
	}
	e, err := s.load(key)
	if err != nil || e.flags&flagExists == 0 {
		return err // no tombstone for what was never there
	}
	return s.put(key, struct{}{}, false, t.At, nil)
}

// From yields the timers of a kind that are due at a time or later, by time, then by name, then by key. The loop body
// may add and remove timers: what it adds ahead of the position is seen.
func (s *Timers[K]) From(kind TimerKind, at int64) iter.Seq2[Timer[K], error] {
	return s.timers(kind, appendTimerHead(slices.Clone(s.prefix), kind, at))
}

// After is From for the timers behind t in that order.
func (s *Timers[K]) After(t Timer[K]) iter.Seq2[Timer[K], error] {
	key, err := s.encodeKey(t)
	if err != nil {
		return func(yield func(Timer[K], error) bool) { yield(t, err) }
	}
	return s.timers(t.Kind, append(slices.Clone(key), 0))
}

func (s *Timers[K]) timers(kind TimerKind, lo []byte) iter.Seq2[Timer[K], error] {
	hi := prefixEnd(append(slices.Clone(s.prefix), timerVersion, byte(kind)))
	return func(yield func(Timer[K], error) bool) {
		for at, err := range s.scan(lo, hi, false) {
			var t Timer[K]
			if err == nil {
				if t, err = s.key.Decode(at.key[len(s.prefix):]); err != nil {
					err = &CodecError{Store: s.name, Op: "decode key", Key: slices.Clone(at.key[len(s.prefix):]), Err: err}
				}
			}
			if !yield(t, err) || err != nil {
				return
			}
		}
	}
}

// nothingSerde is the serde of rows that are all key: timers, and an index.
type nothingSerde struct{}

// Append implements serde.Serde.
func (nothingSerde) Append(dst []byte, _ struct{}) ([]byte, error) { return dst, nil }

// Decode implements serde.Serde.
func (nothingSerde) Decode(data []byte) (struct{}, error) {
	if len(data) > 0 {
		return struct{}{}, errors.New("the row should have no value: is this the store of something else?")
	}
	return struct{}{}, nil
}
