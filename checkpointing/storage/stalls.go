package storage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"sync/atomic"
	"time"

	"github.com/tidemarkio/tidemark/internal/clock"
)

// ErrStalled says that a storage did not get on with a list or a read in time, or did not a moment ago.
var ErrStalled = errors.New("it does not answer")

// Impatient is a [Storage] that is not waited for. Make one with [LimitStalls].
type Impatient struct {
	Storage
	limit time.Duration
	// stalledUntil is when it is asked again, in milliseconds since the Unix epoch.
	stalledUntil atomic.Int64
}

// LimitStalls bounds how long s may do nothing while it lists or reads: each name of a list and each piece of an object
// has to come within limit, however many there are. After that the call fails with [ErrStalled], and so do all others
// at once, for as long again: who has another way, such as a changelog, takes it, and does not wait once for each
// object. Writing and deleting are as before.
func LimitStalls(s Storage, limit time.Duration) *Impatient {
	return &Impatient{Storage: s, limit: limit}
}

// List yields the objects.
func (s *Impatient) List(ctx context.Context, prefix string) iter.Seq2[Object, error] {
	return func(yield func(Object, error) bool) {
		bounded, w, err := s.watch(ctx, "list", prefix)
		if err != nil {
			yield(Object{}, err)
			return
		}
		defer w.end()
		for o, err := range s.Storage.List(bounded, prefix) {
			w.timer.Stop() // what the caller does with it takes as long as it takes
			if !yield(o, w.explain(err)) || err != nil {
				return
			}
			w.timer.Reset(s.limit)
		}
	}
}

// Open reads an object.
func (s *Impatient) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	bounded, w, err := s.watch(ctx, "open", name)
	if err != nil {
		return nil, err
	}
	r, err := s.Storage.Open(bounded, name)
	w.timer.Stop()
	if err != nil {
		err = w.explain(err)
		w.end()
		return nil, err
	}
	w.op = "read"
	return &impatientReader{r: r, w: w}, nil
}

// ReadRange reads a part of an object, which counts as one piece.
func (s *Impatient) ReadRange(ctx context.Context, name string, offset int64, p []byte) error {
	bounded, w, err := s.watch(ctx, "read", name)
	if err != nil {
		return err
	}
	defer w.end()
	return w.explain(ReadRange(bounded, s.Storage, name, offset, p))
}

// Sweep sweeps the storage below.
func (s *Impatient) Sweep(ctx context.Context, prefix string, abandoned func(string) bool) ([]string, error) {
	return Sweep(ctx, s.Storage, prefix, abandoned)
}

// stallWatch ends the context of a call that gets nowhere.
type stallWatch struct {
	s        *Impatient
	op, name string
	timer    *time.Timer
	stalled  func() bool
	end      func()
}

// watch begins a call, whose time is running when it returns.
func (s *Impatient) watch(ctx context.Context, op, name string) (context.Context, *stallWatch, error) {
	w := &stallWatch{s: s, op: op, name: name}
	if clock.System().NowMs() < s.stalledUntil.Load() {
		return nil, nil, w.fail(ErrStalled)
	}
	bounded, cancel := context.WithCancelCause(ctx)
	w.timer = clock.System().AfterFunc(s.limit, func() { cancel(ErrStalled) })
	w.stalled = func() bool { return errors.Is(context.Cause(bounded), ErrStalled) }
	w.end = func() {
		w.timer.Stop()
		cancel(nil)
	}
	return bounded, w, nil
}

// explain makes an error of a call that was ended say why.
func (w *stallWatch) explain(err error) error {
	if err == nil || !w.stalled() {
		return err
	}
	w.s.stalledUntil.Store(clock.System().Now().Add(w.s.limit).UnixMilli())
	return w.fail(fmt.Errorf("%w within %s", ErrStalled, w.s.limit)) // err is only that the context has ended
}

func (w *stallWatch) fail(err error) error {
	return &Error{
		Storage: w.s.String(), Op: w.op, Name: w.name, Transient: true, Err: err,
		Hint: "it is asked again later; look after the storage, and the way to it",
	}
}

type impatientReader struct {
	r io.ReadCloser
	w *stallWatch
}

func (r *impatientReader) Read(p []byte) (int, error) {
	r.w.timer.Reset(r.w.s.limit)
	n, err := r.r.Read(p)
	r.w.timer.Stop()
	if err == io.EOF {
		return n, err
	}
	return n, r.w.explain(err)
}

func (r *impatientReader) Close() error {
	err := r.r.Close()
	r.w.end()
	return err
}
