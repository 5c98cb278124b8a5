package worker

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"time"

	"github.com/tidemarkio/tidemark/changelog"
	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/processor/task"
	"github.com/tidemarkio/tidemark/record"
)

// globalBase is a partition of a global store's topic, and what the store has of it at the start.
type globalBase struct {
	store      *processor.GlobalStore
	tp         record.TopicPartition
	start, end int64
	retention  time.Duration // of tombstones
	from       int64
	base       string

	began   time.Time
	records int64
	bytes   int64
}

// open opens the task where its topics continue.
func (g *Global) open(ctx context.Context) error {
	if err := g.extents(ctx); err != nil {
		return err
	}
	o := opener{dir: g.cfg.StateDir, logger: g.cfg.Logger}
	t, err := o.open(ctx, g.cfg.Task, g.chooseBases)
	if err != nil {
		return err
	}
	g.task = t
	cp, _ := t.Stores().Checkpoint()
	positions := make(map[record.TopicPartition]task.Position)
	for _, b := range g.bases {
		p := task.Position{Offset: b.from, StreamTime: -1}
		if at, ok := cp.StreamTimes[b.tp]; ok && b.base != baseNone {
			p.StreamTime = at
		}
		positions[b.tp] = p
		g.mu.inputs[b.tp] = InputSnapshot{TopicPartition: b.tp, Committed: b.from, Lag: b.end - b.from}
	}
	// Each checkpoint names the stores that it has: the positions of a topic say nothing of a store that is new.
	has := make(map[string]int64)
	for _, s := range g.cfg.Stores {
		has[s.Store.Name] = 0
	}
	return t.Init(positions, has, cp.Epoch, g.cfg.Clock.NowMs())
}

// extents finds what the topics hold: decided records only, so that no open transaction holds a start up.
func (g *Global) extents(ctx context.Context) error {
	tps := g.cfg.Task.Inputs
	ends, err := g.cfg.Admin.EndOffsets(ctx, tps, true)
	if err != nil {
		return err
	}
	starts, err := g.cfg.Admin.StartOffsets(ctx, tps)
	if err != nil {
		return err
	}
	for _, s := range g.cfg.Stores {
		config := g.cfg.TopicConfig(s.Topic())
		retention := changelog.DeleteRetention(config)
		if policy := config["cleanup.policy"]; policy != "" && !strings.Contains(policy, "compact") {
			retention = math.MaxInt64 // tombstones are records like others
		}
		for _, tp := range tps {
			if tp.Topic == s.Topic() {
				g.bases = append(g.bases, &globalBase{
					store: s, tp: tp, start: starts[tp], end: max(starts[tp], ends[tp]), retention: retention,
				})
			}
		}
	}
	return nil
}

// What a restore begins with.
const (
	baseNone  = "none"
	baseLocal = "local"
)

// chooseBases decides where each partition is read from. It returns why local state cannot be used, "" if it can.
func (g *Global) chooseBases(t *task.Task) (unusable string) {
	cp, _ := t.Stores().Checkpoint()
	now := g.cfg.Clock.NowMs()
	known := make(map[string]bool) // stores with a position in their topic
	for _, b := range g.bases {
		b.from, b.base = b.start, baseNone
		at, ok := cp.Inputs[b.tp]
		if _, has := cp.Changelog[b.store.Store.Name]; !has || !ok {
			continue // a new store, one in memory, or a new partition
		}
		known[b.store.Store.Name] = true
		from, usable, reason := changelog.Choose(
			changelog.Base{Offset: at, WallTimeMs: cp.WallTimeMs}, b.start, b.end, now, b.retention)
		if !usable {
			return fmt.Sprintf("store %q, %s: %s", b.store.Store.Name, b.tp, reason)
		}
		b.from, b.base = from, baseLocal
	}
	for _, s := range g.cfg.Stores {
		if _, has := cp.Changelog[s.Store.Name]; has && !known[s.Store.Name] {
			return fmt.Sprintf("store %q was filled from another topic than %q", s.Store.Name, s.Topic())
		}
	}
	return ""
}

// catchUp reads to the ends. What it commits keeps the time of the base: the log beyond a position is known to be whole
// only as of then.
func (g *Global) catchUp(ctx context.Context) error {
	reached := g.cfg.Clock.NowMs()
	wallTime := reached
	if cp, ok := g.task.Stores().Checkpoint(); ok {
		wallTime = cp.WallTimeMs
	}
	waiting := make(map[record.TopicPartition]*globalBase)
	for _, b := range g.bases {
		b.began = g.cfg.Clock.Now()
		call(g.cfg.Listener.OnStart, RestoreStart{
			Task: record.GlobalTaskID(), Store: b.store.Store.Name, TopicPartition: b.tp, From: b.from, To: b.end, Base: b.base,
		})
		g.cfg.Fetcher.Add(b.tp, b.from)
		if b.from >= b.end {
			g.caughtUp(b)
			continue
		}
		waiting[b.tp] = b
	}
	timer := g.cfg.Clock.NewTimer(globalPatience)
	defer timer.Stop()
	for len(waiting) > 0 {
		select {
		case <-ctx.Done():
			return fmt.Errorf("reading %d partitions: %w", len(waiting), context.Cause(ctx))
		case <-timer.C:
			g.stillWaiting(waiting)
			timer.Reset(globalPatience)
		case f := <-g.cfg.Fetcher.Batches():
			if err := g.take(f, wallTime); err != nil {
				return err
			}
			if err := g.commit(wallTime); err != nil { // the set decides when it writes
				return err
			}
			if b := waiting[f.TopicPartition]; b != nil && g.progressed(b, f) {
				delete(waiting, f.TopicPartition)
			}
		}
	}
	g.task.RequestCommit()
	if err := g.commit(reached); err != nil {
		return err
	}
	return g.task.Stores().Flush(ctx)
}

// progressed reports a batch, and whether the partition is at its end.
func (g *Global) progressed(b *globalBase, f *Fetched) bool {
	b.records += int64(len(f.Records))
	for i := range f.Records {
		b.bytes += int64(len(f.Records[i].Key) + len(f.Records[i].Value))
	}
	p := changelog.Progress{
		Store: b.store.Store.Name, TopicPartition: b.tp, From: b.from, At: min(f.Next, b.end), To: b.end, Records: b.records,
		Bytes: b.bytes,
	}
	call(g.cfg.Listener.OnProgress, progress(record.GlobalTaskID(), b.base, p, g.cfg.Clock.Since(b.began)))
	if f.Next < b.end {
		return false
	}
	g.caughtUp(b)
	return true
}

func (g *Global) caughtUp(b *globalBase) {
	took := g.cfg.Clock.Since(b.began)
	call(g.cfg.Listener.OnEnd, RestoreEnd{
		Task: record.GlobalTaskID(), Store: b.store.Store.Name, TopicPartition: b.tp, Records: b.records, Took: took,
		Base: b.base,
	})
	g.cfg.Logger.Info("global store read", slog.String("store", b.store.Store.Name), slog.String("topic", b.tp.Topic),
		slog.Int("partition", int(b.tp.Partition)), slog.String("base", b.base), slog.Int64("from", b.from),
		slog.Int64("to", b.end), slog.Int64("records", b.records), slog.Duration("took", took.Round(time.Millisecond)))
}

// stillWaiting says what holds the start up.
func (g *Global) stillWaiting(waiting map[record.TopicPartition]*globalBase) {
	for tp, b := range waiting {
		g.mu.Lock()
		at := g.mu.inputs[tp].Committed
		g.mu.Unlock()
		g.cfg.Logger.Warn("no task runs before the global stores are read", slog.String("store", b.store.Store.Name),
			slog.String("topic", tp.Topic), slog.Int("partition", int(tp.Partition)), slog.Int64("at", at),
			slog.Int64("to", b.end))
	}
}
