package checkpointing

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/tidemarkio/tidemark/record"
)

// Coordinator decides about the checkpoints of an application: when one begins, when it is complete, what is kept. It
// is a state machine without clock, goroutine or I/O: [Coordinator.Step] takes what has happened, and returns what is
// to be done, in that order.
//
//	             trigger             all acks                published
//	(interval, ──────────► pending ──────────► publishing ─────────────► completed ──► retained ──► deleted
//	 command)                 │ timeout, decline,   │ storage error
//	                          │ newer one completed │
//	                          └─────────► aborted ◄─┘
//
// Exactly one coordinator is in force: its messages are written in transactions of one transactional id, so that a
// deposed one cannot write. What it must not do unless the topic says so, deleting above all, therefore stands behind a
// [Write] in the list, and is not done if that fails. Whatever fails to be written, the coordinator is thrown away, and
// a new one begins with what the topic says: there is one way to start, and no second one to recover.
type Coordinator struct {
	cfg       CoordinatorConfig
	conf      Config
	overrides Overrides

	pending   []*pending // in order of ids
	retained  []int64    // completed checkpoints that are kept, oldest first
	history   []ended    // completed and aborted ones that the topic still tells of, oldest first
	queue     []*Command // not begun
	running   map[string]bool
	results   map[string]int64 // when they were written
	nextID    int64
	next      int64 // ms, when the next periodic one is due
	lastEnd   int64 // ms, when the last one ended
	failures  int   // in a row
	cleanSoon bool  // somebody may have left files behind
	folders   []string
	stopped   bool
}

// CoordinatorConfig is what a Coordinator is made from.
type CoordinatorConfig struct {
	ApplicationID string
	Fingerprint   string
	// Tasks are how many tasks each sub-topology has.
	Tasks map[int32]int32
	// Config is as the application configured it; what was changed at run time is in the topic.
	Config Config
}

// Stored is what the storages hold when a coordinator begins.
type Stored struct {
	// Checkpoints are the ids of checkpoints with a manifest, without savepoints.
	Checkpoints []int64
	// LastID is the highest id that any folder has, 0 if there is none.
	LastID int64
}

// pending is a checkpoint in progress.
type pending struct {
	trigger    *Trigger
	acks       map[string]*Ack
	publishing bool
}

// ended is a checkpoint of the history.
type ended struct {
	id        int64
	completed bool
	folder    string // of an aborted savepoint
	tidy      bool   // nothing is left in it
}

// Action is what is to be done: one of Write, Publish, Clean.
type Action interface{ action() }

// Write writes messages to the control topic, in one transaction. If it fails, the coordinator's end has come.
type Write struct{ Messages []Message }

// Publish stores the manifest of a checkpoint, whose tasks are all here, unless it is there already. The answer comes
// as [Published].
type Publish struct {
	Trigger     Trigger
	Tasks       []TaskSnapshot
	CompletedMs int64
}

// Clean deletes what no checkpoint needs any more, in the background. The lists are whole: of ids below Below, and of
// files below it, nothing else is needed. Savepoints that completed are never touched.
type Clean struct {
	// Retained are kept whole. Bases are kept as far as checkpoints in progress may refer to their files.
	Retained, InProgress, Bases []int64
	// Folders of savepoints that were aborted.
	Folders []string
	Below   int64
}

func (Write) action()   {}
func (Publish) action() {}
func (Clean) action()   {}

// Event is what has happened: one of Tick, Received, Published, Tidied.
type Event interface{ event() }

// Tick says that time has passed. Give it when [Coordinator.NextTick] says so.
type Tick struct{}

// Received is a message of the control topic behind those that the coordinator began with. Its own may be among them.
type Received struct{ Message Message }

// Published is the answer to [Publish].
type Published struct {
	ID  int64
	Err error
}

// Tidied is the answer to [Clean]: its Folders, and why it failed.
type Tidied struct {
	Folders []string
	Err     error
}

func (Tick) event()      {}
func (Received) event()  {}
func (Published) event() {}
func (Tidied) event()    {}

const (
	// historyMax is how many ended checkpoints the topic tells of (web.checkpoints.history).
	historyMax = 10
	// untidyMax bounds how many more there are while the storage cannot be cleaned.
	untidyMax = 100
	// commandsMax bounds how many commands wait.
	commandsMax = 100
	// resultKeptMs is how long a result can be asked for.
	resultKeptMs = int64(10 * time.Minute / time.Millisecond)
	// taskStatsMax bounds the details in the topic.
	taskStatsMax = 1000
)

// NewCoordinator takes over, at the time now in milliseconds: from what the control topic says and the storage holds.
// What a predecessor left in progress is completed if all tasks have acknowledged it, and else aborted.
func NewCoordinator(cfg CoordinatorConfig, v *View, stored Stored, now int64) (*Coordinator, []Action) {
	c := &Coordinator{
		cfg: cfg, overrides: v.Overrides(), running: make(map[string]bool), results: make(map[string]int64),
		nextID: max(v.lastID, stored.LastID) + 1, cleanSoon: true,
	}
	c.conf = c.overrides.Apply(cfg.Config)
	out := &actions{}
	c.recall(v, now)
	c.adopt(v, stored, now, out)
	c.takeOver(v, now, out)
	c.retire(now, out)
	c.begin(now, out)
	return c, out.list
}

// recall reads the past: how many failed in a row, when the next one is due.
func (c *Coordinator) recall(v *View, now int64) {
	var last int64
	for _, id := range slices.Sorted(maps.Keys(v.completed)) {
		done := v.completed[id]
		c.history = append(c.history, ended{id: id, completed: true})
		last, c.lastEnd = max(last, done.TriggeredMs), max(c.lastEnd, done.CompletedMs)
	}
	for _, a := range v.aborted {
		e := endedBadly(a)
		c.history = append(c.history, e)
		c.leftBehind(e)
		last, c.lastEnd = max(last, a.TriggeredMs), max(c.lastEnd, a.AbortedMs)
	}
	slices.SortFunc(c.history, func(a, b ended) int { return cmp.Compare(a.id, b.id) })
	for _, e := range c.history {
		switch {
		case e.completed && !v.completed[e.id].Savepoint:
			c.failures = 0
		case !e.completed && v.aborted[e.id].Counted && (v.failed == nil || v.failed.ID < e.id):
			c.failures++
		}
	}
	c.lastEnd = min(c.lastEnd, now) // another instance's clock
	c.next = min(last, now) + c.conf.Interval.Milliseconds()
	if last == 0 {
		c.next = now + c.conf.Interval.Milliseconds()
	}
}

// adopt finds out what is retained: what the topic says, if it is there, and what is newer than all that the topic
// says, which is then one that replaces a lost one. Other manifests are not to be trusted: somebody may have aborted
// them.
func (c *Coordinator) adopt(v *View, stored Stored, now int64, out *actions) {
	var retained []int64
	for _, done := range v.Completed() {
		if !done.Savepoint {
			retained = done.Retained
		}
	}
	for _, id := range slices.Sorted(slices.Values(stored.Checkpoints)) {
		if slices.Contains(retained, id) {
			c.retained = append(c.retained, id)
			continue
		}
		if id <= v.lastID {
			continue
		}
		c.retained = append(c.retained, id)
		out.write(encode(idKey(keyCompleted, id), &Completed{
			V: messageVersion, ID: id, Location: CheckpointFolder(c.cfg.ApplicationID, id), TriggeredMs: now, CompletedMs: now,
			Retained: slices.Clone(c.retained),
		}))
		c.remember(ended{id: id, completed: true}, out)
	}
}

// takeOver ends or goes on with what a predecessor began.
func (c *Coordinator) takeOver(v *View, now int64, out *actions) {
	for _, t := range v.InProgress() {
		p := &pending{trigger: t, acks: make(map[string]*Ack)}
		maps.Copy(p.acks, v.acks[t.ID])
		c.pending = append(c.pending, p)
		if t.Command != "" {
			c.running[t.Command] = true
		}
	}
	for _, p := range slices.Clone(c.pending) {
		switch {
		case p.trigger.Fingerprint != c.cfg.Fingerprint || !maps.Equal(p.trigger.Tasks, c.cfg.Tasks):
			c.abort(now, p, "the application has other tasks now", false, out)
		case p.complete():
			c.publish(now, p, out)
		default:
			c.abort(now, p, "its coordinator has moved or restarted", false, out)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(v.acks)) {
		for _, task := range slices.Sorted(maps.Keys(v.acks[id])) {
			if c.find(id) == nil {
				out.tombstone(ackKey(id, task))
			}
		}
	}
	for id, r := range v.results {
		c.results[id] = min(r.FinishedMs, now)
	}
	commands := slices.SortedFunc(maps.Values(v.commands), func(a, b *Command) int {
		return cmp.Or(cmp.Compare(a.RequestedMs, b.RequestedMs), cmp.Compare(a.ID, b.ID))
	})
	for _, cmd := range commands {
		switch _, answered := c.results[cmd.ID]; {
		case answered:
			out.tombstone(keyCommand + cmd.ID)
		case !c.running[cmd.ID]:
			c.command(now, cmd, out)
		}
	}
}

// Step takes what has happened and returns what is to be done, in order.
func (c *Coordinator) Step(now int64, e Event) []Action {
	out := &actions{}
	switch e := e.(type) {
	case Tick:
	case Received:
		c.received(now, e.Message, out)
	case Published:
		c.published(now, e, out)
	case Tidied:
		c.cleaned(e)
	}
	c.retire(now, out)
	c.begin(now, out)
	return out.list
}

// NextTick is when the coordinator wants to be told the time again, in milliseconds; math.MaxInt64: never.
func (c *Coordinator) NextTick() int64 {
	at := int64(math.MaxInt64)
	for _, p := range c.pending {
		if !p.publishing {
			at = min(at, p.deadline())
		}
	}
	for _, cmd := range c.queue {
		if cmd.ExpiresMs > 0 {
			at = min(at, cmd.ExpiresMs)
		}
	}
	for _, finished := range c.results {
		at = min(at, finished+resultKeptMs)
	}
	if due, ok := c.due(); ok {
		at = min(at, due)
	}
	return at
}

// Config is the configuration in force.
func (c *Coordinator) Config() Config { return c.conf }

// find returns a checkpoint in progress.
func (c *Coordinator) find(id int64) *pending {
	for _, p := range c.pending {
		if p.trigger.ID == id {
			return p
		}
	}
	return nil
}

// deadline is when a checkpoint times out. A time of trigger in the future is of another clock, and does not matter:
// who takes over aborts or publishes.
func (p *pending) deadline() int64 { return p.trigger.TriggeredMs + p.trigger.TimeoutMs }

// complete reports whether every task has given its snapshot.
func (p *pending) complete() bool {
	for _, id := range p.trigger.taskIDs() {
		if a := p.acks[id.String()]; a == nil || a.Snapshot == nil {
			return false
		}
	}
	return true
}

// missing lists the tasks that have not spoken.
func (p *pending) missing() []record.TaskID {
	return slices.DeleteFunc(p.trigger.taskIDs(), func(id record.TaskID) bool { return p.acks[id.String()] != nil })
}

// actions collects what is to be done. Messages that follow each other share a transaction.
type actions struct{ list []Action }

func (a *actions) write(m Message) {
	if n := len(a.list); n > 0 {
		if w, ok := a.list[n-1].(Write); ok {
			a.list[n-1] = Write{Messages: append(w.Messages, m)}
			return
		}
	}
	a.list = append(a.list, Write{Messages: []Message{m}})
}

func (a *actions) tombstone(key string) { a.write(Message{Key: key}) }

func (a *actions) do(action Action) { a.list = append(a.list, action) }
