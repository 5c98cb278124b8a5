package storage

import (
	"context"
	"io"
	"iter"
)

// Encrypted is a [Storage] whose objects are encrypted. Make one with [Encrypt].
type Encrypted struct {
	below  Storage
	cipher *Cipher
}

// Encrypt wraps s so that everything in it is encrypted, also manifests: then nothing can be listed or cleaned up
// without the key. To encrypt only data, give a checkpoint configuration the key instead.
func Encrypt(s Storage, c *Cipher) *Encrypted { return &Encrypted{below: s, cipher: c} }

// Create begins an object.
func (e *Encrypted) Create(ctx context.Context, name string, o CreateOptions) (Writer, error) {
	w, err := e.below.Create(ctx, name, o)
	if err != nil {
		return nil, err
	}
	enc, err := e.cipher.Encrypt(w)
	if err != nil {
		_ = w.Abort(context.WithoutCancel(ctx)) // what counts is why nothing can be written
		return nil, e.explain("create", name, err)
	}
	return &encryptedWriter{WriteCloser: enc, below: w, ended: func() error {
		if err := ctx.Err(); err != nil {
			return e.explain("write", name, err)
		}
		return nil
	}}, nil
}

// Open reads an object.
func (e *Encrypted) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	r, err := e.below.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	return &decryptedReader{
		Reader: e.cipher.Decrypt(r), Closer: r, explain: func(err error) error { return e.explain("read", name, err) },
	}, nil
}

// List yields the objects with the lengths that they have when decrypted; -1 for what cannot be an encrypted object.
func (e *Encrypted) List(ctx context.Context, prefix string) iter.Seq2[Object, error] {
	return func(yield func(Object, error) bool) {
		for o, err := range e.below.List(ctx, prefix) {
			o.Bytes = plainBytes(o.Bytes)
			if !yield(o, err) {
				return
			}
		}
	}
}

// Delete removes objects.
func (e *Encrypted) Delete(ctx context.Context, names ...string) error {
	return e.below.Delete(ctx, names...)
}

// Sweep sweeps the storage below.
func (e *Encrypted) Sweep(ctx context.Context, prefix string, abandoned func(string) bool) ([]string, error) {
	return Sweep(ctx, e.below, prefix, abandoned)
}

// String is that of the storage below, as its errors have it.
func (e *Encrypted) String() string { return e.below.String() }

// explain adds the place to errors of the cipher; those of the storage have it.
func (e *Encrypted) explain(op, name string, err error) error {
	if _, ok := isError(err); ok || err == io.EOF { //nolint:errorlint // io.EOF is an answer and never wrapped
		return err
	}
	return &Error{Storage: e.String(), Op: op, Name: name, Err: err}
}

type encryptedWriter struct {
	io.WriteCloser
	below Writer
	ended func() error
}

// Write asks for the context itself: what it takes may stay in the cipher's buffer.
func (w *encryptedWriter) Write(p []byte) (int, error) {
	if err := w.ended(); err != nil {
		return 0, err
	}
	return w.WriteCloser.Write(p)
}

func (w *encryptedWriter) Commit(ctx context.Context) error {
	if err := w.Close(); err != nil {
		_ = w.below.Abort(context.WithoutCancel(ctx)) // what counts is why the end cannot be written
		return err
	}
	return w.below.Commit(ctx)
}

func (w *encryptedWriter) Abort(ctx context.Context) error { return w.below.Abort(ctx) }

type decryptedReader struct {
	io.Reader
	io.Closer
	explain func(error) error
}

func (r *decryptedReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if err != nil {
		err = r.explain(err)
	}
	return n, err
}
