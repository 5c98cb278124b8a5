package dir

import (
	"errors"
	"io/fs"
	"syscall"

	"github.com/tidemarkio/tidemark/checkpointing/storage"
)

// fail says where an error happened and whether it may pass.
func (s *Storage) fail(op, name string, err error) error {
	e := &storage.Error{Storage: s.String(), Op: op, Name: name, Err: err}
	switch {
	case errors.Is(err, storage.ErrExists), errors.Is(err, storage.ErrNotFound):
	case absent(err) && (op == "open" || op == "read"):
		e.Err = storage.ErrNotFound
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		e.Transient, e.Hint = true, "free space on the volume, or retain fewer checkpoints"
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		e.Hint = "let the user of this process write below " + s.root
	case passing(err):
		e.Transient = true
	}
	return e
}

// passing recognises what a network file system answers while its server is away, and what a busy machine does.
func passing(err error) bool {
	for _, code := range []syscall.Errno{
		syscall.EAGAIN, syscall.EBUSY, syscall.EINTR, syscall.EIO, syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM,
		syscall.ESTALE, syscall.ETIMEDOUT, syscall.EHOSTDOWN, syscall.EHOSTUNREACH, syscall.ENOTCONN, syscall.ENOENT,
	} {
		if errors.Is(err, code) {
			return true
		}
	}
	return false
}

// absent says that there is no such file, or that there is a file where its folder would be.
func absent(err error) bool { return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) }
