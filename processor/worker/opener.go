package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/tidemarkio/tidemark/processor/task"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/store"
)

// opener opens tasks on their local state. Each task's directory is its alone meanwhile.
type opener struct {
	dir    StateDir
	logger *slog.Logger
}

// open opens a task on its local state if that may be trusted, and if choose does not say why it cannot be used; else
// on an empty directory, for which choose is asked again. Local state that cannot be used is removed, loudly: that is a
// full restore, and somebody will ask why.
func (o opener) open(ctx context.Context, cfg task.Config, choose func(t *task.Task) string) (*task.Task, error) {
	trusted, reason := o.dir.Trusted(cfg.ID)
	if !trusted {
		if err := o.discard(cfg.ID, reason); err != nil {
			return nil, err
		}
	}
	t, err := o.once(ctx, cfg)
	if _, ok := errors.AsType[*store.CorruptError](err); ok {
		if err := o.discard(cfg.ID, err.Error()); err != nil {
			return nil, err
		}
		t, err = o.once(ctx, cfg)
	}
	if err != nil {
		return nil, err
	}
	if reason = choose(t); reason == "" {
		return t, nil
	}
	if err := t.Close(false); err != nil {
		return nil, err
	}
	if err := o.discard(cfg.ID, reason); err != nil {
		return nil, err
	}
	if t, err = o.once(ctx, cfg); err != nil {
		return nil, err
	}
	choose(t)
	return t, nil
}

// once opens a task on what there is.
func (o opener) once(ctx context.Context, cfg task.Config) (*task.Task, error) {
	cfg.Stores.Dir = o.dir.TaskDir(cfg.ID)
	if err := o.dir.MarkOpen(cfg.ID); err != nil {
		return nil, err
	}
	return task.Open(ctx, cfg)
}

// installDir is where a snapshot becomes a task's directory.
func (o opener) installDir(id record.TaskID) string { return o.dir.TaskDir(id) + store.InstallSuffix }

// replace makes what was installed there the local state of a task.
func (o opener) replace(id record.TaskID, installed string) error {
	err := o.dir.Remove(id)
	if err == nil {
		err = os.Rename(installed, o.dir.TaskDir(id))
	}
	if err != nil {
		return fmt.Errorf("task %s: put a snapshot in place: %w", id, errors.Join(err, os.RemoveAll(installed)))
	}
	return nil
}

// discard removes the local state of a task.
func (o opener) discard(id record.TaskID, reason string) error {
	if reason != "" {
		o.logger.Error("local state cannot be used: restoring without it", slog.String("task", id.String()),
			slog.String("directory", o.dir.TaskDir(id)), slog.String("reason", reason))
	}
	return o.dir.Remove(id)
}
