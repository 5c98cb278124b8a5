package storage

import (
	"context"
	"errors"
	"io"
	"iter"
	"time"
)

// Storage keeps objects. All methods are safe for concurrent use, and end soon after ctx has ended.
//
// Names are as [CheckName] demands: segments of letters, digits, dots, hyphens, underscores and equals signs, with
// slashes between them. Prefixes are the beginning of names, and need not end with a slash.
type Storage interface {
	// Create begins an object. Nobody sees it before Commit; an object of that name is then replaced, or, with
	// [CreateOptions.Exclusive], Create or Commit fails with [ErrExists]. A Writer that is neither committed nor aborted,
	// because the process died, leaves nothing that List shows: see [Sweeper].
	Create(ctx context.Context, name string, o CreateOptions) (Writer, error)
	// Open reads an object; [ErrNotFound]. Reads end with ctx.
	Open(ctx context.Context, name string) (io.ReadCloser, error)
	// List yields the objects whose names begin with prefix, in no particular order. After an error it ends.
	List(ctx context.Context, prefix string) iter.Seq2[Object, error]
	// Delete removes objects. Those that are not there are no error. If it fails, any of them may be gone.
	Delete(ctx context.Context, names ...string) error
	// String says where this is, for messages: without secrets.
	String() string
}

// CreateOptions are the options of [Storage.Create].
type CreateOptions struct {
	// Exclusive lets one of several writers of a name win: the others get [ErrExists].
	Exclusive bool
}

// Writer receives the bytes of an object, in one goroutine. After an error of Write only Abort makes sense.
type Writer interface {
	io.Writer
	// Commit publishes the object and makes it durable: when it has returned nil, the object survives a crash of the
	// machine. After an error the object is there or not: its answer may have been lost. The Writer is used up in any
	// case.
	Commit(ctx context.Context) error
	// Abort drops what was written. After Commit or Abort it does nothing.
	Abort(ctx context.Context) error
}

// Object is what List tells of an object.
type Object struct {
	Name  string
	Bytes int64
	// Modified is when it was published, by the storage's clock.
	Modified time.Time
}

// Sweeper is a [Storage] in which writers that died leave something that List does not show: temporary files, parts of
// uploads.
type Sweeper interface {
	// Sweep removes such remains below prefix if abandoned says so of the name that the object would have got, and returns
	// those names.
	Sweep(ctx context.Context, prefix string, abandoned func(name string) bool) ([]string, error)
}

// Sweep calls the Sweep of a [Sweeper], and does nothing with another storage.
func Sweep(ctx context.Context, s Storage, prefix string, abandoned func(name string) bool) ([]string, error) {
	sweeper, ok := s.(Sweeper)
	if !ok {
		return nil, nil
	}
	return sweeper.Sweep(ctx, prefix, abandoned)
}

// RangeReader is a [Storage] that reads a part of an object without the rest. Whoever needs a few rows of a large
// snapshot asks for it; everything else works without.
type RangeReader interface {
	// ReadRange fills p with what lies in an object from offset on; [ErrNotFound]. If the object ends before p is full,
	// the cause of the error is [io.ErrUnexpectedEOF]. It ends soon after ctx has ended.
	ReadRange(ctx context.Context, name string, offset int64, p []byte) error
}

// ReadsRanges tells whether a storage is a [RangeReader], and if it passes everything on, as those of this package do,
// whether the one below is.
func ReadsRanges(s Storage) bool {
	switch s := s.(type) {
	case *Impatient:
		return ReadsRanges(s.Storage)
	case *RateLimited:
		return ReadsRanges(s.Storage)
	}
	_, ok := s.(RangeReader)
	return ok
}

// ReadRange calls the ReadRange of a [RangeReader]. With another storage it fails with [errors.ErrUnsupported].
func ReadRange(ctx context.Context, s Storage, name string, offset int64, p []byte) error {
	reader, ok := s.(RangeReader)
	if !ok {
		return &Error{
			Storage: s.String(), Op: "read", Name: name, Err: errors.ErrUnsupported,
			Hint: "the storage reads whole objects only: implement storage.RangeReader",
		}
	}
	return reader.ReadRange(ctx, name, offset, p)
}

// Put writes a whole object.
func Put(ctx context.Context, s Storage, name string, data []byte, o CreateOptions) error {
	w, err := s.Create(ctx, name, o)
	if err != nil {
		return err
	}
	if _, err := w.Write(data); err != nil {
		_ = w.Abort(context.WithoutCancel(ctx)) // the error that counts is that of Write; Sweep removes what is left
		return err
	}
	return w.Commit(ctx)
}

// Get reads a whole object, but no more than bytesMax: more is an [*Error].
func Get(ctx context.Context, s Storage, name string, bytesMax int64) (data []byte, err error) {
	r, err := s.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	defer func() {
		if closeErr := r.Close(); err == nil {
			err = closeErr
		}
	}()
	data, err = io.ReadAll(io.LimitReader(r, bytesMax+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > bytesMax {
		return nil, &Error{
			Storage: s.String(), Op: "read", Name: name, Err: errTooLarge,
			Hint: "this is no object of the kind that its name says",
		}
	}
	return data, nil
}
