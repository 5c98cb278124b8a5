package checkpointing

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"time"

	"github.com/tidemarkio/tidemark/checkpointing/storage"
	"github.com/tidemarkio/tidemark/store"
)

// export is the work on one cut. Owned by its goroutine.
type export struct {
	e       *Exporter
	trigger Trigger
	cut     Cut
	began   time.Time
	spare   *spareFile // to be made beside
}

// run stores what the checkpoint needs.
func (x *export) run(ctx context.Context) (TaskSnapshot, error) {
	target := x.e.checkpoints
	if x.trigger.Savepoint {
		target = x.e.savepoints
	}
	if target == nil {
		return TaskSnapshot{}, errors.New("there is no storage for it: set Config.Storage or Config.SavepointStorage")
	}
	ctx, cancel := context.WithTimeoutCause(ctx, x.e.timeout(x.trigger), errTimedOut)
	defer cancel()
	leave, err := slot(ctx, x.e.slots)
	if err != nil {
		return TaskSnapshot{}, err
	}
	defer leave()
	out := x.describe()
	if x.cut.Snapshot != nil {
		if err := x.state(ctx, target, &out); err != nil {
			return TaskSnapshot{}, err
		}
	}
	if x.trigger.Savepoint {
		if err := x.inFlight(ctx, target, &out); err != nil {
			return TaskSnapshot{}, err
		}
	}
	if ctx.Err() != nil {
		return TaskSnapshot{}, context.Cause(ctx)
	}
	out.Timings.AsyncMs = x.e.config.Clock.Now().Sub(x.began).Milliseconds()
	return out, nil
}

// describe fills in all but the files.
func (x *export) describe() TaskSnapshot {
	out := TaskSnapshot{
		Task: x.cut.Task, Epoch: x.cut.Epoch, WallTimeMs: x.cut.WallTimeMs, Inputs: x.cut.Inputs, InFlight: x.cut.InFlight,
		Timings: x.cut.Timings, Unaligned: x.cut.Unaligned,
	}
	if x.cut.Snapshot != nil {
		c := x.cut.Snapshot.Checkpoint()
		out.Epoch, out.WallTimeMs, out.Changelog = c.Epoch, c.WallTimeMs, c.Changelog
	}
	return out
}

// state stores the stores: an increment if there is something to build on, else everything.
func (x *export) state(ctx context.Context, target storage.Storage, out *TaskSnapshot) error {
	s := x.cut.Snapshot
	if x.trigger.Savepoint {
		f, err := x.store(ctx, target, FileFull, s.Full)
		out.Files, out.Bytes = []File{f}, f.Bytes
		out.Beside = x.withIndexes(nil, out.Files)
		return err
	}
	err := x.increment(ctx, target, out)
	if errors.Is(err, errNoBasis) {
		var f File
		f, err = x.store(ctx, target, FileFull, s.Full)
		out.Files, out.Bytes = []File{f}, f.Bytes
	}
	if err != nil {
		return err
	}
	x.e.files(x.cut.Task, func(files *taskFiles) {
		if ctx.Err() != nil {
			return // aborted meanwhile
		}
		set := fileSet{id: x.trigger.ID, version: s.Version(), files: out.Files}
		beside, makeSpare := files.remember(set, x.spare)
		if out.Beside = x.withIndexes(beside, out.Files); !makeSpare {
			x.spare = nil
		}
	})
	return nil
}

// errNoBasis says that a snapshot has to be full.
var errNoBasis = errors.New("there is nothing to build on")

// increment stores what has changed since the base of the checkpoint.
func (x *export) increment(ctx context.Context, target storage.Storage, out *TaskSnapshot) error {
	if !x.trigger.Incremental || x.trigger.Base == 0 {
		return errNoBasis
	}
	var base basis
	ok := false
	x.e.files(x.cut.Task, func(files *taskFiles) {
		if x.e.mu.fruitless < fruitlessMax {
			base, ok = files.basis(x.trigger.Base)
		}
	})
	if !ok {
		return errNoBasis
	}
	full, soon := x.e.bounds(base.chain)
	if full {
		return errNoBasis
	}
	s := x.cut.Snapshot
	out.Files = base.chain
	if s.Version() == base.version {
		return nil // nothing was written since
	}
	entries, ok := s.Since(base.version)
	if !ok {
		return errNoBasis
	}
	f, err := x.store(ctx, target, FileIncremental, func(context.Context) iter.Seq2[store.Entry, error] { return entries })
	if err != nil {
		return err
	}
	if f.Entries > 0 {
		out.Files = append(out.Files, f)
		out.Bytes = f.Bytes
	}
	if soon {
		x.spare = &spareFile{id: x.trigger.ID, version: s.Version(), name: x.name(FileFull)}
	}
	return nil
}

// bounds says whether a chain is too long, so that the next snapshot has to be a full one, and whether it soon will be,
// so that a full one is made beside the next increment: then no checkpoint has to wait for it.
func (e *Exporter) bounds(chain []File) (full, soon bool) {
	c := &e.config.Config
	increments := len(chain) - 1
	var bytes int64
	for _, f := range chain[1:] {
		bytes += f.Bytes
	}
	limit := int64(c.IncrementalBytesRatio * float64(chain[0].Bytes))
	// A small state costs little either way: there the number of files alone decides.
	const smallBytes = 1 << 20
	full = increments >= c.IncrementalChainMax || bytes > max(limit, smallBytes)
	soon = increments+1 >= c.IncrementalChainMax-c.IncrementalChainMax/4 || bytes > max(limit, smallBytes)/4*3
	return full, soon
}

// runBeside stores a full snapshot for later checkpoints to build on. That it cannot is no failure of any checkpoint:
// the next one that finds its chain too long is full.
func (x *export) runBeside(ctx context.Context) {
	if x.spare == nil {
		return
	}
	leave, err := slot(ctx, x.e.beside)
	if err != nil {
		x.dropSpare()
		return
	}
	defer leave()
	f, err := x.put(ctx, x.e.checkpoints, x.spare.name, FileFull, x.cut.Snapshot.Full)
	if err != nil {
		x.dropSpare()
		if ctx.Err() == nil {
			x.e.config.Logger.Warn("a full snapshot beside increments was not stored", slog.String("task", x.cut.Task.String()),
				slog.Int64("checkpoint", x.trigger.ID), slog.Any("error", err))
		}
		return
	}
	x.e.files(x.cut.Task, func(files *taskFiles) {
		if files.spare == x.spare {
			files.spare.file = &f
		}
	})
}

func (x *export) dropSpare() {
	x.e.files(x.cut.Task, func(files *taskFiles) {
		if files.spare == x.spare {
			files.spare = nil
		}
	})
}

// name makes a new name for a file of the cut.
func (x *export) name(kind FileKind) string {
	mark := map[FileKind]string{FileFull: fullMark, FileIncremental: incrementalMark, FileInFlight: inFlightMark}[kind]
	var unique [4]byte
	_, _ = rand.Read(unique[:]) // never fails
	version := uint64(x.cut.Epoch)
	if x.cut.Snapshot != nil {
		version = x.cut.Snapshot.Version()
	}
	return fileName(x.trigger.Location, x.cut.Task, version, mark, hex.EncodeToString(unique[:]))
}

// store writes a file; what passes is tried again until the checkpoint has timed out, under another name each time,
// since the last bytes of a failed attempt may still arrive.
func (x *export) store(
	ctx context.Context, target storage.Storage, kind FileKind,
	entries func(context.Context) iter.Seq2[store.Entry, error],
) (File, error) {
	var f File
	attempt := 0
	err := retry(ctx, func() (err error) {
		if attempt++; attempt == 2 {
			x.e.config.Logger.Warn("a snapshot is not stored yet; it is tried again until the checkpoint times out",
				slog.String("task", x.cut.Task.String()), slog.Int64("checkpoint", x.trigger.ID),
				slog.String("storage", target.String()))
		}
		f, err = x.put(ctx, target, x.name(kind), kind, entries)
		return err
	})
	if err != nil && ctx.Err() != nil {
		err = fmt.Errorf("%w: %w", context.Cause(ctx), err)
	}
	return f, err
}

// put writes a file once. An increment without entries is not kept.
func (x *export) put(
	ctx context.Context, target storage.Storage, name string, kind FileKind,
	entries func(context.Context) iter.Seq2[store.Entry, error],
) (File, error) {
	f, err := newFileWriter(ctx, target, name, x.e.cipher)
	if err != nil {
		return File{}, err
	}
	n, index, err := x.write(f, kind, entries(ctx))
	if err != nil || n == 0 && kind == FileIncremental {
		return File{}, errors.Join(err, f.abort(ctx))
	}
	done, err := f.commit(ctx)
	done.Kind, done.Entries = kind, n
	if x.cut.Snapshot != nil {
		done.Version = x.cut.Snapshot.Version()
	}
	if err == nil && index != nil {
		done.indexed = x.putIndex(ctx, target, done, index)
	}
	return done, err
}

// write writes the entries of a file, and makes an index of it if one is wanted.
func (x *export) write(
	f *fileWriter, kind FileKind, entries iter.Seq2[store.Entry, error],
) (n int64, index *store.FileIndex, err error) {
	if kind == FileInFlight || !x.e.config.Config.LazyRestore {
		n, err = store.WriteEntries(f, entries)
		return n, nil, err
	}
	if index, err = store.WriteIndexedEntries(f, entries); err != nil {
		return 0, nil, err
	}
	return index.Entries, index, nil
}
