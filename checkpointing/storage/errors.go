package storage

import (
	"context"
	"errors"
	"fmt"
)

// ErrNotFound says that there is no object of that name.
var ErrNotFound = errors.New("there is no such object")

// ErrExists says that an object that was to be created exclusively exists already. It may be this writer's own: the
// answer to an earlier attempt may have been lost.
var ErrExists = errors.New("the object exists already")

var errTooLarge = errors.New("the object is larger than expected")

// ErrUsed is the cause of an [*Error] if a Writer is used after its Commit or Abort.
var ErrUsed = errors.New("the writer was committed or aborted before")

// Error says which call on which storage failed, and why.
type Error struct {
	Storage   string // its String
	Op        string // "create", "write", "commit", "abort", "open", "read", "list", "delete" or "sweep"
	Name      string // of the object, or the prefix
	Transient bool   // the same call may succeed later
	Err       error
	Hint      string // what the reader can do, if that is known
}

// Error names storage, operation, object, cause and what to do.
func (e *Error) Error() string {
	hint := ""
	if e.Hint != "" {
		hint = " (" + e.Hint + ")"
	}
	return fmt.Sprintf("storage: %s %q in %s: %v%s", e.Op, e.Name, e.Storage, e.Err, hint)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// isError finds the [*Error] in err.
func isError(err error) (*Error, bool) { return errors.AsType[*Error](err) }

// Transient tells whether what failed with err may succeed when it is done again: the storage is away, full or
// overloaded. The end of a context is not transient, nor is anything that is no error of a storage.
func Transient(err error) bool {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	e, ok := isError(err)
	return ok && e.Transient
}
