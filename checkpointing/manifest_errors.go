package checkpointing

import (
	"errors"
	"fmt"
)

// ErrNewerFormat says that a manifest was written by a newer version of this library.
var ErrNewerFormat = errors.New("it was written by a newer version of this library")

// ErrForeign says that a checkpoint or savepoint belongs to another application.
var ErrForeign = errors.New("it belongs to another application")

// ErrDamaged says that a manifest, or a file that it names, is not what was written: cut short, changed or gone.
var ErrDamaged = errors.New("it is damaged")

// ErrNoManifest says that there is no checkpoint or savepoint in a folder: it was never completed, or was deleted.
var ErrNoManifest = errors.New("there is no checkpoint or savepoint")

// SnapshotError says which checkpoint or savepoint, and which of its files, cannot be used. Its cause is one of
// [ErrNewerFormat], [ErrForeign], [ErrDamaged] and [ErrNoManifest], or an error of the storage. The action: use another
// one.
type SnapshotError struct {
	Storage  string
	Location string // its folder
	File     string // "" if no single file is the cause
	Err      error
	Hint     string
}

// Error names the folder, the file, the cause and what to do.
func (e *SnapshotError) Error() string {
	at := e.Location
	if e.File != "" {
		at += ", file " + e.File
	}
	hint := ""
	if e.Hint != "" {
		hint = " (" + e.Hint + ")"
	}
	return fmt.Sprintf("checkpointing: %s in %s: %v%s", at, e.Storage, e.Err, hint)
}

// Unwrap returns the cause.
func (e *SnapshotError) Unwrap() error { return e.Err }

// damaged makes an error that matches ErrDamaged and says more.
func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrDamaged, fmt.Errorf(format, args...))
}
