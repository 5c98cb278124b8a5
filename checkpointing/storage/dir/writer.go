package dir

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/tidemarkio/tidemark/checkpointing/storage"
)

// writer fills a temporary file beside the object's.
type writer struct {
	s         *Storage
	name      string
	file      string
	f         *os.File
	exclusive bool
	ended     func() error
	used      bool
}

func (w *writer) Write(p []byte) (int, error) {
	err := w.ended()
	if w.used {
		err = storage.ErrUsed
	}
	n := 0
	if err == nil {
		n, err = w.f.Write(p)
	}
	if err != nil {
		return n, w.s.fail("write", w.name, err)
	}
	return n, nil
}

// Commit syncs the data, gives it its name, and syncs the folders, so that no crash of the machine leaves a name
// without its data.
func (w *writer) Commit(ctx context.Context) error {
	if w.used {
		return w.s.fail("commit", w.name, storage.ErrUsed)
	}
	w.used = true
	err := errors.Join(ctx.Err(), w.f.Sync(), w.f.Close())
	if err == nil {
		err = w.publish()
	}
	if err != nil {
		if removeErr := os.Remove(w.f.Name()); !errors.Is(removeErr, fs.ErrNotExist) {
			err = errors.Join(err, removeErr)
		}
		return w.s.fail("commit", w.name, err)
	}
	return nil
}

func (w *writer) publish() error {
	if !w.exclusive {
		if err := os.Rename(w.f.Name(), w.file); err != nil {
			return err
		}
		return w.s.syncFolders(filepath.Dir(w.file))
	}
	// A link fails if the name exists; a rename would replace it.
	err := os.Link(w.f.Name(), w.file)
	switch {
	case errors.Is(err, fs.ErrExist):
		return storage.ErrExists
	case err != nil:
		return errors.Join(errors.New("the file system has to support hard links"), err)
	}
	return errors.Join(os.Remove(w.f.Name()), w.s.syncFolders(filepath.Dir(w.file)))
}

// Abort removes the temporary file.
func (w *writer) Abort(context.Context) error {
	if w.used {
		return nil
	}
	w.used = true
	err := errors.Join(w.f.Close(), os.Remove(w.f.Name()))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return w.s.fail("abort", w.name, err)
	}
	return nil
}

// syncFolders makes the names in a folder durable, and those of the folders that lead to it from the root.
func (s *Storage) syncFolders(folder string) error {
	for {
		if err := syncFolder(folder); err != nil {
			return err
		}
		if folder == filepath.Clean(s.root) || folder == filepath.Dir(folder) {
			return nil
		}
		folder = filepath.Dir(folder)
	}
}

type reader struct {
	s     *Storage
	name  string
	f     *os.File
	ended func() error
}

func (r *reader) Read(p []byte) (int, error) {
	err := r.ended()
	n := 0
	if err == nil {
		n, err = r.f.Read(p)
	}
	if err != nil && err != io.EOF { //nolint:errorlint // io.EOF is an answer and never wrapped
		err = r.s.fail("read", r.name, err)
	}
	return n, err
}

func (r *reader) Close() error { return r.f.Close() }
