package checkpointing

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/tidemarkio/tidemark/record"
)

// View is what the control topic says at one offset: its messages, folded. Every instance has one, and a coordinator
// makes its first decisions from it. Not safe for concurrent use.
type View struct {
	triggers  map[int64]*Trigger
	acks      map[int64]map[string]*Ack
	completed map[int64]*Completed
	aborted   map[int64]*Aborted
	commands  map[string]*Command
	results   map[string]*Result
	overrides *Overrides
	stop      *Stop
	failed    *Failed
	lastID    int64
}

// NewView returns the view of an empty topic.
func NewView() *View {
	return &View{
		triggers: make(map[int64]*Trigger), acks: make(map[int64]map[string]*Ack),
		completed: make(map[int64]*Completed), aborted: make(map[int64]*Aborted),
		commands: make(map[string]*Command), results: make(map[string]*Result),
	}
}

// Apply takes the next message of the topic in, and returns what it says: a *Trigger, *Ack, *Completed, *Aborted, *Command,
// *Result, *Overrides, *Stop or *Failed; nil if it deletes its key or is of an unknown kind. A message that cannot be
// read leaves the view as it was.
func (v *View) Apply(m Message) (said any, err error) {
	switch {
	case strings.HasPrefix(m.Key, keyTrigger):
		return foldID(v, v.triggers, keyTrigger, m)
	case strings.HasPrefix(m.Key, keyCompleted):
		return foldID(v, v.completed, keyCompleted, m)
	case strings.HasPrefix(m.Key, keyAborted):
		return foldID(v, v.aborted, keyAborted, m)
	case strings.HasPrefix(m.Key, keyAck):
		return v.foldAck(m)
	case strings.HasPrefix(m.Key, keyCommand):
		return fold(v.commands, strings.TrimPrefix(m.Key, keyCommand), m)
	case strings.HasPrefix(m.Key, keyResult):
		return fold(v.results, strings.TrimPrefix(m.Key, keyResult), m)
	case m.Key == keyConfig:
		return foldOne(&v.overrides, m)
	case m.Key == keyStop:
		return foldOne(&v.stop, m)
	case m.Key == keyFailed:
		return foldOne(&v.failed, m)
	}
	return nil, nil // of a newer version, which adds kinds: the others are still good
}

func foldID[T any](v *View, into map[int64]*T, kind string, m Message) (any, error) {
	id, _, err := parseIDKey(m.Key, kind)
	if err != nil {
		return nil, err
	}
	v.lastID = max(v.lastID, id)
	return fold(into, id, m)
}

func fold[K comparable, T any](into map[K]*T, key K, m Message) (any, error) {
	if m.Value == nil {
		delete(into, key)
		return nil, nil
	}
	value, err := decodeMessage[T](m.Key, m.Value)
	if err != nil {
		return nil, err
	}
	into[key] = value
	return value, nil
}

func foldOne[T any](into **T, m Message) (any, error) {
	if m.Value == nil {
		*into = nil
		return nil, nil
	}
	value, err := decodeMessage[T](m.Key, m.Value)
	if err != nil {
		return nil, err
	}
	*into = value
	return value, nil
}

// foldAck keeps what a task said first: a task that has moved may have two owners that speak.
func (v *View) foldAck(m Message) (any, error) {
	id, task, err := parseIDKey(m.Key, keyAck)
	if err != nil {
		return nil, err
	}
	v.lastID = max(v.lastID, id)
	if m.Value == nil {
		delete(v.acks[id], task)
		if len(v.acks[id]) == 0 {
			delete(v.acks, id)
		}
		return nil, nil
	}
	a, err := decodeMessage[Ack](m.Key, m.Value)
	if err != nil {
		return nil, err
	}
	if v.acks[id] == nil {
		v.acks[id] = make(map[string]*Ack)
	}
	if v.acks[id][task] == nil {
		v.acks[id][task] = a
	}
	return a, nil
}

// InProgress returns the triggers of checkpoints that have neither completed nor been aborted, oldest first.
func (v *View) InProgress() []*Trigger {
	var open []*Trigger
	for id, t := range v.triggers {
		if v.completed[id] == nil && v.aborted[id] == nil {
			open = append(open, t)
		}
	}
	slices.SortFunc(open, func(a, b *Trigger) int { return cmp.Compare(a.ID, b.ID) })
	return open
}

// Acked reports whether a task has spoken about a checkpoint.
func (v *View) Acked(id int64, task record.TaskID) bool { return v.acks[id][task.String()] != nil }

// AckCount returns how many tasks have acknowledged a checkpoint.
func (v *View) AckCount(id int64) (n int) {
	for _, a := range v.acks[id] {
		if a.Snapshot != nil {
			n++
		}
	}
	return n
}

// Completed returns the completed checkpoints and savepoints of the history, oldest first.
func (v *View) Completed() []*Completed { return sortedByID(v.completed) }

// Aborted returns the aborted checkpoints and savepoints of the history, oldest first.
func (v *View) Aborted() []*Aborted { return sortedByID(v.aborted) }

// Ended reports whether a checkpoint completed or was aborted.
func (v *View) Ended(id int64) (completed, aborted bool) {
	return v.completed[id] != nil, v.aborted[id] != nil
}

// Result returns the result of a command, nil if there is none.
func (v *View) Result(command string) *Result { return v.results[command] }

// Stop returns the last stop of the application, nil if there was none. Whether it is news is for the caller to know.
func (v *View) Stop() *Stop { return v.stop }

// Failed returns the last failure for too many failed checkpoints, nil if there was none.
func (v *View) Failed() *Failed { return v.failed }

// Overrides returns the settings that were changed at run time.
func (v *View) Overrides() Overrides {
	if v.overrides == nil {
		return Overrides{}
	}
	return *v.overrides
}

// Retained returns the checkpoints that are kept, oldest first, as far as they are in the history.
func (v *View) Retained() []*Completed {
	var kept []*Completed
	var ids []int64
	for _, c := range v.Completed() {
		if !c.Savepoint {
			ids = c.Retained
		}
	}
	for _, id := range ids {
		if c := v.completed[id]; c != nil {
			kept = append(kept, c)
		}
	}
	return kept
}

func sortedByID[T any](m map[int64]*T) []*T {
	out := make([]*T, 0, len(m))
	for _, id := range slices.Sorted(maps.Keys(m)) {
		out = append(out, m[id])
	}
	return out
}
