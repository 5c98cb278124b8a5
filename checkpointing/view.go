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

// Apply takes the next message of the topic in. A message that cannot be read leaves the view as it was.
func (v *View) Apply(m Message) error {
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
		return fold(v.commands, keyCommand, m)
	case strings.HasPrefix(m.Key, keyResult):
		return fold(v.results, keyResult, m)
	case m.Key == keyConfig:
		return foldOne(&v.overrides, m)
	case m.Key == keyStop:
		return foldOne(&v.stop, m)
	case m.Key == keyFailed:
		return foldOne(&v.failed, m)
	}
	return nil // of a newer version, which adds kinds: the others are still good
}

func foldID[T any](v *View, into map[int64]*T, kind string, m Message) error {
	id, _, err := parseIDKey(m.Key, kind)
	if err != nil {
		return err
	}
	v.lastID = max(v.lastID, id)
	if m.Value == nil {
		delete(into, id)
		return nil
	}
	value, err := decodeMessage[T](m.Key, m.Value)
	if err == nil {
		into[id] = value
	}
	return err
}

func fold[T any](into map[string]*T, kind string, m Message) error {
	id := strings.TrimPrefix(m.Key, kind)
	if m.Value == nil {
		delete(into, id)
		return nil
	}
	value, err := decodeMessage[T](m.Key, m.Value)
	if err == nil {
		into[id] = value
	}
	return err
}

func foldOne[T any](into **T, m Message) error {
	if m.Value == nil {
		*into = nil
		return nil
	}
	value, err := decodeMessage[T](m.Key, m.Value)
	if err == nil {
		*into = value
	}
	return err
}

// foldAck keeps what a task said first: a task that has moved may have two owners that speak.
func (v *View) foldAck(m Message) error {
	id, task, err := parseIDKey(m.Key, keyAck)
	if err != nil {
		return err
	}
	v.lastID = max(v.lastID, id)
	if m.Value == nil {
		delete(v.acks[id], task)
		if len(v.acks[id]) == 0 {
			delete(v.acks, id)
		}
		return nil
	}
	a, err := decodeMessage[Ack](m.Key, m.Value)
	if err != nil {
		return err
	}
	if v.acks[id] == nil {
		v.acks[id] = make(map[string]*Ack)
	}
	if v.acks[id][task] == nil {
		v.acks[id][task] = a
	}
	return nil
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
