package checkpointing

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path"
	"slices"
	"strings"

	"github.com/tidemarkio/tidemark/checkpointing/storage"
)

// Cleaner deletes what no checkpoint needs any more.
//
// What is needed is what the manifests of retained checkpoints, and of those that checkpoints in progress build on,
// refer to, and everything in the folders of checkpoints in progress: a new checkpoint refers to nothing else. If one
// of those manifests cannot be read, nothing is deleted that it could refer to, which is everything.
//
// The order makes each step safe: the manifest of a checkpoint goes before its files, so that a checkpoint whose files
// are missing is none. What a crash leaves is unreferenced, and goes the next time.
type Cleaner struct {
	ApplicationID string
	Checkpoints   storage.Storage
	// Savepoints may be the same, or nil.
	Savepoints storage.Storage
	Logger     *slog.Logger
}

// Cleaned says what a [Cleaner] did.
type Cleaned struct {
	Checkpoints int // that were retired
	Objects     int
	Bytes       int64
	Remains     int // of writers that died
}

// Clean carries an action of the coordinator out. After an error it may be done again at any time.
func (c *Cleaner) Clean(ctx context.Context, action Clean) (Cleaned, error) {
	var done Cleaned
	var errs []error
	if c.Checkpoints != nil {
		errs = append(errs, c.checkpoints(ctx, action, &done))
	}
	if c.Savepoints != nil {
		for _, folder := range action.Folders {
			errs = append(errs, c.folder(ctx, folder, &done))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return done, fmt.Errorf("checkpointing: clean up: %w", err)
	}
	if c.Logger != nil && done.Objects+done.Remains > 0 {
		c.Logger.Debug("old checkpoints deleted", slog.Int("checkpoints", done.Checkpoints),
			slog.Int("objects", done.Objects), slog.Int64("bytes", done.Bytes), slog.Int("remains", done.Remains))
	}
	return done, nil
}

// checkpoints cleans the folders of checkpoints.
func (c *Cleaner) checkpoints(ctx context.Context, action Clean, done *Cleaned) error {
	prefix := c.ApplicationID + "/" + checkpointStem
	mine := func(name string) bool {
		_, kind, id, ok := folderOf(c.ApplicationID, name)
		return ok && kind == KindCheckpoint && id < action.Below && !slices.Contains(action.InProgress, id)
	}
	kept := slices.Concat(action.Retained, action.Bases)
	needed, awaited, err := c.needed(ctx, kept)
	if err != nil {
		return err
	}
	var manifests, files []storage.Object
	for o, err := range c.Checkpoints.List(ctx, prefix) {
		if err != nil {
			return err
		}
		if needed[o.Name] || !mine(o.Name) {
			continue
		}
		if strings.HasSuffix(o.Name, "/"+manifestName) {
			manifests = append(manifests, o)
		} else {
			files = append(files, o)
		}
	}
	done.Checkpoints += len(manifests)
	if err := deleteObjects(ctx, c.Checkpoints, manifests, done); err != nil {
		return err
	}
	if err := deleteObjects(ctx, c.Checkpoints, files, done); err != nil {
		return err
	}
	if err := c.late(ctx, files, needed); err != nil {
		return err
	}
	// What is needed is there: who still writes it has died, or writes what another has published.
	swept, err := storage.Sweep(ctx, c.Checkpoints, prefix, func(name string) bool {
		return mine(name) && !awaited[name]
	})
	done.Remains += len(swept)
	return err
}

// late deletes the manifests of the checkpoints whose files were deleted, though they had none before: one of a
// coordinator that is deposed, and does not know it, may have come meanwhile.
func (c *Cleaner) late(ctx context.Context, files []storage.Object, needed map[string]bool) error {
	var names []string
	for _, o := range files {
		if name := ManifestName(path.Dir(o.Name)); !needed[name] && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return c.Checkpoints.Delete(ctx, names...)
}

// needed returns the names of what the given checkpoints consist of, and of what later ones may consist of. Of those,
// awaited are those that may still be being written.
func (c *Cleaner) needed(ctx context.Context, ids []int64) (names, awaited map[string]bool, err error) {
	names, awaited = make(map[string]bool), make(map[string]bool)
	for _, id := range ids {
		location := CheckpointFolder(c.ApplicationID, id)
		if names[ManifestName(location)] {
			continue
		}
		m, err := loadOf(ctx, c.Checkpoints, location, c.ApplicationID)
		if err != nil {
			return nil, nil, fmt.Errorf("nothing is deleted, since what checkpoint %d needs is not known: %w", id, err)
		}
		names[ManifestName(location)] = true
		m.refers(func(name string) bool {
			names[name] = true
			return true
		})
		for i := range m.Tasks {
			for _, name := range m.Tasks[i].Beside {
				awaited[name] = true
			}
		}
	}
	return names, awaited, nil
}

// folder deletes what a savepoint that was given up has left.
func (c *Cleaner) folder(ctx context.Context, folder string, done *Cleaned) error {
	_, kind, _, ok := folderOf(c.ApplicationID, ManifestName(folder))
	if !ok || kind != KindSavepoint {
		return fmt.Errorf("%s is no folder of a savepoint of application %s", folder, c.ApplicationID)
	}
	return deleteFolder(ctx, c.Savepoints, folder, done)
}

func deleteObjects(ctx context.Context, s storage.Storage, objects []storage.Object, done *Cleaned) error {
	names := make([]string, len(objects))
	for i, o := range objects {
		names[i] = o.Name
		done.Bytes += o.Bytes
	}
	done.Objects += len(names)
	return s.Delete(ctx, names...)
}

// deleteFolder deletes a folder, its manifest first.
func deleteFolder(ctx context.Context, s storage.Storage, folder string, done *Cleaned) error {
	if err := s.Delete(ctx, ManifestName(folder)); err != nil {
		return err
	}
	var objects []storage.Object
	for o, err := range s.List(ctx, folder+"/") {
		if err != nil {
			return err
		}
		objects = append(objects, o)
	}
	if err := deleteObjects(ctx, s, objects, done); err != nil {
		return err
	}
	swept, err := storage.Sweep(ctx, s, folder+"/", func(string) bool { return true })
	done.Remains += len(swept)
	return err
}

// Dispose deletes a savepoint, whose manifest must be readable: nothing else is deleted by mistake.
func Dispose(ctx context.Context, s storage.Storage, location string) (Cleaned, error) {
	var done Cleaned
	m, err := Load(ctx, s, location)
	if err != nil {
		return done, err
	}
	if m.Kind != KindSavepoint {
		return done, &SnapshotError{
			Storage: s.String(), Location: location, Err: fmt.Errorf("it is a %s, not a savepoint", m.Kind),
			Hint: "the application itself deletes its checkpoints",
		}
	}
	err = deleteFolder(ctx, s, m.Location, &done)
	return done, err
}
