package worker

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/tidemarkio/tidemark/changelog"
	"github.com/tidemarkio/tidemark/record"
)

// RestoreState is what a task is doing that is on its way to a worker.
type RestoreState int

// States of a restore, in the order in which it passes through them.
const (
	// RestoreWaiting: for the task to be closed here, or for one of the slots of RestoreParallel.
	RestoreWaiting RestoreState = iota
	// RestoreTakingOver: for what the owner before has committed to be decided, which may be to end its transaction.
	RestoreTakingOver
	// RestoreOpening: it looks for a base and opens it, which may be to load a snapshot.
	RestoreOpening
	// RestoreReplaying: it reads its changelogs.
	RestoreReplaying
	// RestoreStarting: it ends what the owner before has prepared in other systems, and initialises processors.
	RestoreStarting
)

// String returns the state in one word.
func (s RestoreState) String() string {
	names := [...]string{"waiting", "taking over", "opening", "replaying", "starting"}
	if s < 0 || int(s) >= len(names) {
		return fmt.Sprintf("RestoreState(%d)", int(s))
	}
	return names[s]
}

// RestoreSnapshot is what a task shows of itself that is on its way to a worker.
type RestoreSnapshot struct {
	ID    record.TaskID
	State RestoreState
	Since time.Time // when it began
	// Base is what is here already, as in RestoreStart: "local", "snapshot 17", "standby" or "none"; "" before that is
	// known.
	Base string
	// Stores are how far their changelogs are read, while that is being done.
	Stores []RestoringStore
	// Lag is the sum of what the stores still have to read, in offsets.
	Lag int64
	// Remaining is how long what it does will take, opening or replaying, at the pace so far; 0: nobody can tell.
	Remaining time.Duration
}

// RestoringStore is how far a store is in its changelog.
type RestoringStore struct {
	Store          string
	TopicPartition record.TopicPartition
	Position, End  int64 // offsets
}

// restores are the tasks that are being restored now.
type restores struct {
	mu  sync.Mutex
	all map[record.TaskID]*restoreOf
}

// restoreOf is one of them, as its goroutine tells.
type restoreOf struct {
	RestoreSnapshot

	from  int64 // sum of where the replays began
	began time.Time
}

// begin is called before anything else, and what it returns at the end.
func (r *restores) begin(id record.TaskID, now time.Time) (end func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.all == nil {
		r.all = make(map[record.TaskID]*restoreOf)
	}
	one := &restoreOf{RestoreSnapshot: RestoreSnapshot{ID: id, Since: now}}
	r.all[id] = one
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.all[id] == one {
			delete(r.all, id)
		}
	}
}

// tell changes what is shown of a task. Of a standby nothing is.
func (r *restores) tell(id record.TaskID, change func(one *restoreOf)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if one := r.all[id]; one != nil {
		change(one)
	}
}

func (r *restores) become(id record.TaskID, state RestoreState) {
	r.tell(id, func(one *restoreOf) { one.State, one.Remaining = state, 0 })
}

// replays says that the changelogs are read from now on.
func (r *restores) replays(id record.TaskID, logs []*changelogOf, now time.Time) {
	r.tell(id, func(one *restoreOf) {
		one.State, one.Remaining, one.began = RestoreReplaying, 0, now
		for _, l := range logs {
			one.Base = l.base
			one.from += l.from
			one.Stores = append(one.Stores, RestoringStore{
				Store: l.store, TopicPartition: l.tp, Position: l.from, End: l.end,
			})
			one.Lag += max(0, l.end-l.from)
		}
	})
}

// read says how far the i-th changelog is read.
func (r *restores) read(id record.TaskID, i int, position int64, now time.Time) {
	r.tell(id, func(one *restoreOf) {
		one.Stores[i].Position = position
		done, left := -one.from, int64(0)
		for _, s := range one.Stores {
			done += s.Position
			left += max(0, s.End-s.Position)
		}
		one.Lag, one.Remaining = left, 0
		if done > 0 {
			one.Remaining = time.Duration(float64(now.Sub(one.began)) / float64(done) * float64(left))
		}
	})
}

// loads says how far a snapshot is loaded.
func (r *restores) loads(p RestoreProgress) {
	r.tell(p.Task, func(one *restoreOf) { one.Base, one.Remaining = p.Base, p.Remaining })
}

// progressOf tells of the i-th changelog of a task.
func (r *Restorer) progressOf(id record.TaskID, i int, base string, began time.Time) func(changelog.Progress) {
	return func(p changelog.Progress) {
		now := r.cfg.Clock.Now()
		r.restores.read(id, i, p.At, now)
		call(r.cfg.Listener.OnProgress, progress(id, base, p, now.Sub(began)))
	}
}

// Restores shows the tasks of this member that are on their way to a worker.
func (m *Manager) Restores() []RestoreSnapshot {
	var all []RestoreSnapshot
	for id, w := range m.Tasks() {
		if w == nil {
			all = append(all, RestoreSnapshot{ID: id})
		}
	}
	r := &m.cfg.Restorer.restores
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range all {
		if one := r.all[all[i].ID]; one != nil {
			all[i] = one.RestoreSnapshot
			all[i].Stores = slices.Clone(one.Stores)
		}
	}
	slices.SortFunc(all, func(a, b RestoreSnapshot) int { return a.ID.Compare(b.ID) })
	return all
}
