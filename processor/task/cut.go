package task

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/tidemarkio/tidemark/checkpointing"
	"github.com/tidemarkio/tidemark/internal/clock"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/store"
)

// snapshotter is what cuts need of a store set.
type snapshotter interface {
	// HoldFlushes puts off flushes that only age or size ask for, so that none runs when the cut is made.
	HoldFlushes(hold bool)
	FlushRunning() bool
	// Snapshot freezes what is committed.
	Snapshot() (checkpointing.Snapshot, error)
}

// stopwatch measures how long a snapshot holds the task up, which decides nothing: what time it is the worker says.
var stopwatch = clock.System() //nolint:gochecknoglobals // stateless

// holdFlushes lets no flush begin while a cut is near.
func (a *alignment) holdFlushes() {
	hold := slices.ContainsFunc(a.active, func(c *checkpoint) bool { return c.stage != cut })
	if a.snapshots != nil && hold != a.holding {
		a.snapshots.HoldFlushes(hold)
	}
	a.holding = hold
}

// setSnapshots takes snapshots of a store set.
type setSnapshots struct{ *store.Set }

// Snapshot implements snapshotter.
func (s setSnapshots) Snapshot() (checkpointing.Snapshot, error) {
	snapshot, err := s.Set.Snapshot()
	if err != nil {
		return nil, err
	}
	return snapshot, nil
}

// snapshotterOf is how cuts get at the state of a task; nil if it has no stores.
func snapshotterOf(set *store.Set, stores int) snapshotter {
	if stores == 0 {
		return nil
	}
	return setSnapshots{set}
}

// mayCut tells whether a cut would be quick: while a flush runs, freezing has to wait for it.
func (a *alignment) mayCut() bool {
	return a.urgent || a.snapshots == nil || !a.snapshots.FlushRunning()
}

// seal makes the cuts that are due, at the end of an epoch whose records are all written: barriers follow them in every
// partition downstream. It returns the checkpoints. A newer one takes older ones along, so that barriers leave, as they
// came, in the order of ids.
func (a *alignment) seal(e *Epoch) error {
	newest := int64(0)
	if a.mayCut() {
		for _, c := range a.active {
			if c.due {
				newest = c.ID
			}
		}
	}
	for _, c := range a.active {
		if c.stage != aligning || c.ID > newest {
			continue
		}
		if err := a.sendBarriers(c.Barrier); err != nil {
			return err
		}
		c.stage, c.due, c.epoch = sealed, false, e.Number
		a.begun, a.stale = max(a.begun, c.ID), true
		e.Cuts = append(e.Cuts, c.ID)
	}
	a.urgent = false
	return nil
}

func (a *alignment) sendBarriers(b checkpointing.Barrier) error {
	t := a.task
	headers := []record.Header{{Key: checkpointing.BarrierHeader, Value: b.Append(nil)}}
	for _, topic := range t.cfg.Channels.Downstream {
		o, err := t.output(topic)
		if err != nil {
			return fmt.Errorf("task %s: barrier of checkpoint %d: %w", t.cfg.ID, b.ID, err)
		}
		for p := range o.batches {
			o.append(int32(p), nil, nil, max(t.streamTime, 0), headers)
		}
	}
	return nil
}

// sealedAt notes where the inputs are at the cuts of an epoch, and then lets processing go on behind them.
func (a *alignment) sealedAt(e *Epoch) {
	if len(e.Cuts) == 0 {
		return
	}
	inputs := a.inputs(e.Positions)
	for _, c := range a.active {
		if c.stage != sealed || c.epoch != e.Number {
			continue
		}
		c.starts = make([]int64, 0, len(a.awaited))
		for _, l := range a.lanes {
			processed, _ := l.frontier()
			c.starts = append(c.starts, processed...)
		}
		now := a.task.wallClock
		if c.startedMs == notYet {
			c.startedMs = now
		}
		c.cut = checkpointing.Cut{
			Barrier: c.Barrier, Task: a.task.cfg.ID, Epoch: e.Number, Inputs: inputs, Unaligned: c.waiting > 0,
			Timings: checkpointing.Timings{
				StartDelayMs: max(0, c.startedMs-c.TriggeredMs), AlignmentMs: max(0, now-c.startedMs),
			},
		}
		if c.Stop {
			a.paused = c.ID
		}
	}
	a.refresh()
}

// inputs lists the positions of an epoch.
func (a *alignment) inputs(positions map[record.TopicPartition]Position) []checkpointing.InputPosition {
	inputs := make([]checkpointing.InputPosition, 0, len(a.task.queues))
	for _, q := range a.task.queues {
		p := positions[q.tp]
		in := checkpointing.InputPosition{
			Topic: q.tp.Topic, Partition: q.tp.Partition, Offset: p.Offset, StreamTimeMs: p.StreamTime,
		}
		if p.Ahead != nil {
			in.Ahead = make(map[record.TaskID]int64)
			for _, id := range q.lane.upstream {
				at, ok := p.Ahead.Except[id]
				if !ok {
					at = p.Ahead.Next
				}
				if at > p.Offset {
					in.Ahead[id] = at
				}
			}
		}
		inputs = append(inputs, in)
	}
	return inputs
}

// committed takes the snapshots of the cuts in an epoch.
func (a *alignment) committed(e *Epoch, wallClock int64) {
	for _, c := range slices.Clone(a.active) {
		if c.stage != sealed || c.epoch != e.Number {
			continue
		}
		c.stage, c.cut.WallTimeMs = cut, wallClock
		if a.snapshots != nil {
			began := stopwatch.Now()
			snapshot, err := a.snapshots.Snapshot()
			c.cut.Timings.SyncMs = stopwatch.Since(began).Milliseconds()
			if err != nil {
				a.give(c, fmt.Sprintf("no snapshot of the stores: %v", err), errors.Is(err, store.ErrLoading))
				continue
			}
			c.cut.Snapshot = snapshot
		}
		a.decide(c)
	}
	a.holdFlushes()
	a.refresh()
}

// finish hands a checkpoint's cut out: every barrier has been fetched, so it is known what was in flight.
func (a *alignment) finish(c *checkpoint) {
	for _, l := range a.lanes {
		if l.strays() {
			a.decline(c, strayReason)
			return
		}
		for i, id := range l.upstream {
			ch := l.first + i
			r := checkpointing.Range{
				Topic: l.queue.tp.Topic, Partition: l.queue.tp.Partition, From: id, Start: c.starts[ch], End: c.sighted[ch],
			}
			if r.Start < r.End {
				c.cut.InFlight = append(c.cut.InFlight, r)
			}
		}
	}
	a.complete = append(a.complete, c.cut)
	a.remove(c)
	a.task.cfg.Logger.Debug("cut complete", slog.String("task", a.task.cfg.ID.String()), slog.Int64("checkpoint", c.ID),
		slog.Bool("unaligned", c.cut.Unaligned), slog.Int("in_flight", len(c.cut.InFlight)))
}

// rollback brings checkpoints back to the last commit. Barriers behind the positions there will be read again, and with
// them the channels are blocked again; a cut that was not committed is made again.
func (a *alignment) rollback(committed map[record.TopicPartition]Position) {
	a.bytes, a.urgent = 0, false
	for _, c := range a.active {
		if c.stage == cut {
			continue
		}
		if a.paused == c.ID {
			a.paused = 0
		}
		c.stage, c.due, c.starts = aligning, false, nil
		before := slices.Clone(c.arrived)
		c.unalign(a)
		for _, l := range a.lanes {
			for ch := l.first; ch < l.first+len(l.upstream); ch++ {
				if before[ch] == notYet || before[ch] >= committed[l.queue.tp].Offset {
					continue
				}
				c.arrived[ch] = before[ch]
				if a.awaited[ch] {
					c.waiting--
				}
			}
		}
	}
	for _, c := range a.active {
		a.decide(c)
	}
	a.stale = true
	a.holdFlushes()
	a.refresh()
}

// pending tells whether a cut still has to be made.
func (a *alignment) pending() bool {
	return slices.ContainsFunc(a.active, func(c *checkpoint) bool { return c.due })
}

// close lets go of the snapshots that nobody took.
func (a *alignment) close() {
	for _, c := range a.active {
		if c.cut.Snapshot != nil {
			c.cut.Snapshot.Release()
		}
	}
	for i := range a.complete {
		if s := a.complete[i].Snapshot; s != nil {
			s.Release()
		}
	}
	a.active, a.complete = nil, nil
}
