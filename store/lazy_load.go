package store

import (
	"errors"
	"iter"
	"log/slog"
	"os"
	"slices"

	"github.com/tidwall/btree"
)

// begin starts the load.
func (e *lazyEngine) begin() {
	go func() {
		defer close(e.ended)
		err := e.load()
		if err == nil {
			err = e.settle()
		}
		switch {
		case e.ctx.Err() != nil && e.settled() == nil:
			err = os.RemoveAll(e.lazy.Dir)
		case err != nil:
			_ = e.fail(err) // which the task finds, and OnEnd is told
			err = os.RemoveAll(e.lazy.Dir)
		case e.lazy.OnEnd != nil:
			e.lazy.OnEnd(nil)
		}
		if err != nil {
			e.logger.Warn("what was loaded of a snapshot is not removed", slog.String("directory", e.lazy.Dir),
				slog.Any("error", err))
		}
	}()
}

// load makes a database of the snapshot, with all checks that a load before processing makes.
func (e *lazyEngine) load() error {
	return e.again(loadAttempts, 0, loadPause, func() error {
		if err := e.ctx.Err(); err != nil {
			return err
		}
		e.loaded.Store(0)
		return Install(e.ctx, e.lazy.Dir, e.counted(e.lazy.Entries(e.ctx)), e.lazy.Checkpoint, e.budget, e.logger)
	})
}

// counted counts the entries that were loaded.
func (e *lazyEngine) counted(entries iter.Seq2[Entry, error]) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		for at, err := range entries {
			e.loaded.Add(1)
			if !yield(at, err) {
				return
			}
		}
	}
}

// settle opens the database, gives it what was flushed meanwhile, and lets it take over. From the moment on in which
// the directory is in place there is local state, first that of the snapshot.
func (e *lazyEngine) settle() error {
	e.flushing.Lock()
	defer e.flushing.Unlock()
	if err := e.ctx.Err(); err != nil {
		return err
	}
	if err := e.failure(); err != nil {
		return err
	}
	if err := e.lazy.Place(); err != nil {
		return err
	}
	disk, err := openBadger(e.dir, e.budget, e.logger)
	if err != nil {
		return err
	}
	if overlay := e.state.Load().overlay; overlay.Len() > 0 {
		if err := disk.Flush(ascending(overlay), e.checkpoint); err != nil {
			return errors.Join(err, disk.Close())
		}
	}
	e.state.Store(&lazyState{disk: disk})
	e.cache.clear()
	return nil
}

// ascending yields the entries of a tree, which have to outlast the loop: Badger keeps them until they are written.
func ascending(tree *btree.BTreeG[Entry]) iter.Seq[Entry] {
	return func(yield func(Entry) bool) { tree.Scan(yield) }
}

// Loading tells how far the load of a set's snapshot is.
type Loading struct {
	// Base names the snapshot.
	Base string
	// Entries of about Total are loaded.
	Entries, Total int64
}

// Percent is how much of the snapshot is loaded.
func (l Loading) Percent() int64 {
	if l.Total <= 0 {
		return 0
	}
	return min(100, 100*l.Entries/l.Total)
}

// Loading reports that a part of the state is not local yet. See [Lazy].
func (s *Set) Loading() (Loading, bool) {
	s.adopt()
	if s.lazy == nil || s.disk != nil {
		return Loading{}, false
	}
	return Loading{Base: s.lazy.lazy.Base, Entries: s.lazy.loaded.Load(), Total: s.lazy.lazy.Total}, true
}

// Failed returns what ended the set beside its task: a load that failed. It costs nothing where nothing is loaded.
func (s *Set) Failed() error {
	if s.lazy == nil || s.disk != nil {
		return nil
	}
	return s.poll()
}

// adopt makes the database that was loaded that of the set, once no flush runs that does not know of it.
func (s *Set) adopt() {
	if s.lazy == nil || s.disk != nil || s.running != nil {
		return
	}
	if s.disk = s.lazy.settled(); s.disk != nil {
		s.frozen.engine = s.disk.version
	}
}

// giveUp ends a load that a set that closes cannot wait for. What was committed since the snapshot is in the changelog.
// It reports whether there was one.
func (s *Set) giveUp(clean bool) bool {
	if s.lazy == nil || s.lazy.settled() != nil {
		return false
	}
	select {
	case <-s.lazy.ended: // it failed
	default:
		if clean {
			s.config.Logger.Info("the set closes before its snapshot is loaded: the next start restores again",
				slog.String("task", s.config.TaskID.String()), slog.String("base", s.lazy.lazy.Base))
		}
	}
	s.lazy.cancel()
	return true
}

// lazyNames gives the stores of a set the prefixes that they have in the snapshot, and returns those that are taken:
// rows of stores in memory are in the files, too.
func (s *Set) lazyNames() (taken []uint16, err error) {
	if s.names, err = s.lazy.prefixes(s.config.Specs); err != nil {
		return nil, err
	}
	for _, prefix := range s.lazy.names.memory {
		taken = append(taken, prefix)
	}
	return slices.Clip(taken), nil
}
