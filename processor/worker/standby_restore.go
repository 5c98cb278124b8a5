package worker

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync/atomic"
	"time"

	"github.com/tidemarkio/tidemark/changelog"
	"github.com/tidemarkio/tidemark/eos"
	"github.com/tidemarkio/tidemark/processor/task"
	"github.com/tidemarkio/tidemark/record"
)

// promotionsMin is how many tasks may be promoted at the same time at least: that is a few requests for each.
const promotionsMin = 16

// baseStandby is what the restore of a promoted task begins with.
const baseStandby = "standby"

// replica is a task whose stores follow their changelogs: open and not initialised. Owned by the goroutine of its
// standby, then by the follower, then by whoever takes it; positions may be read by anybody.
type replica struct {
	*opening

	follows []*followedLog
	// wallMs is as of when nothing behind the positions is missed: when it was caught up last, or else of its base.
	wallMs int64
	// caughtUp is when it was at the end of all of its changelogs last, in milliseconds; 0: never.
	caughtUp atomic.Int64
	began    time.Time
	from     int64 // sum of the positions it began at
}

// followedLog is a changelog partition that a store follows.
type followedLog struct {
	*changelogOf

	r *replica
	// at is the position behind what the store has, end the last known end of what it may have.
	at, end  atomic.Int64
	fetching bool // Owned by the follower
}

// limited says that the log is an input topic, which the store must not follow beyond what the task has processed: its
// rows are the table's only then, and the task's new owner processes them anew.
func (l *followedLog) limited() bool { return l.rows != nil }

// position is the sum of the positions in the changelogs.
func (p *replica) position() (sum int64) {
	for _, l := range p.follows {
		sum += l.at.Load()
	}
	return sum
}

// lag is how many offsets are still to be read, as far as the ends are known.
func (p *replica) lag() (sum int64) {
	for _, l := range p.follows {
		sum += max(0, l.end.Load()-l.at.Load())
	}
	return sum
}

// atEnd notes when the replica is at the end of all of its changelogs.
func (p *replica) atEnd(nowMs int64) {
	if p.lag() == 0 {
		p.caughtUp.Store(nowMs)
		p.wallMs = nowMs
		p.target.checkpoint.WallTimeMs = nowMs
	}
}

// openStandby opens a task on its nearest base, as Restore does, while another member runs it: nothing is waited for
// and nobody is fenced.
func (r *Restorer) openStandby(ctx context.Context, id record.TaskID) (*replica, error) {
	cfg := r.cfg.Task(id)
	asked := r.cfg.Clock.NowMs()
	logs, epoch, err := r.extents(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("task %s: standby: %w", id, err)
	}
	opened := r.newOpening(cfg, logs, epoch)
	opened.whole = true
	if opened, err = opened.open(ctx); err != nil {
		return nil, err
	}
	target := opened.replayed()
	target.checkpoint.Epoch = max(target.checkpoint.Epoch, epoch)
	if target.checkpoint.WallTimeMs == 0 {
		target.checkpoint.WallTimeMs = asked // nothing is older than what is read from now on
	}
	p := &replica{opening: opened, wallMs: target.checkpoint.WallTimeMs, began: r.cfg.Clock.Now()}
	for _, l := range logs {
		f := &followedLog{changelogOf: l, r: p}
		f.at.Store(l.from)
		f.end.Store(l.end)
		p.follows, p.from = append(p.follows, f), p.from+l.from
	}
	return p, nil
}

// extents finds what each store's changelog partition holds that is decided now.
func (r *Restorer) extents(ctx context.Context, cfg task.Config) ([]*changelogOf, record.Epoch, error) {
	logs, tps, written := r.logsOf(cfg)
	offsets, err := r.cfg.Admin.PossiblyUnstableOffsets(ctx, r.cfg.GroupID, cfg.Inputs)
	if err != nil {
		return nil, 0, err
	}
	var committed []eos.Metadata
	for _, o := range offsets {
		if m, err := eos.ParseMetadata(o.Metadata); err == nil {
			committed = append(committed, m)
		}
	}
	epoch := lastEpoch(committed)
	if len(logs) == 0 {
		return nil, epoch, nil
	}
	ends, err := r.cfg.Admin.EndOffsets(ctx, written, true)
	if err != nil {
		return nil, 0, err
	}
	highs, err := r.cfg.Admin.EndOffsets(ctx, written, false)
	if err != nil {
		return nil, 0, err
	}
	starts, err := r.cfg.Admin.StartOffsets(ctx, tps)
	if err != nil {
		return nil, 0, err
	}
	for _, l := range logs {
		l.start, l.end, l.high = starts[l.tp], ends[l.tp], highs[l.tp]
		if l.rows != nil {
			l.end = offsets[l.tp].Offset
		}
		l.end = max(l.end, l.start)
	}
	return logs, epoch, nil
}

// catchUp reads the changelogs of a replica to where they ended when it was opened. When ctx ends the replica stays
// whole, only less far.
func (r *Restorer) catchUp(ctx context.Context, p *replica, loaded func(l *followedLog, records int)) error {
	target := p.target
	asked := r.cfg.Clock.NowMs()
	for _, l := range p.follows {
		from := l.at.Load()
		if from >= l.changelogOf.end {
			target.checkpoint.Changelog[l.key] = from
			continue
		}
		target.log = l.changelogOf
		before := int64(0)
		_, err := changelog.Replay(ctx, r.cfg.Reader, l.store, l.tp, from, l.changelogOf.end, target,
			func(p changelog.Progress) {
				l.at.Store(p.At)
				loaded(l, int(p.Records-before))
				before = p.Records
			})
		if err != nil {
			return err
		}
		l.at.Store(l.changelogOf.end)
		target.checkpoint.Changelog[l.key] = l.changelogOf.end
	}
	if len(p.follows) == 0 {
		return nil
	}
	p.atEnd(asked)
	return p.task.Stores().Replayed(target.checkpoint)
}

// promote makes a replica ready to run: what Restore does, but for a base. On error nothing is left open.
func (r *Restorer) promote(ctx context.Context, p *replica) (*Restored, error) {
	defer r.restores.begin(p.cfg.ID, r.cfg.Clock.Now())()
	if err := r.promotions.Acquire(ctx, 1); err != nil {
		return nil, errors.Join(err, p.close(r.cfg.StateDir))
	}
	defer r.promotions.Release(1)
	from, logs, err := r.takeOver(ctx, p.cfg)
	if err != nil {
		return nil, errors.Join(err, p.close(r.cfg.StateDir))
	}
	if reason := p.unusable(logs, from.epoch); reason != "" {
		if err := p.task.Close(false); err != nil {
			return nil, err
		}
		if err := p.o.discard(p.cfg.ID, reason); err != nil {
			return nil, err
		}
		return r.restore(ctx, p.cfg, from, logs)
	}
	p.logs = logs
	return r.finish(ctx, p.opening, from)
}

// unusable says why the replica is of no use to a new owner, and where the replays of its stores begin if it is.
func (p *replica) unusable(logs []*changelogOf, epoch record.Epoch) string {
	if p.epoch != 0 && epoch != 0 && p.epoch.Era() != epoch.Era() {
		return fmt.Sprintf("it is of era %d, and the application was started from a savepoint since (era %d)",
			p.epoch.Era(), epoch.Era())
	}
	now := p.r.cfg.Clock.NowMs()
	for i, l := range logs {
		from, usable, reason := l.choose(p.follows[i].at.Load(), p.wallMs, now)
		if !usable {
			return fmt.Sprintf("store %q of a standby: %s", l.store, reason)
		}
		l.from, l.base = from, baseStandby
	}
	return ""
}

// close closes the replica cleanly, and notes how far it is.
func (p *replica) close(dir StateDir) error {
	stores := p.task.Stores()
	var err error
	if len(p.follows) > 0 {
		err = stores.Replayed(p.target.checkpoint)
	}
	if err = errors.Join(err, p.task.Close(err == nil)); err != nil {
		return err
	}
	return dir.MarkClean(p.task.ID(), positionOf(stores.Checkpoint()))
}

// Staleness says how far behind a standby is that answers.
type Staleness struct {
	// Lag is how many offsets its changelogs are ahead, as of their last known ends.
	Lag int64
	// At is when it was at the end of all of its changelogs last; zero: never.
	At time.Time
	// Positions are its positions in the changelogs, by the stores' names; of a store whose changelog is an input topic
	// by <name>@<topic>.
	Positions map[string]int64
}

func (p *replica) staleness() Staleness {
	s := Staleness{Lag: p.lag(), Positions: maps.Clone(p.target.checkpoint.Changelog)}
	if at := p.caughtUp.Load(); at > 0 {
		s.At = time.UnixMilli(at)
	}
	return s
}
