package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/tidemarkio/tidemark/changelog"
	"github.com/tidemarkio/tidemark/eos"
	"github.com/tidemarkio/tidemark/internal/clock"
	"github.com/tidemarkio/tidemark/processor/task"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/store"
)

// RestorerConfig is what a Restorer is made from.
type RestorerConfig struct {
	GroupID  string
	Admin    Admin
	Reader   changelog.Reader
	StateDir StateDir
	// EndTransaction ends the last transaction of a transactional id, whose owner is dead or slow, and returns when its
	// outcome is decided everywhere.
	EndTransaction func(ctx context.Context, transactionalID string) error
	// OwnIDs are the transactional ids of this instance's workers.
	OwnIDs func() []string
	// Task returns the configuration of a task; directory and trust are filled in here.
	Task func(id record.TaskID) task.Config
	// ResetOffset resolves where an input starts that has no committed offset.
	ResetOffset func(ctx context.Context, tp record.TopicPartition) (int64, error)
	// SinkOwner draws a name that no other start of a task has, for transactions in systems outside of Kafka. Nil draws
	// it at random.
	SinkOwner func() string
	// ChangelogConfig returns the topic's configuration, as read at start.
	ChangelogConfig func(topic string) map[string]string
	// Snapshots offers bases that are nearer than the beginning of a changelog. Nil: none.
	Snapshots Snapshots
	// Lazy lets tasks run before the snapshot that they begin with is loaded.
	Lazy bool
	// Spoiled outlives the Restorer: a restart has to know what it failed with. Nil: nothing is remembered longer.
	Spoiled *Spoiled
	// Parallel bounds how many tasks restore at the same time, how many standbys and warm-ups do beside them, and how many
	// snapshots are loaded beside processing.
	Parallel int
	Listener RestoreListener
	Clock    clock.Clock
	Logger   *slog.Logger
}

// RestoreListener is told how restoring goes. Nil functions are not called. Calls come from several goroutines.
type RestoreListener struct {
	OnStart    func(RestoreStart)
	OnProgress func(RestoreProgress)
	OnEnd      func(RestoreEnd)
	// OnSuspended tells of a store that is not restored to its end, since its task is not wanted here any more, the
	// instance closes, or something failed (KIP-869).
	OnSuspended func(RestoreSuspended)
}

// RestoreStart says that a store begins to be restored from its changelog.
type RestoreStart struct {
	Task           record.TaskID
	Store          string
	TopicPartition record.TopicPartition
	From, To       int64 // offsets
	// Base is "local" if local state is caught up, "snapshot 17" if that of checkpoint 17 is, "standby" if the store of a
	// standby or warm-up that ran here is, "none" if the whole changelog is read.
	Base string
	// FailedSnapshots is how many nearer snapshots of the task could not be used: the log has the reasons.
	FailedSnapshots int
}

// RestoreProgress says how far it is. While a snapshot is loaded, Store is empty, and At and To are in its entries.
// That goes on behind RestoreEnd if the task runs before all of it is local.
type RestoreProgress struct {
	Task record.TaskID
	// Base is that of RestoreStart.
	Base string
	changelog.Progress
	RecordsPerSecond, BytesPerSecond float64
	Remaining                        time.Duration // estimated
}

// RestoreEnd says that a store is restored.
type RestoreEnd struct {
	Task           record.TaskID
	Store          string
	TopicPartition record.TopicPartition
	Records        int64
	Took           time.Duration
	// Base and FailedSnapshots are those of RestoreStart.
	Base            string
	FailedSnapshots int
}

// RestoreSuspended says how far a store is that is not restored to its end.
type RestoreSuspended struct {
	Task           record.TaskID
	Store          string
	TopicPartition record.TopicPartition
	At, To         int64 // offsets
	Err            error // why; that of a context if nothing failed
}

// Restorer opens tasks and brings their stores up to date: from trusted local state or a snapshot and the changelog's
// tail, or from the whole changelog. Each task is restored on the goroutine of its caller.
type Restorer struct {
	cfg   RestorerConfig
	slots *semaphore.Weighted
	loads *semaphore.Weighted // beside processing
	// standbys are the slots of standbys and warm-ups, promotions those of tasks whose state is here: neither waits for
	// the other, nor for restores.
	standbys, promotions *semaphore.Weighted
	// restores are what goes on now, to be shown.
	restores restores
}

// NewRestorer makes a Restorer.
func NewRestorer(cfg RestorerConfig) *Restorer {
	if cfg.SinkOwner == nil {
		cfg.SinkOwner = randomOwner
	}
	if cfg.Spoiled == nil {
		cfg.Spoiled = new(Spoiled)
	}
	parallel := int64(max(1, cfg.Parallel))
	return &Restorer{
		cfg: cfg, slots: semaphore.NewWeighted(parallel), loads: semaphore.NewWeighted(parallel),
		standbys:   semaphore.NewWeighted(parallel),
		promotions: semaphore.NewWeighted(max(parallel, promotionsMin)),
	}
}

// Restored is a task that is ready to run.
type Restored struct {
	Task      *task.Task
	Positions map[record.TopicPartition]task.Position
}

// Restore opens a task and restores it. On error, or if ctx ends, nothing is left open. The order matters:
//
//  1. Committed offsets, stable: a dead owner's open transaction is ended first. From here on they do not change.
//  2. The changelog's end, once nothing before it is undecided. It holds all that the offsets promise.
//  3. A base: local state if it may be trusted, a snapshot, or nothing, whichever is nearest to that end.
//  4. Replay from the base to that end.
//  5. What the owner before has prepared in other systems: committed if those offsets name it, else aborted.
func (r *Restorer) Restore(ctx context.Context, id record.TaskID) (*Restored, error) {
	defer r.restores.begin(id, r.cfg.Clock.Now())()
	if err := r.slots.Acquire(ctx, 1); err != nil {
		return nil, err
	}
	defer r.slots.Release(1)
	cfg := r.cfg.Task(id)
	from, logs, err := r.takeOver(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return r.restore(ctx, cfg, from, logs)
}

// taking is what the owner before has left.
type taking struct {
	positions map[record.TopicPartition]task.Position
	committed []eos.Metadata
	epoch     record.Epoch // the last that was committed
}

// takeOver waits for what the owner before has left: steps 1 and 2 of Restore.
func (r *Restorer) takeOver(ctx context.Context, cfg task.Config) (from taking, logs []*changelogOf, err error) {
	r.restores.become(cfg.ID, RestoreTakingOver)
	from.positions, from.committed, err = r.positions(ctx, cfg)
	from.epoch = lastEpoch(from.committed)
	if err == nil {
		logs, err = r.changelogs(ctx, cfg, from.positions)
	}
	if err != nil {
		return from, nil, fmt.Errorf("task %s: %w", cfg.ID, err)
	}
	return from, logs, nil
}

// restore opens a task and brings it up to date: steps 3 to 5 of Restore.
func (r *Restorer) restore(
	ctx context.Context, cfg task.Config, from taking, logs []*changelogOf,
) (*Restored, error) {
	r.restores.become(cfg.ID, RestoreOpening)
	opened, err := r.open(ctx, cfg, logs, from.epoch)
	if err != nil {
		return nil, err
	}
	return r.finish(ctx, opened, from)
}

// finish makes an open task ready to run: steps 4 and 5 of Restore. On error it is closed.
func (r *Restorer) finish(ctx context.Context, opened *opening, from taking) (*Restored, error) {
	t := opened.task
	cp, err := r.replay(ctx, opened)
	r.restores.become(t.ID(), RestoreStarting)
	if err == nil {
		err = r.connectSinks(ctx, t, from.committed)
	}
	if err == nil {
		err = t.Init(from.positions, cp.Changelog, max(from.epoch, cp.Epoch), r.cfg.Clock.NowMs())
	}
	if err != nil {
		return nil, errors.Join(err, t.Close(false))
	}
	// The first commit takes a departed owner's mark away, and says who the owner is now.
	t.RequestCommit()
	return &Restored{Task: t, Positions: from.positions}, nil
}

// changelogOf is one store's changelog partition, as far as it is decided.
type changelogOf struct {
	store      string
	tp         record.TopicPartition
	start, end int64
	// high is, of a standby, the end with what is not decided: a position up to it is not beyond the log.
	high      int64
	retention time.Duration // of tombstones
	from      int64         // where the replay begins
	base      string
	key       string // of its position in a checkpoint
	memory    bool   // the store is kept in memory: no base has it
	// rows is of an input topic that is the store's changelog: it makes changelog records of the topic's.
	rows func(records []record.Raw) []record.Raw
}

// changelogs finds the extent of each store's changelog partition, and waits until all of it is decided. An input topic
// that is a changelog ends where the input continues: the rows behind that have not been processed.
func (r *Restorer) changelogs(
	ctx context.Context, cfg task.Config, positions map[record.TopicPartition]task.Position,
) ([]*changelogOf, error) {
	logs, tps, written := r.logsOf(cfg)
	if len(logs) == 0 {
		return nil, nil
	}
	ends, err := r.decidedEnds(ctx, written)
	if err != nil {
		return nil, err
	}
	starts, err := r.cfg.Admin.StartOffsets(ctx, tps)
	if err != nil {
		return nil, err
	}
	for _, l := range logs {
		l.start, l.end = starts[l.tp], ends[l.tp]
		if l.rows != nil {
			l.end = positions[l.tp].Offset
		}
	}
	return logs, nil
}

// logsOf lists the changelog partitions of a task, store by store; written are those that are no input topics.
func (r *Restorer) logsOf(cfg task.Config) (logs []*changelogOf, tps, written []record.TopicPartition) {
	for _, s := range cfg.Subtopology.Stores {
		if s.LoggingDisabled {
			continue
		}
		l := &changelogOf{store: s.Name, key: s.PositionKey(), memory: s.InMemory}
		l.tp = record.TopicPartition{Topic: cfg.Changelog(s.Name), Partition: cfg.ID.Partition}
		if s.SourceTopic != "" {
			l.tp.Topic, l.rows = cfg.Physical(s.SourceTopic), s.FromSource()
		} else {
			written = append(written, l.tp)
		}
		l.retention = changelog.DeleteRetention(r.cfg.ChangelogConfig(l.tp.Topic))
		logs, tps = append(logs, l), append(tps, l.tp)
	}
	return logs, tps, written
}

// lastEpoch is the last epoch that was committed, 0 if that is unknown.
func lastEpoch(committed []eos.Metadata) (epoch record.Epoch) {
	for _, m := range committed {
		epoch = max(epoch, m.Epoch)
	}
	return epoch
}

// replayed returns where the task's stores are replayed to, made at the first call.
func (s *opening) replayed() *replayTarget {
	if s.target == nil {
		cp, ok := s.task.Stores().Checkpoint()
		if !ok || cp.Changelog == nil {
			cp.Changelog = make(map[string]int64)
		}
		// The inputs of the old checkpoint say nothing about what is replayed now.
		cp.Inputs, cp.StreamTimes = nil, nil
		s.target = &replayTarget{stores: s.task.Stores(), checkpoint: cp}
	}
	return s.target
}

// replay brings every store of the task to the end of its changelog.
func (r *Restorer) replay(ctx context.Context, opened *opening) (store.Checkpoint, error) {
	t, logs, target := opened.task, opened.logs, opened.replayed()
	r.restores.replays(t.ID(), logs, r.cfg.Clock.Now())
	for i, l := range logs {
		target.log = l
		start := RestoreStart{
			Task: t.ID(), Store: l.store, TopicPartition: l.tp, From: l.from, To: l.end, Base: l.base,
			FailedSnapshots: opened.failed,
		}
		call(r.cfg.Listener.OnStart, start)
		began := r.cfg.Clock.Now()
		at, tell := l.from, r.progressOf(t.ID(), i, l.base, began)
		n, err := changelog.Replay(ctx, r.cfg.Reader, l.store, l.tp, l.from, l.end, target, func(p changelog.Progress) {
			at = p.At
			tell(p)
		})
		if err != nil {
			call(r.cfg.Listener.OnSuspended, RestoreSuspended{
				Task: t.ID(), Store: l.store, TopicPartition: l.tp, At: at, To: l.end, Err: err,
			})
			return target.checkpoint, err
		}
		target.checkpoint.Changelog[l.key] = l.end
		took := r.cfg.Clock.Since(began)
		end := RestoreEnd{
			Task: t.ID(), Store: l.store, TopicPartition: l.tp, Records: n, Took: took, Base: l.base,
			FailedSnapshots: opened.failed,
		}
		call(r.cfg.Listener.OnEnd, end)
		r.cfg.Logger.Info("store restored", slog.String("task", t.ID().String()), slog.String("store", l.store),
			slog.String("base", l.base), slog.Int64("from", l.from), slog.Int64("to", l.end), slog.Int64("records", n),
			slog.Duration("took", took.Round(time.Millisecond)))
	}
	if len(logs) > 0 {
		target.checkpoint.WallTimeMs = r.cfg.Clock.NowMs()
		if err := t.Stores().Replayed(target.checkpoint); err != nil {
			return target.checkpoint, err
		}
	}
	return target.checkpoint, nil
}

func call[E any](fn func(E), event E) {
	if fn != nil {
		fn(event)
	}
}

func progress(id record.TaskID, base string, p changelog.Progress, took time.Duration) RestoreProgress {
	out := RestoreProgress{Task: id, Base: base, Progress: p}
	if s := took.Seconds(); s > 0 {
		out.RecordsPerSecond, out.BytesPerSecond = float64(p.Records)/s, float64(p.Bytes)/s
	}
	if done := p.At - p.From; done > 0 {
		out.Remaining = time.Duration(float64(took) / float64(done) * float64(p.To-p.At))
	}
	return out
}

// replayTarget lets the store set flush while it is being replayed into: after each batch it knows what is complete.
type replayTarget struct {
	stores     *store.Set
	checkpoint store.Checkpoint
	log        *changelogOf // that is being read
}

// Replay implements changelog.Target.
func (t *replayTarget) Replay(name string, records []record.Raw, next int64) error {
	if t.log.rows != nil {
		records = t.log.rows(records)
	}
	if err := t.stores.Replay(name, records); err != nil {
		return err
	}
	t.checkpoint.Changelog[t.log.key] = next
	// Not the time of now: what lies behind the position may have been compacted while this is being read.
	return t.stores.Replayed(t.checkpoint)
}

// positions reads where the inputs continue, and what their last commits say. The offset of one input may have been set
// anew by hand, which takes nothing back of what the others say.
func (r *Restorer) positions(ctx context.Context, cfg task.Config) (
	positions map[record.TopicPartition]task.Position, committed []eos.Metadata, err error,
) {
	offsets, err := r.stableOffsets(ctx, cfg.Inputs)
	if err != nil {
		return nil, nil, err
	}
	positions = make(map[record.TopicPartition]task.Position, len(cfg.Inputs))
	for _, tp := range cfg.Inputs {
		o, ok := offsets[tp]
		if !ok {
			at, err := r.cfg.ResetOffset(ctx, tp)
			if err != nil {
				return nil, nil, fmt.Errorf("%s has no committed offset: %w", tp, err)
			}
			positions[tp] = task.Position{Offset: at, StreamTime: -1}
			continue
		}
		m, err := eos.ParseMetadata(o.Metadata)
		if err != nil && o.Metadata != "" {
			r.cfg.Logger.Warn("committed offset carries unknown metadata: stream time starts anew",
				slog.String("task", cfg.ID.String()), slog.String("topic", tp.Topic), slog.Int("partition", int(tp.Partition)),
				slog.Any("error", err))
		}
		positions[tp] = task.Position{
			Offset: o.Offset, StreamTime: m.StreamTime, Ahead: m.Ahead, Checkpoint: m.Checkpoint,
		}
		committed = append(committed, m)
	}
	return positions, committed, nil
}
