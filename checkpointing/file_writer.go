package checkpointing

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"

	"github.com/tidemarkio/tidemark/checkpointing/storage"
)

// fileBufferBytes is what goes to the storage, or comes from it, at a time.
const fileBufferBytes = 256 << 10

// fileWriter writes the object of a File, and finds out its length and checksum.
type fileWriter struct {
	to     storage.Writer
	file   File
	sum    hash.Hash
	buffer *bufio.Writer
	seal   io.WriteCloser // nil: not encrypted
}

func newFileWriter(ctx context.Context, s storage.Storage, name string, c *storage.Cipher) (*fileWriter, error) {
	to, err := s.Create(ctx, name, storage.CreateOptions{})
	if err != nil {
		return nil, err
	}
	w := &fileWriter{to: to, file: File{Name: name}, sum: sha256.New()}
	w.buffer = bufio.NewWriterSize(counted{w}, fileBufferBytes)
	if c != nil {
		w.file.KeyID = c.KeyID()
		if w.seal, err = c.Encrypt(w.buffer); err != nil {
			return nil, errors.Join(err, w.abort(ctx))
		}
	}
	return w, nil
}

// counted writes to the storage what a fileWriter has buffered.
type counted struct{ w *fileWriter }

func (c counted) Write(p []byte) (int, error) {
	n, err := c.w.to.Write(p)
	c.w.sum.Write(p[:n]) // never fails
	c.w.file.Bytes += int64(n)
	return n, err
}

func (w *fileWriter) Write(p []byte) (int, error) {
	if w.seal != nil {
		return w.seal.Write(p)
	}
	return w.buffer.Write(p)
}

func (w *fileWriter) commit(ctx context.Context) (File, error) {
	var err error
	if w.seal != nil {
		err = w.seal.Close()
	}
	if err == nil {
		err = w.buffer.Flush()
	}
	if err != nil {
		return File{}, errors.Join(err, w.abort(ctx))
	}
	w.file.SHA256 = hex.EncodeToString(w.sum.Sum(nil))
	return w.file, w.to.Commit(ctx)
}

// abort drops the object. The context may have ended.
func (w *fileWriter) abort(ctx context.Context) error { return w.to.Abort(context.WithoutCancel(ctx)) }
