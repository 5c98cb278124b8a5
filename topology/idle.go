package topology

import (
	"time"

	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/store"
)

// idleTime lets an observed time go on with the wall clock while no records come. The time that it reaches commits with
// the store, as any observed time; since when there were no records does not, and counts anew from a restart. Owned by
// the task goroutine.
type idleTime struct {
	observed *store.Clock
	after    int64 // ms; 0: off

	lastWall  int64 // of the last record, or of the start
	lastEvent int64 // the observed time then
}

// The clock is looked at a few times per idle time, but no more often than makes sense for a task.
const (
	idleLooks       = 4
	idleIntervalMin = 10 * time.Millisecond
	idleIntervalMax = time.Second
)

// start schedules the looks at the clock. advanced runs whenever the observed time has moved.
func (i *idleTime) start(ctx processor.TaskContext, node string, advanced func() error) {
	if i.after == 0 {
		return
	}
	i.seen(ctx.WallClock())
	interval := time.Duration(i.after) * time.Millisecond / idleLooks
	interval = min(max(interval, idleIntervalMin), idleIntervalMax)
	ctx.Schedule(node, interval, processor.WallClockTime, func(now int64) error {
		if i.lastEvent < 0 || now-i.lastWall < i.after {
			return nil // nothing to close before the first record
		}
		i.observed.Advance(i.lastEvent + now - i.lastWall)
		return advanced()
	})
}

// seen notes a record, after the observed time took it.
func (i *idleTime) seen(wallClock int64) { i.lastWall, i.lastEvent = wallClock, i.observed.Now() }
