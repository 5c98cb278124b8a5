package task

import (
	"fmt"
	"log/slog"
	"math"
	"slices"

	"github.com/tidemarkio/tidemark/checkpointing"
	"github.com/tidemarkio/tidemark/record"
)

// checkpoint is what a task knows of a checkpoint that is not finished. Owned by the task goroutine.
type checkpoint struct {
	checkpointing.Barrier

	stage stage
	// triggered says that the trigger has come, and not only barriers.
	triggered bool
	// forced says that the cut waits for no more barriers, due that the next Seal makes it.
	forced, due bool
	heardMs     int64 // when the task first heard of it
	startedMs   int64 // when the first barrier came; notYet

	// By channel: the offset of its barrier, notYet before it came. sighted: it was fetched. arrived: all before it is
	// processed, and what follows is held back until the cut.
	sighted, arrived []int64
	unseen, waiting  int // channels whose barrier is not sighted, and awaited ones where it has not arrived

	// Of the cut.
	epoch  record.Epoch
	starts []int64 // by channel: up to where its records were processed
	cut    checkpointing.Cut
}

// stage is how far a task is with a checkpoint.
type stage int

const (
	aligning stage = iota
	sealed         // the cut is in an epoch whose outcome is not known
	cut            // the epoch is committed
)

// notYet stands for an offset or a time.
const notYet = -1

func newCheckpoint(b checkpointing.Barrier, a *alignment) *checkpoint {
	n := len(a.awaited)
	c := &checkpoint{
		Barrier: b, heardMs: a.task.wallClock, startedMs: notYet, sighted: make([]int64, n), arrived: make([]int64, n),
		unseen: n,
	}
	for i := range n {
		c.sighted[i] = notYet
	}
	c.unalign(a)
	return c
}

// unalign forgets all arrivals.
func (c *checkpoint) unalign(a *alignment) {
	c.waiting = 0
	for i, awaited := range a.awaited {
		c.arrived[i] = notYet
		if awaited {
			c.waiting++
		}
	}
}

// alignedUntil is when the task stops waiting for barriers.
func (c *checkpoint) alignedUntil() int64 {
	if c.stage != aligning || c.forced || c.AlignedTimeoutMs == 0 || c.startedMs == notYet {
		return math.MaxInt64
	}
	return c.startedMs + c.AlignedTimeoutMs
}

func (c *checkpoint) deadline() int64 {
	if c.TimeoutMs == 0 {
		return c.alignedUntil()
	}
	return min(c.alignedUntil(), c.heardMs+c.TimeoutMs)
}

// starts notes when the alignment began.
func (a *alignment) starts(c *checkpoint) {
	if c.startedMs == notYet {
		c.startedMs = a.task.wallClock
	}
}

// followed returns the checkpoint of a barrier; nil if the barrier means nothing (any more).
func (a *alignment) followed(data []byte) *checkpoint {
	if a.task.cfg.Channels == nil {
		return nil
	}
	b, err := checkpointing.ParseBarrier(data)
	if err != nil {
		a.task.cfg.Logger.Error("ignoring a barrier: its checkpoint will time out",
			slog.String("task", a.task.cfg.ID.String()), slog.Any("error", err))
		return nil
	}
	c := a.find(b.ID)
	if c == nil && a.follows(b.ID) {
		c = a.follow(b)
	}
	return c
}

// seen notes a barrier that was fetched.
func (a *alignment) seen(l *lane, ch int, data []byte, offset int64) {
	if ch == unknownChannel {
		return
	}
	c := a.followed(data)
	if c == nil || c.sighted[l.first+ch] != notYet {
		return
	}
	c.sighted[l.first+ch] = offset
	c.unseen--
	for _, older := range slices.Clone(a.active) {
		if older.ID < c.ID && older.sighted[l.first+ch] == notYet {
			// Every task sends its barriers in order: the older one's will not come any more.
			a.decline(older, fmt.Sprintf("task %s has sent a barrier of checkpoint %d, and none of this one",
				l.upstream[ch], c.ID))
		}
	}
	a.decide(c)
}

// arrived notes a barrier before which everything of its channel is processed.
func (a *alignment) arrived(l *lane, ch int, data []byte, offset int64) {
	a.task.dirty = true // the position moves
	if ch == unknownChannel {
		return
	}
	c := a.followed(data)
	if c == nil || c.stage != aligning || c.arrived[l.first+ch] != notYet {
		return
	}
	a.begun = max(a.begun, c.ID)
	a.starts(c)
	c.arrived[l.first+ch] = offset
	if a.awaited[l.first+ch] {
		c.waiting--
	}
	l.blocked[ch] = true
	a.decide(c)
}

// decide makes a checkpoint due, or complete, when what it waits for is there.
//
// An aligned cut waits for all barriers that are to be waited for. Where there are none, the trigger starts it, or the
// first barrier. An unaligned cut waits for the trigger if the task reads topics of users, or for the first barrier.
func (a *alignment) decide(c *checkpoint) {
	if c.stage == cut {
		if c.unseen == 0 {
			a.finish(c)
		}
		return
	}
	if c.stage != aligning || c.due {
		return
	}
	called := a.external && c.triggered || c.unseen < len(c.sighted)
	c.due = called && (c.forced || c.Unaligned || c.waiting == 0)
	if c.due {
		a.task.dirty = true
	}
}

// room tells whether so much more may be held back.
func (a *alignment) room(bytes int) bool {
	return a.task.cfg.AlignmentBufferBytes == 0 || int64(a.bytes+bytes) <= a.task.cfg.AlignmentBufferBytes
}

// overflow ends all alignment: what would have to be held back has no room. Nothing is processed until the cut is made.
func (a *alignment) overflow() {
	if a.paused != 0 {
		return
	}
	for _, c := range a.active {
		if c.stage == aligning && c.startedMs != notYet {
			c.forced = true
			a.decide(c)
		}
	}
	a.urgent, a.task.commitRequested, a.task.dirty = true, true, true
}

const strayReason = "records are in flight that were written before checkpoints were enabled"

// stray notes a record of which nobody knows the sender: no range of a checkpoint that is cut could contain it.
func (a *alignment) stray() {
	for _, c := range slices.Clone(a.active) {
		if c.stage != aligning {
			a.decline(c, strayReason)
		}
	}
}
