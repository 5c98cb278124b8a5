package processor

import (
	"errors"
	"fmt"
	"math"

	"github.com/tidemarkio/tidemark/store"
)

// Timers registers timers for keys, which fire once, in the order of time (Flink's TimerService). They are kept in a
// store of [store.TimerSpec]: what was registered, and not fired, in the last commit is there after a crash or on
// another instance, and a timer's effects commit together with its end. Make it in Init with [NewTimers]; the processor
// must be connected to the store.
//
// An event timer is due when stream time reaches it, and fires after the record that brought stream time there; one
// registered for a time that has passed fires after the record at hand. A wall-clock timer is due when the wall clock
// reaches it. All that are due fire, also those that a timer registers for a later time that is due, too. What it
// registers for its own time or an earlier one waits for the next record or look at the clock, or it could go on for
// ever.
type Timers[K any] struct {
	*timers[K]

	name string
}

// NewTimers returns the timers in a store of the processor; onTimer is called for each that is due, with the time of
// the timer as that of what it writes to stores. Its error or panic is handled like a punctuator's; the timer is then
// gone and the others still fire, if the handler lets them. A store has one owner: NewTimers fails if another node of
// the task has called it.
//
//	p.timers, err = processor.NewTimers(ctx, "reminders", func(t store.Timer[string]) error {
//		return ctx.Forward(record.Record[string, string]{Key: t.Key, Value: "reminder", Timestamp: t.At})
//	})
//	…
//	err := p.timers.Register(r.Key, r.Timestamp+time.Hour.Milliseconds())
func NewTimers[K any](
	ctx ProcessingContext, storeName string, onTimer func(t store.Timer[K]) error,
) (Timers[K], error) {
	host, ok := ctx.(timerHost)
	if !ok {
		return Timers[K]{}, fmt.Errorf("processor: timers need the context that the runtime gave, not a %T", ctx)
	}
	if onTimer == nil {
		return Timers[K]{}, errors.New("processor: timers need a function to call")
	}
	kept, err := StateStore[*store.Timers[K]](ctx, storeName)
	if err != nil {
		return Timers[K]{}, err
	}
	t := &timers[K]{host: host, task: host.taskContext(), store: kept, onTimer: onTimer}
	for i, kind := range [...]PunctuationType{store.EventTimer: StreamTime, store.WallClockTimer: WallClockTime} {
		a := &t.alarms[i]
		a.timers, a.kind = t, store.TimerKind(i)
		if a.changed, err = t.task.AddAlarm(host.nodeName(), storeName, kind, a); err != nil {
			return Timers[K]{}, err
		}
	}
	return Timers[K]{timers: t}, nil
}

// Named returns the same timers under a name, which those of different purposes have for one key and time (Flink's
// namespace). The function given to NewTimers sees it as Timer.Name.
func (t Timers[K]) Named(name string) Timers[K] { return Timers[K]{t.timers, name} }

// Register adds an event timer, at a time in milliseconds since the Unix epoch. There is one for a key and time.
func (t Timers[K]) Register(key K, at int64) error {
	return t.register(store.Timer[K]{Key: key, At: at, Kind: store.EventTimer, Name: t.name})
}

// Delete removes an event timer. That there is none is no error.
func (t Timers[K]) Delete(key K, at int64) error {
	return t.store.Delete(store.Timer[K]{Key: key, At: at, Kind: store.EventTimer, Name: t.name})
}

// RegisterWallClock adds a timer of wall-clock time, as Register does.
func (t Timers[K]) RegisterWallClock(key K, at int64) error {
	return t.register(store.Timer[K]{Key: key, At: at, Kind: store.WallClockTimer, Name: t.name})
}

// DeleteWallClock removes a timer of wall-clock time. That there is none is no error.
func (t Timers[K]) DeleteWallClock(key K, at int64) error {
	return t.store.Delete(store.Timer[K]{Key: key, At: at, Kind: store.WallClockTimer, Name: t.name})
}

// timerHost is what timers need of the context of a node, whatever it forwards.
type timerHost interface {
	taskContext() TaskContext
	nodeName() string
	// begin and leave are what user code is called between.
	begin()
	leave(err error) error
}

// timers is the state behind Timers. Owned by the task goroutine.
type timers[K any] struct {
	host    timerHost
	task    TaskContext
	store   *store.Timers[K]
	onTimer func(t store.Timer[K]) error
	alarms  [2]timerAlarm[K] // by kind
}

func (t *timers[K]) register(timer store.Timer[K]) error {
	if err := t.store.Put(timer); err != nil {
		return err
	}
	t.alarms[timer.Kind].registered(timer.At)
	return nil
}

// timerAlarm fires the timers of one kind.
type timerAlarm[K any] struct {
	*timers[K]

	kind    store.TimerKind
	changed func()
	// next is a time before which no timer is due, if known. It is not raised when the first timer is deleted: that shows
	// when the time comes. So it costs a comparison to see that none is due.
	next  int64
	known bool

	// firing says that at is the timer fired last, whose function may have failed: Fire goes on behind it.
	firing bool
	at     store.Timer[K]
	// behind is the earliest time that was registered behind at.
	behind int64
}

var _ Alarm = (*timerAlarm[string])(nil)

func (a *timerAlarm[K]) registered(at int64) {
	switch {
	case a.firing && at <= a.at.At:
		a.behind = min(a.behind, at)
	case a.firing: // it is still met, or is the next one then
	case a.known && at < a.next:
		a.next = at
		a.changed()
	}
}

// Due implements [Alarm].
func (a *timerAlarm[K]) Due() int64 {
	if a.known {
		return a.next
	}
	a.next, a.known = math.MaxInt64, true
	for t, err := range a.store.From(a.kind, math.MinInt64) {
		if a.next = t.At; err != nil {
			a.next = math.MinInt64 // Fire meets the error, and can return it
		}
		break
	}
	return a.next
}

// Reset implements [Alarm].
func (a *timerAlarm[K]) Reset() { a.known, a.firing = false, false }

// Fire implements [Alarm]. One scan serves all that are due: it begins where nothing lies before, so that it does not
// walk over what was fired long ago.
func (a *timerAlarm[K]) Fire(now int64) error {
	due := a.store.From(a.kind, a.Due())
	if a.firing {
		due = a.store.After(a.at)
	} else {
		a.behind = math.MaxInt64
	}
	next := int64(math.MaxInt64)
	for t, err := range due {
		if err != nil {
			return err
		}
		if t.At > now {
			next = t.At
			break
		}
		if err := a.store.Delete(t); err != nil {
			return err
		}
		a.firing, a.at = true, t
		a.task.Current().Context = store.Context{Timestamp: t.At}
		a.host.begin()
		if err := a.host.leave(a.onTimer(t)); err != nil {
			return err
		}
	}
	a.firing, a.next = false, min(next, a.behind)
	return nil
}
