package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidwall/btree"

	"github.com/tidemarkio/tidemark/internal/clock"
)

// Lazy lets a set begin with a snapshot of which nothing is local yet: [OpenSet] with it returns as soon as the first
// block was read. What is missing is read from the files on demand, while all of it is loaded into a database beside.
type Lazy struct {
	// Base names the snapshot in messages: "snapshot 17".
	Base string
	// Files are those of the snapshot: the increments, the newest first, then the full one.
	Files []SnapshotFile
	// Checkpoint is what they contain.
	Checkpoint Checkpoint
	// Total is how many entries the load reads, for those who show progress.
	Total int64
	// Entries yields the whole snapshot, as [Install] takes it. It is called again if a load failed that may succeed.
	Entries func(ctx context.Context) iter.Seq2[Entry, error]
	// Dir is where the database is made. Place makes what is there the directory of SetConfig.Dir, and marks it as open.
	Dir   string
	Place func() error
	// Transient tells which errors of Entries and of the files may pass. Nil: none.
	Transient func(err error) bool
	// OnEnd is told, by any goroutine, that the database is in place, or why it will not be. Not when the set is
	// closed before. May be nil.
	OnEnd func(err error)
}

// LoadError says that a snapshot with which a task runs cannot be read or loaded. The task cannot go on: it starts
// again, from another base.
type LoadError struct {
	Base string
	Err  error
}

// Error names the snapshot and the cause.
func (e *LoadError) Error() string {
	return fmt.Sprintf("store: %s, with which the task runs, cannot be loaded: %v (the task starts again from the "+
		"next nearest base)", e.Base, e.Err)
}

// Unwrap returns the cause.
func (e *LoadError) Unwrap() error { return e.Err }

// ErrLoading says that the state of a task is still being loaded from a snapshot, so that no other can be made of it.
var ErrLoading = errors.New("store: the state is still being loaded from a snapshot")

// lazyEngine stands in for the engine on disk until that is loaded:
//
//	flushed since     │ overlay: a tree in memory, nil for what was deleted
//	increments        │ files of the snapshot, the newest first: blocks that are read on demand, and cached
//	full snapshot     │
//
// The load runs beside it, on a goroutine of its own. When the database is there it gets the overlay, and from then on
// everything. Whatever ends that before leaves no local state: the next start begins again, and the changelog has what
// the overlay had.
type lazyEngine struct {
	lazy   *Lazy
	dir    string
	budget *Budget
	logger *slog.Logger
	names  nameTables
	cache  *blockCache
	// ctx ends when the engine is closed, and with it what is being read.
	ctx    context.Context //nolint:containedctx // that of the load, which outlives the call that began it
	cancel context.CancelFunc
	ended  chan struct{} // closed when the load has ended
	loaded atomic.Int64  // entries

	state atomic.Pointer[lazyState]
	// failed is why the task cannot go on; nil if it can.
	failed atomic.Pointer[LoadError]

	// flushing is held while the overlay, or what takes its place, is written.
	flushing   sync.Mutex
	checkpoint Checkpoint
	closed     bool
}

// lazyState is what readers see. It is never changed.
type lazyState struct {
	files   []SnapshotFile
	overlay *btree.BTreeG[Entry]
	bytes   int
	disk    *badgerEngine // nil until it is loaded; then there is nothing else
}

var _ Engine = (*lazyEngine)(nil)

// Attempts to load, and to read a block, and the pauses between them, which double.
const (
	loadAttempts  = 8
	loadPause     = 100 * time.Millisecond
	blockAttempts = 7
	blockPause    = 25 * time.Millisecond
)

// openLazy reads the names of the stores, and begins to load.
func openLazy(ctx context.Context, config *SetConfig) (*lazyEngine, error) {
	l := config.Lazy
	if len(l.Files) == 0 || l.Entries == nil || l.Place == nil || l.Dir == "" {
		return nil, errors.New("store: SetConfig.Lazy needs Files, Entries, Dir and Place")
	}
	own := *l
	own.Files = nil // they are let go when all is loaded
	e := &lazyEngine{
		lazy: &own, dir: config.Dir, budget: config.Budget, logger: config.Logger, checkpoint: l.Checkpoint.clone(),
		ended: make(chan struct{}), cache: newBlockCache(config.Budget.lazyBlocksBytes),
	}
	e.state.Store(&lazyState{files: l.Files, overlay: newMemTree()})
	config.Lazy = nil
	e.ctx = ctx // until the names are read
	if err := e.readNames(); err != nil {
		return nil, fmt.Errorf("store: %s cannot be read on demand: %w", l.Base, err)
	}
	for name := range e.names.memory {
		forgetPositions(e.checkpoint, name)
	}
	e.ctx, e.cancel = context.WithCancel(context.WithoutCancel(ctx))
	e.begin()
	return e, nil
}

func (e *lazyEngine) readNames() (err error) {
	files := e.state.Load().files
	full := e.cursor(len(files)-1, &files[len(files)-1], nil, nil, false)
	e.names, _, err = readNameTables(func() (Entry, error, bool) {
		at, ok, err := full.next()
		return at, err, ok
	})
	return err
}

// now returns what readers see, or why they cannot.
func (e *lazyEngine) now() (*lazyState, error) {
	s := e.state.Load()
	if s.disk == nil {
		if err := e.failure(); err != nil {
			return nil, err
		}
		if e.ctx.Err() != nil {
			return nil, ErrClosed
		}
	}
	return s, nil
}

// failure returns why the task cannot go on.
func (e *lazyEngine) failure() error {
	err := e.failed.Load()
	if err == nil {
		return nil // and no error without a value
	}
	return err
}

// fail ends the task, unless all is local by now.
func (e *lazyEngine) fail(err error) error {
	switch {
	case e.settled() != nil:
		return &LoadError{Base: e.lazy.Base, Err: err}
	case e.ctx.Err() != nil:
		return ErrClosed
	}
	began := e.cancel != nil // else whoever opens the set gets the error
	if e.failed.CompareAndSwap(nil, &LoadError{Base: e.lazy.Base, Err: err}) && began && e.lazy.OnEnd != nil {
		e.lazy.OnEnd(err)
	}
	return e.failure()
}

// settled returns the database once it has everything; nil before.
func (e *lazyEngine) settled() *badgerEngine { return e.state.Load().disk }

// Get implements [Engine].
func (e *lazyEngine) Get(key, dst []byte) (value []byte, found bool, err error) {
	s, err := e.now()
	if err != nil {
		return nil, false, err
	}
	if s.disk != nil {
		return s.disk.Get(key, dst)
	}
	if at, ok := s.overlay.Get(Entry{Key: key}); ok {
		return valueOf(at, dst)
	}
	for number := range s.files {
		f := &s.files[number]
		i := f.Index.find(key)
		if i < 0 {
			continue
		}
		b, err := e.block(number, f, i, 1)
		if disk := e.settled(); err != nil && disk != nil {
			return disk.Get(key, dst) // it has become local meanwhile
		}
		if err != nil {
			return nil, false, err
		}
		if j := b.find(key); j < len(b.entries) && bytes.Equal(b.key(j), key) {
			return valueOf(b.at(j), dst)
		}
	}
	return nil, false, nil
}

func valueOf(at Entry, dst []byte) (value []byte, found bool, err error) {
	if at.Value == nil {
		return nil, false, nil
	}
	return append(dst, at.Value...), true, nil
}

// block returns block i of a file; if it has to be read, then with up to ahead blocks from there on.
func (e *lazyEngine) block(number int, f *SnapshotFile, i, ahead int) (*block, error) {
	if b := e.cache.get(blockID{number, i}); b != nil {
		return b, nil
	}
	n := min(max(ahead, 1), len(f.Index.blocks)-i)
	var blocks []*block
	// Bytes may be damaged on the way: then they are right the second time.
	err := e.again(blockAttempts, 1, blockPause, func() (err error) {
		blocks, err = f.load(e.ctx, i, n)
		return err
	})
	if err != nil {
		return nil, e.fail(err)
	}
	for j, b := range blocks {
		e.cache.put(blockID{number, i + j}, b)
	}
	return blocks[0], nil
}

// again repeats what fails with an error that may pass, a bounded number of times. Of the others it forgives some.
func (e *lazyEngine) again(attempts, forgive int, pause time.Duration, do func() error) error {
	for attempt := 1; ; attempt++ {
		err := do()
		if err == nil || attempt >= attempts {
			return err
		}
		if e.lazy.Transient == nil || !e.lazy.Transient(err) {
			if forgive--; forgive < 0 {
				return err
			}
		}
		select {
		case <-e.ctx.Done():
			return err
		case <-clock.System().After(pause):
		}
		pause *= 2
	}
}

// Flush implements [Engine]. It waits for the load if the overlay is full.
func (e *lazyEngine) Flush(entries iter.Seq[Entry], checkpoint Checkpoint) error {
	if s := e.state.Load(); s.disk == nil && s.bytes > e.budget.lazyOverlayBytes() {
		e.logger.Info("a flush waits until the snapshot is loaded", slog.String("base", e.lazy.Base),
			slog.Int("bytes", s.bytes))
		select {
		case <-e.ended:
		case <-e.ctx.Done():
		}
	}
	e.flushing.Lock()
	defer e.flushing.Unlock()
	s, err := e.now()
	if err != nil {
		return err
	}
	if s.disk != nil {
		return s.disk.Flush(entries, checkpoint)
	}
	next := &lazyState{files: s.files, overlay: s.overlay.Copy(), bytes: s.bytes}
	for at := range entries {
		next.put(at)
	}
	e.checkpoint = checkpoint.clone()
	e.state.Store(next)
	return nil
}

// lazyEntryBytes is what an entry of the overlay takes beside its bytes.
const lazyEntryBytes = 80

func (s *lazyState) put(at Entry) {
	own := Entry{Key: bytes.Clone(at.Key)}
	if at.Value != nil {
		own.Value = append(make([]byte, 0, len(at.Value)), at.Value...)
	}
	s.bytes += lazyEntryBytes + len(own.Key) + len(own.Value)
	if old, replaced := s.overlay.Set(own); replaced {
		s.bytes -= lazyEntryBytes + len(old.Key) + len(old.Value)
	}
}

// Checkpoint implements [Engine].
func (e *lazyEngine) Checkpoint() (Checkpoint, bool, error) {
	e.flushing.Lock()
	defer e.flushing.Unlock()
	if disk := e.settled(); disk != nil {
		return disk.Checkpoint()
	}
	return e.checkpoint.clone(), true, nil
}

// Empty implements [Engine].
func (e *lazyEngine) Empty() bool { return false }

// ApproximateCount implements [Engine]. Until the database is there it goes by the size of the files.
func (e *lazyEngine) ApproximateCount(prefix []byte) (n uint64, err error) {
	s, err := e.now()
	if err != nil {
		return 0, err
	}
	if s.disk != nil {
		return s.disk.ApproximateCount(prefix)
	}
	for i := range s.files {
		n = max(n, s.files[i].Index.count(prefix)) // what an increment has is mostly in the full one, too
	}
	return n, nil
}

// prefixes returns the prefixes of the snapshot's stores on disk. A store that is gone, or is kept in memory now, has
// rows that only the database can get rid of.
func (e *lazyEngine) prefixes(specs []Spec) (map[string]uint16, error) {
	kept := make(map[string]bool)
	for _, s := range specs {
		kept[s.Name] = !s.InMemory
	}
	for name := range e.names.disk {
		if !kept[name] {
			return nil, fmt.Errorf("store: %s cannot be read on demand: it has the store %q, which is not one on disk any "+
				"more", e.lazy.Base, name)
		}
	}
	return maps.Clone(e.names.disk), nil
}

// Close implements [Engine]. It waits for the load to end.
func (e *lazyEngine) Close() error {
	e.cancel()
	<-e.ended
	e.flushing.Lock()
	defer e.flushing.Unlock()
	if e.closed {
		return errors.New("store: engine closed twice")
	}
	e.closed = true
	if disk := e.settled(); disk != nil {
		return disk.Close()
	}
	return nil
}
