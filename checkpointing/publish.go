package checkpointing

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/tidemarkio/tidemark/checkpointing/storage"
	"github.com/tidemarkio/tidemark/internal/clock"
)

// manifestBytesMax is what is read of something that should be a manifest: room for a million files.
const manifestBytesMax = 512 << 20

// Application is what a manifest says of the application beside its tasks.
type Application struct {
	ID         string
	Partitions map[string]int32
	Stores     []StoreInfo
	Topology   *Topology
}

// Manifest is the manifest to be published.
func (p *Publish) Manifest(app Application) *Manifest {
	kind := KindCheckpoint
	if p.Trigger.Savepoint {
		kind = KindSavepoint
	}
	return &Manifest{
		Kind: kind, ID: p.Trigger.ID, ApplicationID: app.ID, Fingerprint: p.Trigger.Fingerprint,
		TriggeredMs: p.Trigger.TriggeredMs, CompletedMs: p.CompletedMs, Base: p.Trigger.Base, Partitions: app.Partitions,
		Stores: app.Stores, Topology: app.Topology, Tasks: p.Tasks, Location: p.Trigger.Location,
	}
}

// PublishManifest makes a checkpoint or savepoint of the files that m names: it checks that they are there, with their
// sizes, writes the manifest, unless that is there already, reads it again, and checks once more. What passes is tried
// again until ctx ends.
func PublishManifest(ctx context.Context, s storage.Storage, m *Manifest) error {
	if err := m.check(); err != nil {
		return fmt.Errorf("checkpointing: publish %s: %w", m.Location, err)
	}
	data, err := encodeManifest(m)
	if err != nil {
		return err
	}
	const attempts = 3 // of writing what comes back damaged
	for attempt := 1; ; attempt++ {
		err := retry(ctx, func() error { return publish(ctx, s, m, data) })
		if attempt == attempts || !errors.Is(err, errManifestDamaged) {
			return err
		}
	}
}

// errManifestDamaged says that a manifest does not come back as it was written.
var errManifestDamaged = errors.New("its manifest cannot be read again")

func publish(ctx context.Context, s storage.Storage, m *Manifest, data []byte) error {
	if err := checkFiles(ctx, s, m); err != nil {
		return err
	}
	err := storage.Put(ctx, s, ManifestName(m.Location), data, storage.CreateOptions{Exclusive: true})
	if err != nil && !errors.Is(err, storage.ErrExists) {
		return err
	}
	// If it was there, then a coordinator before this one was that far, or the answer to an earlier attempt was lost.
	there, err := Load(ctx, s, m.Location)
	switch {
	case errors.Is(err, ErrDamaged):
		// Nobody can use it: it may be written anew.
		return errors.Join(errManifestDamaged, err, s.Delete(ctx, ManifestName(m.Location)))
	case err != nil:
		return err
	case there.ID != m.ID || there.ApplicationID != m.ApplicationID || there.Kind != m.Kind:
		return fmt.Errorf("checkpointing: %s holds %s %d of application %q already", m.Location, there.Kind, there.ID,
			there.ApplicationID)
	}
	return stillThere(ctx, s, m)
}

// stillThere looks for the files once more: somebody who took us for dead may have given the checkpoint up, and deleted
// them just before it got its manifest. If that happens later, who deletes them deletes the manifest as well.
func stillThere(ctx context.Context, s storage.Storage, m *Manifest) error {
	err := checkFiles(ctx, s, m)
	if errors.Is(err, ErrDamaged) {
		err = errors.Join(err, s.Delete(ctx, ManifestName(m.Location)))
	}
	return err
}

// checkFiles finds files that are missing or have another size. A file in flight to the storage when its task died, or
// one that a deposed coordinator deleted, is noticed here and not in a restore.
func checkFiles(ctx context.Context, s storage.Storage, m *Manifest) error {
	files := m.Files()
	folders := make(map[string]bool)
	for _, f := range files {
		folders[path.Dir(f.Name)] = true
	}
	bytes := make(map[string]int64)
	for _, folder := range slices.Sorted(maps.Keys(folders)) {
		for o, err := range s.List(ctx, folder+"/") {
			if err != nil {
				return err
			}
			bytes[o.Name] = o.Bytes
		}
	}
	for _, f := range files {
		n, ok := bytes[f.Name]
		err := error(nil)
		switch {
		case !ok:
			err = damaged("it is missing")
		case n != f.Bytes:
			err = damaged("it has %d bytes, not %d", n, f.Bytes)
		default:
			continue
		}
		return &SnapshotError{Storage: s.String(), Location: m.Location, File: relative(m.Location, f.Name), Err: err}
	}
	return nil
}

// Load reads the manifest of the checkpoint or savepoint in a folder. Errors are [*SnapshotError].
func Load(ctx context.Context, s storage.Storage, location string) (*Manifest, error) {
	location = strings.TrimSuffix(location, "/")
	fail := func(err error, hint string) error {
		return &SnapshotError{Storage: s.String(), Location: location, File: manifestName, Err: err, Hint: hint}
	}
	data, err := storage.Get(ctx, s, ManifestName(location), manifestBytesMax)
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return nil, fail(ErrNoManifest, "it never completed, was deleted, or lies elsewhere")
	case err != nil:
		return nil, fail(err, "")
	}
	m, err := decodeManifest(location, data)
	switch {
	case errors.Is(err, ErrNewerFormat):
		return nil, fail(err, "use the release that wrote it, or a later one")
	case err != nil:
		return nil, fail(err, "use another one")
	}
	return m, nil
}

// ScanStored finds what the storages hold of an application. Both may be the same one, or nil.
func ScanStored(ctx context.Context, applicationID string, checkpoints, savepoints storage.Storage) (Stored, error) {
	var found Stored
	scan := func(s storage.Storage, prefix string) error {
		if s == nil {
			return nil
		}
		for o, err := range s.List(ctx, applicationID+"/"+prefix) {
			if err != nil {
				return err
			}
			folder, kind, id, ok := folderOf(applicationID, o.Name)
			if !ok {
				continue
			}
			found.LastID = max(found.LastID, id)
			if kind == KindCheckpoint && o.Name == ManifestName(folder) {
				found.Checkpoints = append(found.Checkpoints, id)
			}
		}
		return nil
	}
	if err := errors.Join(scan(checkpoints, checkpointStem), scan(savepoints, savepointStem)); err != nil {
		return Stored{}, err
	}
	slices.Sort(found.Checkpoints)
	return found, nil
}

// Pauses between attempts.
const (
	retryPauseMin = 50 * time.Millisecond
	retryPauseMax = 10 * time.Second
)

// retry repeats what fails with an error that may pass, with growing pauses, until ctx ends.
func retry(ctx context.Context, do func() error) error {
	for pause := retryPauseMin; ; pause = min(2*pause, retryPauseMax) {
		err := do()
		if err == nil || !storage.Transient(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), err)
		case <-clock.System().After(pause):
		}
	}
}
