package store

import (
	"bufio"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
)

// changesDir is where the change files of a task lie, in its directory.
const changesDir = "changes"

// Limits of the change files of a task.
const (
	changesBytesMaxDefault = 1 << 30
	changesFilesMax        = 256 // all are open at the same time while they are merged
)

// changes are what the flushes of a set wrote, a file for each: what [Snapshot.Since] reads. They are of no use to
// another set, even on the same directory. Not being able to keep them is no error: the next snapshot is a full one.
//
// Safe for concurrent use: flushes write, snapshots read, and whoever keeps snapshots forgets.
type changes struct {
	dir    string // "": nothing is kept
	limit  int64
	logger *slog.Logger

	mu struct {
		sync.Mutex

		// begun says that there was a snapshot: what was flushed before, as in a restore, nobody can ask for.
		begun bool
		// from is the version behind which all changes are known.
		from   uint64
		files  []*changeFile // by ascending versions
		bytes  int64
		closed bool
	}
}

// memoryChanges is the end of the names of the files for stores in memory.
const memoryChanges = "-memory"

// snappyChunkBytes is a little more than the largest chunk of a snapshot file.
const snappyChunkBytes = 80 << 10

// changeFile is what one flush wrote to one engine.
type changeFile struct {
	path    string
	version uint64
	bytes   int64
	readers int  // Guarded by changes.mu
	gone    bool // removed when nobody reads it. Guarded by changes.mu
}

// openChanges removes what a set before left.
func openChanges(config *SetConfig, version uint64) (*changes, error) {
	c := &changes{limit: config.ChangesBytesMax, logger: config.Logger}
	c.mu.from = version
	if config.Dir == "" {
		return c, nil
	}
	dir := filepath.Join(config.Dir, changesDir)
	if err := os.RemoveAll(dir); err != nil {
		return nil, fmt.Errorf("store: remove old changes: %w", err)
	}
	if config.TrackChanges {
		c.dir = dir
	}
	return c, nil
}

// changeRecorder writes the change file of one flush.
type changeRecorder struct {
	c    *changes
	file *changeFile
	f    *os.File
	out  *entryWriter
	room int64 // bytes that may still be written
	err  error
}

var errChangesTooLarge = errors.New("the changes since the last checkpoint are larger than their limit")

// begin says that there is a snapshot with a version.
func (c *changes) begin(version uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.mu.begun {
		c.mu.begun, c.mu.from = true, version
	}
}

// record begins the change file of a flush; nil if none is kept. kind tells the engines apart.
func (c *changes) record(version uint64, kind string) *changeRecorder {
	if c.dir == "" {
		return nil
	}
	c.mu.Lock()
	if !c.mu.begun || version <= c.mu.from {
		c.mu.Unlock()
		return nil
	}
	r := &changeRecorder{
		c: c, room: c.limit - c.mu.bytes,
		file: &changeFile{version: version, path: filepath.Join(c.dir, strconv.FormatUint(version, 10)+kind)},
	}
	if len(c.mu.files) >= changesFilesMax {
		r.err = errChangesTooLarge
	}
	c.mu.Unlock()
	if r.err == nil {
		r.err = os.MkdirAll(c.dir, 0o700)
	}
	if r.err == nil {
		r.f, r.err = os.OpenFile(r.file.path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	}
	if r.err == nil {
		r.out, r.err = newEntryWriter(r)
	}
	return r
}

// Write implements io.Writer.
func (r *changeRecorder) Write(p []byte) (int, error) {
	if r.room -= int64(len(p)); r.room < 0 {
		return 0, errChangesTooLarge
	}
	n, err := r.f.Write(p)
	r.file.bytes += int64(n)
	return n, err
}

// tee passes entries on and writes them. The engine's own are not changes of a store.
func (r *changeRecorder) tee(entries iter.Seq[Entry]) iter.Seq[Entry] {
	if r == nil {
		return entries
	}
	return func(yield func(Entry) bool) {
		for at := range entries {
			if r.err == nil && !ownKey(at.Key) {
				r.err = r.out.add(at)
			}
			if !yield(at) {
				return
			}
		}
	}
}

// end makes the file one of the changes, if the flush succeeded.
func (r *changeRecorder) end(flush error) {
	if r == nil {
		return
	}
	err := errors.Join(flush, r.err)
	if err == nil {
		err = r.out.finish()
	}
	if r.f != nil {
		err = errors.Join(err, r.f.Close())
	}
	if err == nil {
		r.c.add(r.file)
		return
	}
	_ = os.Remove(r.file.path) // what it could not be written to is removed at the next start
	if flush == nil {
		r.c.logger.Warn("changes of a flush are not kept: the next snapshot is a full one",
			slog.String("directory", r.c.dir), slog.Any("error", err))
	}
	r.c.forget(r.file.version)
}

func (c *changes) add(f *changeFile) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mu.closed || f.version <= c.mu.from {
		c.removeLocked(f)
		return
	}
	c.mu.files = append(c.mu.files, f)
	c.mu.bytes += f.bytes
}

// forget drops the changes up to a version.
func (c *changes) forget(upTo uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !sameEra(c.mu.from, upTo) {
		return // of another set
	}
	c.mu.from = max(c.mu.from, upTo)
	c.dropLocked()
}

// dropLocked removes the files that nobody can ask for.
func (c *changes) dropLocked() {
	kept := c.mu.files[:0]
	for _, f := range c.mu.files {
		if f.version > c.mu.from && !c.mu.closed {
			kept = append(kept, f)
			continue
		}
		c.mu.bytes -= f.bytes
		c.removeLocked(f)
	}
	clear(c.mu.files[len(kept):])
	c.mu.files = kept
}

// removeLocked removes a file when its last reader is gone. What cannot be removed is at the next start.
func (c *changes) removeLocked(f *changeFile) {
	if f.gone = true; f.readers == 0 {
		_ = os.Remove(f.path)
	}
}

// since returns the files with the changes behind one version up to another, the newest first, and keeps them until
// they are released. false: they are not known.
func (c *changes) since(base, version uint64) ([]*changeFile, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dir == "" || c.mu.closed || !sameEra(base, version) || base < c.mu.from || base > version {
		return nil, false
	}
	var files []*changeFile
	for _, f := range slices.Backward(c.mu.files) {
		if f.version > base && f.version <= version {
			f.readers++
			files = append(files, f)
		}
	}
	return files, true
}

func (c *changes) release(files []*changeFile) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, f := range files {
		if f.readers--; f.gone {
			c.removeLocked(f)
		}
	}
}

// read yields the entries of a change file.
func (c *changes) read(f *changeFile) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		in, err := os.Open(f.path)
		if err != nil {
			yield(Entry{}, c.readError(f, err))
			return
		}
		defer func() { _ = in.Close() }()
		for at, err := range ReadEntries(bufio.NewReaderSize(in, snappyChunkBytes)) {
			if err != nil {
				err = c.readError(f, err)
			}
			if !yield(at, err) || err != nil {
				return
			}
		}
	}
}

func (c *changes) readError(f *changeFile, err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mu.closed {
		return ErrClosed
	}
	return fmt.Errorf("store: changes in %s: %w", f.path, err)
}

// isClosed reports that the set was closed.
func (c *changes) isClosed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mu.closed
}

// close removes all files but those that are being read.
func (c *changes) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.closed = true
	c.dropLocked()
	if c.dir != "" {
		_ = os.Remove(c.dir) // unless somebody reads
	}
}

// ownKey reports that a key is one of the engine's own.
func ownKey(key []byte) bool { return len(key) >= 2 && key[0] == 0 && key[1] == 0 }
