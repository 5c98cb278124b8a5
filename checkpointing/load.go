package checkpointing

import (
	"bufio"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"iter"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tidemarkio/tidemark/checkpointing/storage"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/store"
)

// Found is a folder that holds a checkpoint or a savepoint, or looks as if.
type Found struct {
	Kind     Kind
	ID       int64
	Location string
	// Manifest is nil if it cannot be used; Err says why.
	Manifest *Manifest
	Err      error
	// Bytes is what lies in the folder, Objects how many.
	Bytes   int64
	Objects int
}

// List finds the checkpoints and savepoints of an application, the newest first. Folders without a manifest, of those
// in progress or given up, are in it with [ErrNoManifest]. It fails only if the storage cannot be listed.
func List(ctx context.Context, s storage.Storage, applicationID string) ([]Found, error) {
	return list(ctx, s, applicationID, func(location string) (*Manifest, error) {
		return loadOf(ctx, s, location, applicationID)
	})
}

// Applications finds the applications that have checkpoints or savepoints in a storage, by reading its whole list.
func Applications(ctx context.Context, s storage.Storage) ([]string, error) {
	var ids []string
	for o, err := range s.List(ctx, "") {
		if err != nil {
			return nil, err
		}
		dirs := strings.Split(o.Name, "/")
		if len(dirs) < 3 {
			continue
		}
		if _, _, ok := parseFolder(dirs[1]); ok && !slices.Contains(ids, dirs[0]) {
			ids = append(ids, dirs[0])
		}
	}
	slices.Sort(ids)
	return ids, nil
}

func list(
	ctx context.Context, s storage.Storage, applicationID string, load func(location string) (*Manifest, error),
) ([]Found, error) {
	folders := make(map[string]*Found)
	manifests := make(map[string]bool)
	for o, err := range s.List(ctx, applicationID+"/") {
		if err != nil {
			return nil, err
		}
		folder, kind, id, ok := folderOf(applicationID, o.Name)
		if !ok {
			continue
		}
		f := folders[folder]
		if f == nil {
			f = &Found{Kind: kind, ID: id, Location: folder}
			folders[folder] = f
		}
		f.Bytes, f.Objects = f.Bytes+o.Bytes, f.Objects+1
		manifests[folder] = manifests[folder] || o.Name == ManifestName(folder)
	}
	found := make([]Found, 0, len(folders))
	for _, f := range folders {
		if manifests[f.Location] {
			f.Manifest, f.Err = load(f.Location)
		} else {
			f.Err = &SnapshotError{Storage: s.String(), Location: f.Location, File: manifestName, Err: ErrNoManifest}
		}
		found = append(found, *f)
	}
	slices.SortFunc(found, func(a, b Found) int {
		return cmp.Or(cmp.Compare(b.ID, a.ID), cmp.Compare(b.Location, a.Location))
	})
	return found, ctx.Err()
}

// loadOf is Load for an application that must be the given one.
func loadOf(ctx context.Context, s storage.Storage, location, applicationID string) (*Manifest, error) {
	m, err := Load(ctx, s, location)
	if err != nil {
		return nil, err
	}
	if m.ApplicationID != applicationID {
		return nil, &SnapshotError{
			Storage: s.String(), Location: location, File: manifestName,
			Err: fmt.Errorf("%w: %q, not %q", ErrForeign, m.ApplicationID, applicationID),
		}
	}
	return m, nil
}

// Files reads the files of a checkpoint or savepoint.
type Files struct {
	Storage storage.Storage
	// Cipher has the keys; nil if nothing is encrypted.
	Cipher *storage.Cipher
	// Read, if set, is told of each piece that was read, also by several goroutines.
	Read func(bytes int)
}

// Entries yields the entries of a file. Damage is an error in the stream, a [*SnapshotError]: at the latest at its end,
// where length, number of entries and checksum are compared. What was yielded before it must not be used.
func (f Files) Entries(ctx context.Context, m *Manifest, file File) iter.Seq2[store.Entry, error] {
	return func(yield func(store.Entry, error) bool) {
		fail := func(err error) {
			yield(store.Entry{}, &SnapshotError{
				Storage: f.Storage.String(), Location: m.Location, File: relative(m.Location, file.Name), Err: classify(err),
			})
		}
		if file.KeyID != "" && f.Cipher == nil {
			fail(fmt.Errorf("%w: it is encrypted with the key %s", storage.ErrKey, file.KeyID))
			return
		}
		r, err := f.Storage.Open(ctx, file.Name)
		if err != nil {
			fail(err)
			return
		}
		defer func() { _ = r.Close() }() // all was read, or does not matter
		in := &measured{r: r, sum: sha256.New(), told: f.Read}
		var plain io.Reader = bufio.NewReaderSize(in, fileBufferBytes)
		if file.KeyID != "" {
			plain = f.Cipher.Decrypt(plain)
		}
		var n int64
		for at, err := range store.ReadEntries(plain) {
			if err != nil {
				fail(err)
				return
			}
			n++
			if !yield(at, nil) {
				return
			}
		}
		if err := in.compare(plain, file, n); err != nil {
			fail(err)
		}
	}
}

// classify makes what is wrong with a file match [ErrDamaged]; what is wrong with the storage stays as it is.
func classify(err error) error {
	_, damage := errors.AsType[*store.DamageError](err)
	switch {
	case errors.Is(err, ErrDamaged):
		return err
	case errors.Is(err, storage.ErrNotFound):
		return damaged("it is missing: %w", err)
	case damage, errors.Is(err, storage.ErrDamaged):
		return damaged("%w", err)
	case errors.Is(err, store.ErrNewerFormat):
		return fmt.Errorf("%w: %w", ErrNewerFormat, err)
	}
	return err
}

// Task yields the state of a task: its full file with all increments laid over it, in key order.
func (f Files) Task(ctx context.Context, m *Manifest, t *TaskSnapshot) iter.Seq2[store.Entry, error] {
	newestFirst := make([]iter.Seq2[store.Entry, error], 0, len(t.Files))
	for _, file := range slices.Backward(t.Files) {
		newestFirst = append(newestFirst, f.Entries(ctx, m, file))
	}
	return store.MergeFull(newestFirst...)
}

// InFlight yields the records of a savepoint that were in flight to a task, by topic, partition and offset.
func (f Files) InFlight(ctx context.Context, m *Manifest, t *TaskSnapshot) iter.Seq2[InFlightRecord, error] {
	return func(yield func(InFlightRecord, error) bool) {
		if t.InFlightFile == nil {
			return
		}
		for at, err := range f.Entries(ctx, m, *t.InFlightFile) {
			var r InFlightRecord
			if err == nil {
				if r, err = decodeInFlight(at); err != nil {
					err = &SnapshotError{
						Storage: f.Storage.String(), Location: m.Location, File: relative(m.Location, t.InFlightFile.Name),
						Err: damaged("%w", err),
					}
				}
			}
			if !yield(r, err) || err != nil {
				return
			}
		}
	}
}

// Verify reads everything that a checkpoint or savepoint consists of, and returns all that is wrong.
func (f Files) Verify(ctx context.Context, m *Manifest) error {
	var errs []error
	for _, file := range m.Files() {
		for _, err := range f.Entries(ctx, m, file) {
			if err != nil {
				errs = append(errs, err)
			}
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return errors.Join(append(errs, f.verifyIndexes(ctx, m)...)...)
}

// Candidate is a checkpoint or savepoint that a task's state can be restored from.
type Candidate struct {
	ID       int64
	Kind     Kind
	Location string
	// Err says why this one cannot be used; nothing else is set then.
	Err error
	// Checkpoint is what the state contains.
	Checkpoint store.Checkpoint
	// Bytes and Entries are what a restore reads.
	Bytes   int64
	Entries int64
	// Open yields the state in key order. Damage is an error in the stream, at the latest at its end: only then may the
	// state be used.
	Open func(ctx context.Context) iter.Seq2[store.Entry, error]
	// Files returns the files such that parts of them can be read, as [Files.Parts] does.
	Files func(ctx context.Context) ([]store.SnapshotFile, error)
}

// Loader finds what tasks can be restored from. Safe for concurrent use.
type Loader struct {
	Storages      []storage.Storage
	ApplicationID string
	Cipher        *storage.Cipher
	// Fits says why a checkpoint is of no use to the topology that runs; nil if it is. May be nil.
	Fits func(m *Manifest) error
	// Read is that of [Files].
	Read func(task record.TaskID, bytes int)
	// StallMax is how long a storage may get nowhere before it is passed over: [storage.LimitStalls]. 0: it is waited for.
	StallMax time.Duration

	mu struct {
		sync.Mutex
		manifests map[manifestKey]*Manifest
		impatient map[int]storage.Storage // by place in Storages
	}
}

// manifestKey is a folder of one of the storages. What was once a manifest there stays the same until it is deleted.
type manifestKey struct {
	storage  int
	location string
}

// Candidates returns what a task can be restored from, the newest first, also those that cannot be used, with the
// reason. Folders without a manifest are left out.
func (l *Loader) Candidates(ctx context.Context, id record.TaskID) ([]Candidate, error) {
	var all []Candidate
	var errs []error
	for i, s := range l.Storages {
		if s == nil || slices.ContainsFunc(l.Storages[:i], func(other storage.Storage) bool { return same(other, s) }) {
			continue
		}
		s = l.storage(i)
		found, err := list(ctx, s, l.ApplicationID, func(location string) (*Manifest, error) {
			return l.load(ctx, i, location)
		})
		if err != nil {
			errs = append(errs, err)
			continue
		}
		for _, f := range found {
			if c, ok := l.candidate(s, f, id); ok {
				all = append(all, c)
			}
		}
	}
	slices.SortStableFunc(all, func(a, b Candidate) int { return cmp.Compare(b.ID, a.ID) })
	return all, errors.Join(errs...)
}

// storage returns one of the storages, as it is asked: all tasks learn that it has stalled.
func (l *Loader) storage(i int) storage.Storage {
	if l.StallMax <= 0 {
		return l.Storages[i]
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mu.impatient == nil {
		l.mu.impatient = make(map[int]storage.Storage)
	}
	s := l.mu.impatient[i]
	if s == nil {
		s = storage.LimitStalls(l.Storages[i], l.StallMax)
		l.mu.impatient[i] = s
	}
	return s
}

// load reads a manifest once: all tasks of an instance ask for the same ones.
func (l *Loader) load(ctx context.Context, i int, location string) (*Manifest, error) {
	at := manifestKey{i, location}
	l.mu.Lock()
	m := l.mu.manifests[at]
	l.mu.Unlock()
	if m != nil {
		return m, nil
	}
	m, err := loadOf(ctx, l.storage(i), location, l.ApplicationID)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mu.manifests == nil || len(l.mu.manifests) >= manifestsMax {
		l.mu.manifests = make(map[manifestKey]*Manifest)
	}
	l.mu.manifests[at] = m
	return m, nil
}

// manifestsMax bounds the manifests that a Loader remembers.
const manifestsMax = 64

// same tells whether two storages are one. A type that cannot be compared may be anything.
func same(a, b storage.Storage) bool { return a != nil && reflect.TypeOf(b).Comparable() && a == b }

func (l *Loader) candidate(s storage.Storage, f Found, id record.TaskID) (Candidate, bool) {
	c := Candidate{ID: f.ID, Kind: f.Kind, Location: f.Location, Err: f.Err}
	if f.Err != nil {
		return c, !errors.Is(f.Err, ErrNoManifest)
	}
	if l.Fits != nil {
		if err := l.Fits(f.Manifest); err != nil {
			c.Err = &SnapshotError{Storage: s.String(), Location: f.Location, Err: err}
			return c, true
		}
	}
	t, ok := f.Manifest.Task(id)
	if !ok || len(t.Files) == 0 {
		return c, false // a task without stores, or of another topology
	}
	files := Files{Storage: s, Cipher: l.Cipher}
	if l.Read != nil {
		files.Read = func(n int) { l.Read(id, n) }
	}
	c.Checkpoint, c.Bytes, c.Entries = t.Checkpoint(), t.StateBytes(), t.StateEntries()
	c.Open = func(ctx context.Context) iter.Seq2[store.Entry, error] { return files.Task(ctx, f.Manifest, t) }
	c.Files = func(ctx context.Context) ([]store.SnapshotFile, error) { return files.Parts(ctx, f.Manifest, t) }
	return c, true
}

// measured reads an object, and finds out its length and checksum.
type measured struct {
	r     io.Reader
	sum   hash.Hash
	bytes int64
	told  func(int)
}

func (m *measured) Read(p []byte) (int, error) {
	n, err := m.r.Read(p)
	_, _ = m.sum.Write(p[:n]) // never fails
	m.bytes += int64(n)
	if m.told != nil && n > 0 {
		m.told(n)
	}
	return n, err
}

// compare reads what is left behind the entries, which should be nothing, and checks the whole.
func (m *measured) compare(rest io.Reader, f File, entries int64) error {
	if n, err := io.Copy(io.Discard, rest); err != nil {
		return err
	} else if n > 0 {
		return damaged("%d bytes follow its end", n)
	}
	switch {
	case m.bytes != f.Bytes:
		return damaged("it has %d bytes, not %d", m.bytes, f.Bytes)
	case hex.EncodeToString(m.sum.Sum(nil)) != f.SHA256:
		return damaged("its checksum does not fit")
	case entries != f.Entries:
		return damaged("it has %d entries, not %d", entries, f.Entries)
	}
	return nil
}
