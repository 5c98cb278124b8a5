package mem

import (
	"bytes"
	"context"
	"io"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/tidemarkio/tidemark/checkpointing/storage"
	"github.com/tidemarkio/tidemark/internal/clock"
)

// Storage keeps objects in memory. Make one with [New].
type Storage struct {
	clock clock.Clock
	mu    struct {
		sync.Mutex
		objects map[string]object
	}
}

type object struct {
	storage.Object
	data []byte // never written again
}

var (
	_ storage.Storage     = (*Storage)(nil)
	_ storage.RangeReader = (*Storage)(nil)
)

// New returns an empty storage.
func New() *Storage {
	s := &Storage{clock: clock.System()}
	s.mu.objects = make(map[string]object)
	return s
}

// String returns "memory".
func (s *Storage) String() string { return "memory" }

// Create begins an object.
func (s *Storage) Create(ctx context.Context, name string, o storage.CreateOptions) (storage.Writer, error) {
	if err := s.check(ctx, "create", name); err != nil {
		return nil, err
	}
	if o.Exclusive && s.has(name) {
		return nil, s.fail("create", name, storage.ErrExists)
	}
	return &writer{s: s, name: name, exclusive: o.Exclusive, ended: ctx.Err}, nil
}

// Open reads an object.
func (s *Storage) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	if err := s.check(ctx, "open", name); err != nil {
		return nil, err
	}
	s.mu.Lock()
	o, ok := s.mu.objects[name]
	s.mu.Unlock()
	if !ok {
		return nil, s.fail("open", name, storage.ErrNotFound)
	}
	return &reader{Reader: bytes.NewReader(o.data), ended: ctx.Err}, nil
}

// ReadRange reads a part of an object.
func (s *Storage) ReadRange(ctx context.Context, name string, offset int64, p []byte) error {
	if err := s.check(ctx, "read", name); err != nil {
		return err
	}
	s.mu.Lock()
	o, ok := s.mu.objects[name]
	s.mu.Unlock()
	switch {
	case !ok:
		return s.fail("read", name, storage.ErrNotFound)
	case offset < 0 || offset > int64(len(o.data)) || copy(p, o.data[offset:]) < len(p):
		return s.fail("read", name, io.ErrUnexpectedEOF)
	}
	return nil
}

// List yields the objects as they are when it begins, in the order of their names.
func (s *Storage) List(ctx context.Context, prefix string) iter.Seq2[storage.Object, error] {
	return func(yield func(storage.Object, error) bool) {
		if err := storage.CheckPrefix(prefix); err != nil {
			yield(storage.Object{}, s.fail("list", prefix, err))
			return
		}
		s.mu.Lock()
		objects := maps.Clone(s.mu.objects)
		s.mu.Unlock()
		for _, name := range slices.Sorted(maps.Keys(objects)) {
			if err := ctx.Err(); err != nil {
				yield(storage.Object{}, s.fail("list", prefix, err))
				return
			}
			if strings.HasPrefix(name, prefix) && !yield(objects[name].Object, nil) {
				return
			}
		}
	}
}

// Delete removes objects.
func (s *Storage) Delete(ctx context.Context, names ...string) error {
	for _, name := range names {
		if err := s.check(ctx, "delete", name); err != nil {
			return err
		}
		s.mu.Lock()
		delete(s.mu.objects, name)
		s.mu.Unlock()
	}
	return nil
}

func (s *Storage) has(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.mu.objects[name]
	return ok
}

func (s *Storage) check(ctx context.Context, op, name string) error {
	err := storage.CheckName(name)
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return s.fail(op, name, err)
	}
	return nil
}

func (s *Storage) fail(op, name string, err error) error {
	return &storage.Error{Storage: s.String(), Op: op, Name: name, Err: err}
}

type writer struct {
	s         *Storage
	name      string
	exclusive bool
	ended     func() error
	data      []byte
	used      bool
}

func (w *writer) Write(p []byte) (int, error) {
	err := w.ended()
	if w.used {
		err = storage.ErrUsed
	}
	if err != nil {
		return 0, w.s.fail("write", w.name, err)
	}
	w.data = append(w.data, p...)
	return len(p), nil
}

func (w *writer) Commit(ctx context.Context) error {
	if w.used {
		return w.s.fail("commit", w.name, storage.ErrUsed)
	}
	w.used = true
	if err := ctx.Err(); err != nil {
		return w.s.fail("commit", w.name, err)
	}
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	if _, there := w.s.mu.objects[w.name]; there && w.exclusive {
		return w.s.fail("commit", w.name, storage.ErrExists)
	}
	w.s.mu.objects[w.name] = object{
		Object: storage.Object{Name: w.name, Bytes: int64(len(w.data)), Modified: w.s.clock.Now()}, data: w.data,
	}
	return nil
}

func (w *writer) Abort(context.Context) error {
	w.used, w.data = true, nil
	return nil
}

type reader struct {
	*bytes.Reader
	ended func() error
}

func (r *reader) Read(p []byte) (int, error) {
	if err := r.ended(); err != nil {
		return 0, err
	}
	return r.Reader.Read(p)
}

// WriteTo hides that of bytes.Reader, which would not end with the context.
func (r *reader) WriteTo(w io.Writer) (int64, error) {
	return io.Copy(w, struct{ io.Reader }{r})
}

func (r *reader) Close() error { return nil }
