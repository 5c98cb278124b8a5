package worker

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/store"
)

// Spoiled remembers the snapshots that failed while tasks ran with them: a task that starts again must not take the
// same one. Safe for concurrent use.
type Spoiled struct {
	mu struct {
		sync.Mutex
		snapshots map[spoiledKey]error
	}
}

type spoiledKey struct {
	task     record.TaskID
	id       int64
	location string
}

// of returns why a task must not use a snapshot; nil if it may.
func (s *Spoiled) of(id record.TaskID, c *Candidate) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.mu.snapshots[spoiledKey{id, c.ID, c.Location}]; err != nil {
		return fmt.Errorf("the task failed with it before: %w", err)
	}
	return nil
}

func (s *Spoiled) add(id record.TaskID, c *Candidate, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.snapshots == nil {
		s.mu.snapshots = make(map[spoiledKey]error)
	}
	s.mu.snapshots[spoiledKey{id, c.ID, c.Location}] = err
}

// lazily opens the task on a snapshot that is loaded beside processing. false: it is loaded before.
func (s *opening) lazily(ctx context.Context, c *Candidate) (bool, error) {
	files, err := s.files(ctx, c)
	if err == nil {
		err = s.openLazily(ctx, c, files)
	}
	if ctx.Err() != nil {
		return false, errors.Join(ctx.Err(), err)
	}
	if err != nil {
		s.r.cfg.Logger.Info("snapshot is loaded before the task runs", slog.String("task", s.cfg.ID.String()),
			slog.Int64("snapshot", c.ID), slog.String("location", c.Location), slog.String("reason", err.Error()))
		return false, s.reopen(ctx)
	}
	s.r.cfg.Logger.Info("the task runs as soon as its changelogs are read, while its snapshot is loaded",
		slog.String("task", s.cfg.ID.String()), slog.Int64("snapshot", c.ID), slog.String("location", c.Location),
		slog.Int64("entries", c.Entries), slog.Int64("bytes", c.Bytes))
	return true, nil
}

func (s *opening) files(ctx context.Context, c *Candidate) ([]store.SnapshotFile, error) {
	if c.Files == nil {
		return nil, errors.New("its files cannot be read in parts")
	}
	return c.Files(ctx)
}

// openLazily opens the task; what was open before is closed, and stays where it is until the load has ended.
func (s *opening) openLazily(ctx context.Context, c *Candidate, files []store.SnapshotFile) (err error) {
	if t := s.task; t != nil {
		s.task, s.closed = nil, true
		if err := t.Close(false); err != nil {
			return err
		}
	}
	cfg, dir := s.cfg, s.o.installDir(s.cfg.ID)
	began := s.r.cfg.Clock.Now()
	cfg.Stores.Lazy = &store.Lazy{
		Base: c.base(), Files: files, Checkpoint: c.Checkpoint, Total: c.Entries, Dir: dir, Transient: c.Transient,
		Entries: func(ctx context.Context) iter.Seq2[store.Entry, error] {
			load := &loading{r: s.r, id: cfg.ID, c: c, began: began, beside: true, told: began}
			return s.r.inTurn(ctx, load.watch(c.Open(ctx)))
		},
		Place: func() error {
			if err := s.o.replace(cfg.ID, dir); err != nil {
				return err
			}
			return s.o.dir.MarkOpen(cfg.ID)
		},
		OnEnd: func(err error) { s.r.loaded(cfg.ID, c, began, err) },
	}
	s.task, err = s.o.once(ctx, cfg)
	if err != nil {
		s.task = nil
		err = errors.Join(err, os.RemoveAll(dir))
	}
	return err
}

// reopen opens the local state again that was open before, which is still as near as it was.
func (s *opening) reopen(ctx context.Context) (err error) {
	if !s.closed {
		return nil
	}
	s.closed = false
	if s.task, err = s.o.once(ctx, s.cfg); err != nil {
		s.task = nil
	}
	return err
}

// inTurn lets no more snapshots be loaded at the same time than tasks may restore.
func (r *Restorer) inTurn(
	ctx context.Context, entries iter.Seq2[store.Entry, error],
) iter.Seq2[store.Entry, error] {
	return func(yield func(store.Entry, error) bool) {
		if err := r.loads.Acquire(ctx, 1); err != nil {
			yield(store.Entry{}, err)
			return
		}
		defer r.loads.Release(1)
		entries(yield)
	}
}

// loaded notes how a load beside processing has ended.
func (r *Restorer) loaded(id record.TaskID, c *Candidate, began time.Time, err error) {
	if err != nil {
		r.cfg.Spoiled.add(id, c, err)
		r.cfg.Logger.Error("snapshot cannot be used: the task starts again from the next nearest base",
			slog.String("task", id.String()), slog.Int64("snapshot", c.ID), slog.String("location", c.Location),
			slog.Any("error", err))
		return
	}
	r.cfg.Logger.Info("snapshot loaded: all state of the task is local", slog.String("task", id.String()),
		slog.Int64("snapshot", c.ID), slog.String("location", c.Location),
		slog.Duration("took", r.cfg.Clock.Since(began).Round(time.Millisecond)))
}
