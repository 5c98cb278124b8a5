package task

import (
	"fmt"
	"log/slog"
	"math"
	"slices"

	"github.com/tidemarkio/tidemark/checkpointing"
	"github.com/tidemarkio/tidemark/record"
)

// alignment is a task's part in checkpoints: which barriers have come, what is held back for them, when to cut.
//
//	             first barrier                    all barriers, or: timeout, buffer full, unaligned
//	trigger ──► known ────► aligning: channels ─────────► due ──► Seal: barriers behind ──► Committed: snapshot
//	   or barrier           with a barrier wait                   all outputs                    │
//	                                                                                             ▼
//	                              Cuts ◄── complete: the last barrier has been fetched ◄────── cut: channels go on
//
// A rollback of the epoch of a cut brings the checkpoint back to before it; a decline, Abandon or a timeout ends it
// wherever it is. Owned by the task goroutine.
type alignment struct {
	task      *Task
	snapshots snapshotter // nil: the stores of the task have none
	lanes     []*lane
	// external says that the task reads topics of users, for which the trigger is what a barrier is for others.
	external bool
	// awaited says of each channel that a cut waits for its barrier.
	awaited []bool

	active []*checkpoint // by id
	// newest is the highest id heard of. A barrier of another one is not answered: all barriers come in the order of ids.
	newest int64
	// ended are newer ones that are over.
	ended []int64
	// begun is the newest checkpoint of which a barrier was taken or a cut made, started is what it was when the task
	// started: those checkpoints it cannot take part in, since nobody knows any more what it had done for them.
	begun, started int64
	// paused is the checkpoint behind whose cut nothing may be processed, 0 if there is none.
	paused int64

	holding bool // flushes
	bytes   int  // of all copies that are held back
	// urgent says that a cut must not be put off, since processing has stopped for it.
	urgent bool
	// stale says that channels may have become free.
	stale bool

	complete []checkpointing.Cut
	declined []checkpointing.Decline
}

// checkpointsMax bounds how many checkpoints a task follows at a time. The coordinator allows as many; of more, the
// oldest is given up.
const checkpointsMax = 16

// newAlignment finds the channels of a task whose queues are made.
func newAlignment(t *Task) *alignment {
	a := &alignment{task: t, snapshots: snapshotterOf(t.stores, len(t.cfg.Subtopology.Stores))}
	channels := t.cfg.Channels
	for _, q := range t.queues {
		upstream, internal := channels.upstreams(q.tp.Topic)
		if !internal {
			a.external = true
			continue
		}
		a.addLane(q, upstream)
	}
	return a
}

// addLane lets a queue look at where its records come from. Where checkpoints are off that is needed for what was
// written, or committed, while they were on: barriers are no records, and what is processed ahead stays processed.
func (a *alignment) addLane(q *queue, upstream []record.TaskID) {
	q.lane = newLane(q, a, len(a.awaited), upstream)
	a.lanes = append(a.lanes, q.lane)
	c := a.task.cfg.Channels
	for range upstream {
		a.awaited = append(a.awaited, c != nil && !c.Cyclic[q.tp.Topic])
	}
}

func (c *Channels) upstreams(topic string) (tasks []record.TaskID, internal bool) {
	if c == nil {
		return nil, false
	}
	tasks, internal = c.Upstreams[topic]
	return tasks, internal
}

// Checkpoint says that a checkpoint was triggered. A task that reads topics of users begins it now, others when its
// first barrier comes. What becomes of it is told by Cuts or Declined, at the latest after its timeout.
func (t *Task) Checkpoint(b checkpointing.Barrier) {
	a := t.alignment
	if t.cfg.Channels == nil {
		a.declined = append(a.declined, checkpointing.Decline{
			ID: b.ID, Task: t.cfg.ID, Reason: "checkpoints are not enabled on this instance: set Config.Checkpointing",
		})
		return
	}
	c := a.find(b.ID)
	if c == nil && !a.follows(b.ID) {
		if b.ID <= a.started {
			a.declined = append(a.declined, checkpointing.Decline{
				ID: b.ID, Task: t.cfg.ID, Reason: "the task was started anew in the middle of it", NotRunning: true,
			})
		}
		return // over, or declined before
	}
	if c == nil {
		c = a.follow(b)
	}
	if l, loading := t.stores.Loading(); loading {
		a.give(c, fmt.Sprintf("%d %% of the task's state is loaded from %s, and there is no other before all of it is",
			l.Percent(), l.Base), true)
		a.refresh()
		return
	}
	c.triggered = true
	if a.external {
		a.starts(c)
	}
	a.decide(c)
	a.refresh()
}

// Abandon says that a checkpoint was aborted: what is held back for it is let go, and its barriers are ignored.
func (t *Task) Abandon(id int64) {
	a := t.alignment
	if id > a.newest {
		a.ended = append(a.ended, id)
	}
	if a.paused == id {
		a.paused, a.stale = 0, true
	}
	if c := a.find(id); c != nil {
		a.forget(c)
	}
	a.refresh()
}

// Cuts takes the parts of checkpoints that are complete. Whoever takes them releases their snapshots.
func (t *Task) Cuts() []checkpointing.Cut {
	cuts := t.alignment.complete
	t.alignment.complete = nil
	return cuts
}

// Declined takes the checkpoints that the task has given up.
func (t *Task) Declined() []checkpointing.Decline {
	declined := t.alignment.declined
	t.alignment.declined = nil
	return declined
}

// Decline gives a checkpoint up, as the caller knows a reason to.
func (t *Task) Decline(id int64, reason string) {
	if c := t.alignment.find(id); c != nil {
		t.alignment.decline(c, reason)
		t.alignment.refresh()
	}
}

// Checkpointing lists the checkpoints that nobody can finish if the task ends now.
func (t *Task) Checkpointing() (ids []int64) {
	for _, c := range t.alignment.active {
		if c.stage != aligning || slices.ContainsFunc(c.arrived, func(at int64) bool { return at != notYet }) {
			ids = append(ids, c.ID)
		}
	}
	return ids
}

// CutDue reports that the next Seal makes a cut, so it should come soon. Processing may go on until then.
func (t *Task) CutDue() bool {
	a := t.alignment
	return len(a.active) > 0 && a.pending() && a.mayCut()
}

func (a *alignment) find(id int64) *checkpoint {
	for _, c := range a.active {
		if c.ID == id {
			return c
		}
	}
	return nil
}

// follows tells whether a checkpoint that is not active can be: one that is over is not begun again.
func (a *alignment) follows(id int64) bool { return id > a.newest && !slices.Contains(a.ended, id) }

// follow begins to pay attention to a checkpoint.
func (a *alignment) follow(b checkpointing.Barrier) *checkpoint {
	if len(a.active) == checkpointsMax {
		a.decline(a.active[0], fmt.Sprintf("more than %d checkpoints at a time", checkpointsMax))
	}
	c := newCheckpoint(b, a)
	a.newest = b.ID
	a.ended = slices.DeleteFunc(a.ended, func(id int64) bool { return id <= b.ID })
	a.active = append(a.active, c)
	a.holdFlushes()
	return c
}

// forget ends a checkpoint. A barrier that is sealed already leaves all the same: whoever gets it has heard, too.
func (a *alignment) forget(c *checkpoint) {
	if c.cut.Snapshot != nil {
		c.cut.Snapshot.Release()
	}
	a.remove(c)
}

func (a *alignment) remove(c *checkpoint) {
	a.active = slices.DeleteFunc(a.active, func(other *checkpoint) bool { return other == c })
	a.stale = true
	a.holdFlushes()
}

func (a *alignment) decline(c *checkpoint, reason string) { a.give(c, reason, false) }

// give gives a checkpoint up. notRunning: that is no failure of the checkpoint's.
func (a *alignment) give(c *checkpoint, reason string, notRunning bool) {
	a.task.cfg.Logger.Warn("checkpoint declined", slog.String("task", a.task.cfg.ID.String()),
		slog.Int64("checkpoint", c.ID), slog.String("reason", reason))
	a.declined = append(a.declined, checkpointing.Decline{
		ID: c.ID, Task: a.task.cfg.ID, Reason: reason, NotRunning: notRunning,
	})
	if a.paused == c.ID {
		a.paused = 0
	}
	a.forget(c)
}

// refresh computes anew which channels are blocked, and lets go what was held back for those that are not any more.
func (a *alignment) refresh() {
	for a.stale { // what is let go may end other checkpoints
		a.stale = false
		for _, l := range a.lanes {
			freed := false
			for i, was := range l.blocked {
				l.blocked[i] = a.blocks(l.first + i)
				freed = freed || was && !l.blocked[i]
			}
			if freed {
				l.release()
			}
			l.settle()
		}
	}
}

func (a *alignment) blocks(channel int) bool {
	if a.paused != 0 {
		return true
	}
	return slices.ContainsFunc(a.active, func(c *checkpoint) bool {
		return c.stage == aligning && c.arrived[channel] != notYet
	})
}

// start says what the task had begun when it was last committed.
func (a *alignment) start(checkpoint int64) {
	a.started = max(a.started, checkpoint)
	a.begun, a.newest = a.started, max(a.newest, a.started)
}

// stopped does what the clock asks for, and reports that nothing may be processed.
func (a *alignment) stopped(wallClock int64) bool {
	if len(a.active) > 0 {
		a.task.wallClock = wallClock
		a.expire(wallClock)
	}
	a.refresh()
	return a.paused != 0
}

// deadline is when the clock next changes something, MaxInt64 if it does not.
func (a *alignment) deadline() int64 {
	next := int64(math.MaxInt64)
	for _, c := range a.active {
		next = min(next, c.deadline())
		if c.due {
			next = min(next, a.task.wallClock+flushPollMs) // a flush that runs holds it up, and wakes nobody
		}
	}
	return next
}

// flushPollMs is how often a task that is due looks whether the flush that it waits for has ended.
const flushPollMs = 5

// expire carries out what the clock asks for.
func (a *alignment) expire(now int64) {
	for _, c := range slices.Clone(a.active) {
		switch {
		case c.TimeoutMs > 0 && now-c.heardMs >= c.TimeoutMs:
			a.decline(c, fmt.Sprintf("no barrier from %d of %d channels within %d ms", c.unseen, len(c.sighted), c.TimeoutMs))
		case c.alignedUntil() <= now:
			c.forced = true
			a.decide(c)
		}
	}
	a.refresh()
}
