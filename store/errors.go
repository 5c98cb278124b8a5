package store

import (
	"errors"
	"fmt"

	"github.com/tidemarkio/tidemark/record"
)

// ErrLocked says that another process, or another App in this one, uses the state directory. Match the details with
// [*LockedError].
var ErrLocked = errors.New("store: state directory is in use")

var errReleased = errors.New("the snapshot was released")

// CorruptError says that files of a state directory are damaged. The action: remove the task's directory (it is only
// a copy) and restore from a snapshot or the changelog.
type CorruptError struct {
	Dir  string
	File string // base name; empty if the damage is not tied to one file
	Err  error
	Hint string
}

// Error names the file, the cause and what to do.
func (e *CorruptError) Error() string {
	at := e.Dir
	if e.File != "" {
		at += "/" + e.File
	}
	return fmt.Sprintf("store: %s is damaged: %v (%s)", at, e.Err, e.Hint)
}

// Unwrap returns the cause.
func (e *CorruptError) Unwrap() error { return e.Err }

// FlushError says that committed state could not be written to the local database. The data is still in memory and in
// the changelog; the task cannot go on, since its memory would grow without bound.
type FlushError struct {
	Task record.TaskID
	Dir  string
	Err  error
}

// Error names the task, the directory and the cause.
func (e *FlushError) Error() string {
	return fmt.Sprintf("store: flush of task %s to %q: %v (check free space and permissions)", e.Task, e.Dir, e.Err)
}

// Unwrap returns the cause.
func (e *FlushError) Unwrap() error { return e.Err }

// CodecError says that a key or value could not be encoded or decoded by its serde. The action is the handler's: it is
// user code that failed, or stored bytes that the present serde does not understand.
type CodecError struct {
	Store string
	Op    string // "encode key", "decode value", …
	Key   []byte // encoded key if known
	Err   error
}

// Error names store, operation and key.
func (e *CodecError) Error() string {
	if e.Key == nil {
		return fmt.Sprintf("store: %s: %s: %v", e.Store, e.Op, e.Err)
	}
	const keyBytesMax = 64
	key, more := e.Key, ""
	if len(key) > keyBytesMax {
		key, more = key[:keyBytesMax], "…"
	}
	return fmt.Sprintf("store: %s: %s of key %q%s: %v", e.Store, e.Op, key, more, e.Err)
}

// Unwrap returns the cause.
func (e *CodecError) Unwrap() error { return e.Err }

// LockedError says who holds a state directory.
type LockedError struct {
	Dir  string
	PID  int // 0 if unknown
	Hint string
}

// Error names the directory, the holder and what to do.
func (e *LockedError) Error() string {
	holder := "another process"
	if e.PID > 0 {
		holder = fmt.Sprintf("process %d", e.PID)
	}
	return fmt.Sprintf("store: state directory %s is in use by %s (%s)", e.Dir, holder, e.Hint)
}

// Is matches [ErrLocked].
func (e *LockedError) Is(target error) bool { return target == ErrLocked }
