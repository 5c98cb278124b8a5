package worker

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"os"
	"time"

	"github.com/tidemarkio/tidemark/changelog"
	"github.com/tidemarkio/tidemark/processor/task"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/store"
)

// Snapshots is the port to snapshots of tasks, which restoring may begin with.
type Snapshots interface {
	// Candidates returns the snapshots of a task, newest first; also those that cannot be used, with the reason.
	Candidates(ctx context.Context, id record.TaskID) ([]Candidate, error)
}

// Candidate is a snapshot of a task.
type Candidate struct {
	// ID is that of the checkpoint, Location where it lies, for messages.
	ID       int64
	Location string
	// Checkpoint describes the state. WallTimeMs and the positions in changelogs count here.
	Checkpoint store.Checkpoint
	// Bytes and Entries are those of all its files.
	Bytes, Entries int64
	// Open yields the state, as store.Install takes it: changes merged, everything verified. Damage is an error in the
	// stream, at its end at the latest.
	Open func(ctx context.Context) iter.Seq2[store.Entry, error]
	// Files returns the files, the newest first, to be read in parts; its error says why they cannot be. Nil: they cannot.
	Files func(ctx context.Context) ([]store.SnapshotFile, error)
	// Transient tells which errors of Open and Files may pass. Nil: none.
	Transient func(err error) bool
	// Err says why it cannot be used: it is of another application, or of a newer format. Only ID and Location count then.
	Err error
}

func (c *Candidate) base() string { return fmt.Sprintf("snapshot %d", c.ID) }

// askSnapshotsMin is how many records of changelogs are read rather than asking a storage for something nearer.
const askSnapshotsMin = 50_000

// basePlan is how restoring goes from some base.
type basePlan struct {
	logs []baseOfLog // as the changelogs
	// rows is what has to be read: entries of a snapshot, and records of changelogs.
	rows int64
	// uses says that some changelog is not read from its start.
	uses bool
}

type baseOfLog struct {
	from int64
	base string
}

// choose decides whether the log can be read on from a position, which was it at a time.
func (l *changelogOf) choose(at, wallTimeMs, nowMs int64) (from int64, usable bool, reason string) {
	end := l.end
	if l.high > end {
		end = max(end, min(at, l.high)) // the owner knows of its commit before the log does
	}
	return changelog.Choose(changelog.Base{Offset: at, WallTimeMs: wallTimeMs}, l.start, end, nowMs, l.retention)
}

// planFrom decides for each store where its replay begins on a base, whose rows count as read. It returns why the base
// cannot be used, "" if it can.
func (r *Restorer) planFrom(
	name string, cp store.Checkpoint, rows int64, logs []*changelogOf,
) (p basePlan, unusable string) {
	now := r.cfg.Clock.NowMs()
	p = basePlan{logs: make([]baseOfLog, len(logs)), rows: rows}
	for i, l := range logs {
		p.logs[i] = baseOfLog{l.start, baseNone}
		for key := range cp.Changelog {
			if key != l.key && store.PositionOf(key, l.store) {
				return p, fmt.Sprintf("store %q: its position is one of another log (%s): what its changelog is has changed",
					l.store, key)
			}
		}
		if at, has := cp.Changelog[l.key]; has && !l.memory { // else it is new, or kept in memory
			from, usable, reason := l.choose(at, cp.WallTimeMs, now)
			if !usable {
				return p, fmt.Sprintf("store %q: %s", l.store, reason)
			}
			p.logs[i], p.uses = baseOfLog{from, name}, true
		}
		p.rows += max(0, l.end-p.logs[i].from)
	}
	return p, ""
}

// opening is the search for the nearest base of a task.
type opening struct {
	r    *Restorer
	o    opener
	cfg  task.Config
	logs []*changelogOf
	// epoch is the last one that was committed.
	epoch record.Epoch
	// task is open on the nearest base so far, which plan is about; nil: nothing, and plan reads the changelogs.
	task *task.Task
	plan basePlan
	// failed counts the snapshots that should have been usable.
	failed int
	// closed says that local state, which plan is about, was closed for a snapshot that is not used yet.
	closed bool
	// whole says that a snapshot has to be local before the task is of use, as a standby's.
	whole bool
	// target is where the stores are replayed to, once that has begun.
	target *replayTarget
}

// open opens the task on the base from which the least has to be read: local state if that may be trusted, a snapshot,
// the newest usable one first, or nothing. On an error nothing is open.
func (r *Restorer) open(
	ctx context.Context, cfg task.Config, logs []*changelogOf, epoch record.Epoch,
) (*opening, error) {
	return r.newOpening(cfg, logs, epoch).open(ctx)
}

func (r *Restorer) newOpening(cfg task.Config, logs []*changelogOf, epoch record.Epoch) *opening {
	return &opening{r: r, o: opener{dir: r.cfg.StateDir, logger: r.cfg.Logger}, cfg: cfg, logs: logs, epoch: epoch}
}

// open is the search.
func (s *opening) open(ctx context.Context) (*opening, error) {
	r, cfg, logs := s.r, s.cfg, s.logs
	s.plan, _ = r.planFrom(baseNone, store.Checkpoint{}, 0, logs)
	err := s.local(ctx)
	if err == nil && s.wantsSnapshot() {
		err = s.snapshots(ctx)
	}
	if err == nil && s.task == nil {
		s.task, err = s.o.once(ctx, cfg)
	}
	if err != nil {
		if s.task != nil {
			err = errors.Join(err, s.task.Close(false))
		}
		return nil, err
	}
	for i, l := range logs {
		l.from, l.base = s.plan.logs[i].from, s.plan.logs[i].base
	}
	return s, nil
}

// local opens the task on local state, if there is some that can be used.
func (s *opening) local(ctx context.Context) error {
	id := s.cfg.ID
	if err := os.RemoveAll(s.o.installDir(id)); err != nil { // of a process that died
		return fmt.Errorf("task %s: remove an unfinished snapshot: %w", id, err)
	}
	if _, err := os.Stat(s.o.dir.TaskDir(id)); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if trusted, reason := s.o.dir.Trusted(id); !trusted {
		return s.o.discard(id, reason)
	}
	t, err := s.o.once(ctx, s.cfg)
	if _, ok := errors.AsType[*store.CorruptError](err); ok {
		return s.o.discard(id, err.Error())
	}
	if err != nil {
		return err
	}
	cp, _ := t.Stores().Checkpoint()
	plan, reason := s.r.planFrom(baseLocal, cp, 0, s.logs)
	if old := s.ofAnotherEra(cp); old != "" {
		reason = old
	}
	if reason == "" {
		s.task, s.plan = t, plan
		return nil
	}
	if err := t.Close(false); err != nil {
		return err
	}
	return s.o.discard(id, reason)
}

// ofAnotherEra says that state is of before the application was started from a savepoint: positions in changelogs mean
// something else since. Where nothing was committed yet, or is known any more, there is nothing to compare with.
func (s *opening) ofAnotherEra(cp store.Checkpoint) string {
	if s.epoch == 0 || cp.Epoch.Era() == s.epoch.Era() {
		return ""
	}
	return fmt.Sprintf("it is of era %d, and the application was started from a savepoint since (era %d)", cp.Epoch.Era(),
		s.epoch.Era())
}

// wantsSnapshot reports that a snapshot may be nearer than what there is.
func (s *opening) wantsSnapshot() bool {
	if s.r.cfg.Snapshots == nil || s.task != nil && s.plan.rows <= askSnapshotsMin {
		return false
	}
	for _, l := range s.logs {
		if !l.memory && l.start < l.end {
			return true
		}
	}
	return false
}

// snapshots tries the snapshots of the task. That none can be had is no error: the changelogs have everything.
func (s *opening) snapshots(ctx context.Context) error {
	candidates, err := s.r.cfg.Snapshots.Candidates(ctx, s.cfg.ID)
	if err != nil {
		if ctx.Err() != nil {
			return err
		}
		s.r.cfg.Logger.Error("snapshots cannot be listed: restoring without", slog.String("task", s.cfg.ID.String()),
			slog.Any("error", err))
		return nil
	}
	for i := range candidates {
		c := &candidates[i]
		err := c.Err
		if err == nil {
			err = s.r.cfg.Spoiled.of(s.cfg.ID, c)
		}
		if err != nil || c.Open == nil {
			s.refuse(c, err)
			continue
		}
		plan, reason := s.r.planFrom(c.base(), c.Checkpoint, c.Entries, s.logs)
		if old := s.ofAnotherEra(c.Checkpoint); old != "" {
			reason = old
		}
		switch {
		case reason == "" && !plan.uses:
			reason = "it has none of the task's stores"
		case reason == "" && plan.rows >= s.plan.rows:
			reason = fmt.Sprintf("%d rows would have to be read instead of %d", plan.rows, s.plan.rows)
		}
		if reason != "" {
			s.r.cfg.Logger.Info("snapshot not used", slog.String("task", s.cfg.ID.String()), slog.Int64("snapshot", c.ID),
				slog.String("location", c.Location), slog.String("reason", reason))
			continue
		}
		installed, err := s.begin(ctx, c)
		if err != nil {
			return err
		}
		if installed {
			// As it was opened: stores that were in memory then are not in it.
			cp, _ := s.task.Stores().Checkpoint()
			s.plan, _ = s.r.planFrom(c.base(), cp, c.Entries, s.logs)
			return nil
		}
	}
	return nil
}

// begin opens the task on a snapshot, before that is local if that is wanted and possible. false: it cannot be used.
func (s *opening) begin(ctx context.Context, c *Candidate) (bool, error) {
	if s.r.cfg.Lazy && !s.whole {
		if begun, err := s.lazily(ctx, c); begun || err != nil {
			return begun, err
		}
	}
	return s.install(ctx, c)
}

// refuse notes that a snapshot cannot be used that should be.
func (s *opening) refuse(c *Candidate, err error) {
	s.failed++
	s.r.cfg.Logger.Error("snapshot cannot be used: restoring from the next nearest base",
		slog.String("task", s.cfg.ID.String()), slog.Int64("snapshot", c.ID), slog.String("location", c.Location),
		slog.Any("error", err))
}

// install makes a snapshot the local state of the task and opens it. What was there stays until all of the snapshot is.
// false: it cannot be used, and nothing has changed unless what it made cannot be opened.
func (s *opening) install(ctx context.Context, c *Candidate) (bool, error) {
	dir := s.o.installDir(s.cfg.ID)
	began := s.r.cfg.Clock.Now()
	load := &loading{r: s.r, id: s.cfg.ID, c: c, began: began}
	err := store.Install(ctx, dir, load.watch(c.Open(ctx)), c.Checkpoint, s.cfg.Stores.Budget, s.r.cfg.Logger)
	switch {
	case ctx.Err() != nil:
		return false, errors.Join(ctx.Err(), os.RemoveAll(dir))
	case err != nil:
		s.refuse(c, err)
		return false, os.RemoveAll(dir) // it is gone already, unless that is what failed
	}
	if s.task != nil {
		t := s.task
		s.task = nil
		if err := t.Close(false); err != nil {
			return false, errors.Join(err, os.RemoveAll(dir))
		}
	}
	if err := s.o.replace(s.cfg.ID, dir); err != nil {
		return false, err
	}
	if s.task, err = s.o.once(ctx, s.cfg); err != nil {
		s.task = nil
		if ctx.Err() != nil {
			return false, err
		}
		s.refuse(c, err)
		s.plan, _ = s.r.planFrom(baseNone, store.Checkpoint{}, 0, s.logs)
		return false, s.o.dir.Remove(s.cfg.ID)
	}
	took := s.r.cfg.Clock.Since(began)
	s.r.cfg.Logger.Info("snapshot loaded", slog.String("task", s.cfg.ID.String()), slog.Int64("snapshot", c.ID),
		slog.String("location", c.Location), slog.Int64("entries", load.entries), slog.Int64("bytes", load.bytes),
		slog.Duration("took", took.Round(time.Millisecond)))
	return true, nil
}

// loading tells how far a snapshot is.
type loading struct {
	r     *Restorer
	id    record.TaskID
	c     *Candidate
	began time.Time
	// beside says that the task runs meanwhile; told is when the log said so last.
	beside bool
	told   time.Time

	entries, bytes int64
}

// loadReport is after how many entries progress is told.
const loadReport = 1 << 14

func (l *loading) watch(entries iter.Seq2[store.Entry, error]) iter.Seq2[store.Entry, error] {
	return func(yield func(store.Entry, error) bool) {
		for at, err := range entries {
			if err == nil {
				l.entries++
				l.bytes += int64(len(at.Key) + len(at.Value))
				if l.entries%loadReport == 0 {
					l.report()
				}
			}
			if !yield(at, err) {
				return
			}
		}
		l.report()
	}
}

func (l *loading) report() {
	p := changelog.Progress{At: l.entries, To: max(l.c.Entries, l.entries), Records: l.entries, Bytes: l.bytes}
	told := progress(l.id, l.c.base(), p, l.r.cfg.Clock.Since(l.began))
	l.r.restores.loads(told)
	call(l.r.cfg.Listener.OnProgress, told)
	if now := l.r.cfg.Clock.Now(); l.beside && now.Sub(l.told) >= loadTold {
		l.told = now
		l.r.cfg.Logger.Info("running, loading its snapshot", slog.String("task", l.id.String()),
			slog.Int64("snapshot", l.c.ID), slog.Int64("percent", 100*p.At/max(p.To, 1)), slog.Int64("entries", l.entries),
			slog.Int64("bytes", l.bytes))
	}
}

// loadTold is how often the log has the progress of a load beside processing.
const loadTold = 10 * time.Second
