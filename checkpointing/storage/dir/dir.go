package dir

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"iter"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/tidemarkio/tidemark/checkpointing/storage"
)

// temporary stands between the name of an object and what makes a temporary file unique. No name contains it.
const temporary = "~"

// Storage keeps objects below a directory. Make one with [New].
type Storage struct {
	root string
}

var (
	_ storage.Storage     = (*Storage)(nil)
	_ storage.RangeReader = (*Storage)(nil)
	_ storage.Sweeper     = (*Storage)(nil)
)

// New returns a storage in the directory root, which is made when something is first written. Files have permissions
// 0600, directories 0700: all processes that share them must run as the same user.
func New(root string) *Storage { return &Storage{root: root} }

// String returns the directory as a URL.
func (s *Storage) String() string { return "file://" + filepath.ToSlash(s.root) }

// Create begins an object.
func (s *Storage) Create(ctx context.Context, name string, o storage.CreateOptions) (storage.Writer, error) {
	file, err := s.check(ctx, "create", name)
	if err != nil {
		return nil, err
	}
	if _, err := os.Lstat(file); o.Exclusive && err == nil {
		return nil, s.fail("create", name, storage.ErrExists)
	}
	f, err := createTemporary(file)
	if err != nil {
		return nil, s.fail("create", name, err)
	}
	return &writer{s: s, name: name, file: file, f: f, exclusive: o.Exclusive, ended: ctx.Err}, nil
}

// createTemporary makes the folders and the file. A Delete beside it may remove a folder at any moment.
func createTemporary(file string) (f *os.File, err error) {
	const attempts = 100
	for range attempts {
		if err = os.MkdirAll(filepath.Dir(file), 0o700); err == nil {
			f, err = os.CreateTemp(filepath.Dir(file), filepath.Base(file)+temporary+"*")
		}
		// Which of the two it is depends on when the folder vanished.
		if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrExist) {
			return f, err
		}
	}
	return nil, err
}

// Open reads an object.
func (s *Storage) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	f, err := s.open(ctx, "open", name)
	if err != nil {
		return nil, err
	}
	return &reader{s: s, name: name, f: f, ended: ctx.Err}, nil
}

func (s *Storage) open(ctx context.Context, op, name string) (*os.File, error) {
	file, err := s.check(ctx, op, name)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, s.fail(op, name, err)
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = storage.ErrNotFound // a folder on the way to other objects
	}
	if err != nil {
		return nil, s.fail(op, name, errors.Join(err, f.Close()))
	}
	return f, nil
}

// ReadRange reads a part of an object.
func (s *Storage) ReadRange(ctx context.Context, name string, offset int64, p []byte) error {
	f, err := s.open(ctx, "read", name)
	if err != nil {
		return err
	}
	if _, err = f.ReadAt(p, offset); err == io.EOF { //nolint:errorlint // io.EOF is an answer and never wrapped
		err = io.ErrUnexpectedEOF
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return s.fail("read", name, err)
	}
	return nil
}

// List yields the objects. Those that come or go meanwhile are in it or not.
func (s *Storage) List(ctx context.Context, prefix string) iter.Seq2[storage.Object, error] {
	return func(yield func(storage.Object, error) bool) {
		err := s.walk(ctx, prefix, func(name string, e fs.DirEntry) error {
			if strings.Contains(name, temporary) || !isName(name) {
				return nil
			}
			info, err := e.Info()
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err != nil {
				return err
			}
			if !yield(storage.Object{Name: name, Bytes: info.Size(), Modified: info.ModTime()}, nil) {
				return errLeave
			}
			return nil
		})
		if err != nil && !errors.Is(err, errLeave) {
			yield(storage.Object{}, s.fail("list", prefix, err))
		}
	}
}

// isName tells objects from what others keep in the directory.
func isName(name string) bool { return storage.CheckName(name) == nil }

// errLeave ends a walk whose caller has left its loop.
var errLeave = errors.New("left")

// walk visits the files whose names begin with prefix, objects or not.
func (s *Storage) walk(ctx context.Context, prefix string, visit func(name string, e fs.DirEntry) error) error {
	if err := errors.Join(storage.CheckPrefix(prefix), s.checkRoot()); err != nil {
		return err
	}
	// Folders that no name with this prefix leads through are not read.
	from := filepath.Join(s.root, filepath.FromSlash(path.Dir(prefix+"-")))
	return filepath.WalkDir(from, func(file string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // nothing was ever written here, or it was deleted meanwhile
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(s.root, file)
		if err != nil {
			return err
		}
		name := filepath.ToSlash(rel)
		if e.IsDir() {
			if file != from && !strings.HasPrefix(name+"/", prefix) && !strings.HasPrefix(prefix, name+"/") {
				return fs.SkipDir
			}
			return nil
		}
		if !e.Type().IsRegular() || !strings.HasPrefix(name, prefix) {
			return nil
		}
		return visit(name, e)
	})
}

// Delete removes objects, and folders that become empty.
func (s *Storage) Delete(ctx context.Context, names ...string) error {
	for _, name := range names {
		file, err := s.check(ctx, "delete", name)
		if err != nil {
			return err
		}
		info, err := os.Lstat(file)
		if err == nil && info.Mode().IsRegular() {
			err = os.Remove(file)
		}
		if err != nil && !absent(err) {
			return s.fail("delete", name, err)
		}
		s.removeEmpty(path.Dir(name))
	}
	return nil
}

// removeEmpty removes the folder of a deleted object and those above it, as far as they are empty. That it cannot is no
// error: somebody creates an object there, or may not touch it.
func (s *Storage) removeEmpty(folder string) {
	for ; folder != "."; folder = path.Dir(folder) {
		if os.Remove(filepath.Join(s.root, filepath.FromSlash(folder))) != nil {
			return
		}
	}
}

// Sweep removes temporary files.
func (s *Storage) Sweep(ctx context.Context, prefix string, abandoned func(string) bool) ([]string, error) {
	var swept []string
	err := s.walk(ctx, prefix, func(file string, _ fs.DirEntry) error {
		name, _, is := strings.Cut(file, temporary)
		if !is || !abandoned(name) {
			return nil
		}
		if err := os.Remove(filepath.Join(s.root, filepath.FromSlash(file))); err != nil && !absent(err) {
			return err
		}
		s.removeEmpty(path.Dir(file))
		swept = append(swept, name)
		return nil
	})
	if err != nil {
		return swept, s.fail("sweep", prefix, err)
	}
	return swept, nil
}

// check returns the file of an object.
func (s *Storage) check(ctx context.Context, op, name string) (string, error) {
	for _, err := range []error{storage.CheckName(name), s.checkRoot(), ctx.Err()} {
		if err != nil {
			return "", s.fail(op, name, err)
		}
	}
	return filepath.Join(s.root, filepath.FromSlash(name)), nil
}

func (s *Storage) checkRoot() error {
	if s.root == "" {
		return errors.New("the directory has no name: give dir.New the path of one")
	}
	return nil
}
