package checkpointing

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// world is a control topic, a storage, and everybody who has been a coordinator: the deposed ones do not know it and go
// on until they want to write. Each step is one thing that happens to one of them, so that a crash may come between any
// two actions.
type world struct {
	t       *testing.T
	rng     *rand.Rand
	cfg     CoordinatorConfig
	now     int64
	term    int // of the transactional id
	log     []Message
	view    *View              // of the whole log
	files   map[string]int64   // name to checkpoint
	proofs  map[int64][]string // manifests: files that they refer to
	history *transcript

	triggered map[int64]Trigger
	ended     map[int64]string
	commands  []string
	everAcked map[int64]map[string]bool
	refused   bool // the storage is down
	stopped   bool
}

// claimant is somebody who believes to be the coordinator.
type claimant struct {
	term int
	c    *Coordinator
	todo []Action
	read int // of the log
	dead bool
}

func newWorld(t *testing.T, seed uint64) *world {
	rng := rand.New(rand.NewPCG(seed, 5))
	conf := Config{
		Storage: anyStorage{}, Interval: time.Second, Timeout: 3 * time.Second, MaxConcurrent: 1 + rng.IntN(3),
		Retained: 1 + rng.IntN(3), Incremental: rng.IntN(3) > 0, TolerableFailed: []int{TolerateAny, 1}[rng.IntN(2)],
		Retention: Retention(rng.IntN(2)),
	}
	return &world{
		t: t, rng: rng, now: 1000, view: NewView(), files: make(map[string]int64), proofs: make(map[int64][]string),
		triggered: make(map[int64]Trigger), ended: make(map[int64]string), everAcked: make(map[int64]map[string]bool),
		history: &transcript{fmt.Sprintf("seed %d", seed)},
		cfg: CoordinatorConfig{
			ApplicationID: "app", Fingerprint: "f", Tasks: map[int32]int32{0: 1, 1: 2}, Config: conf.WithDefaults(),
		},
	}
}

func (w *world) note(format string, args ...any) {
	*w.history = append(*w.history, fmt.Sprintf(format, args...))
}

// transcript is what has happened, for who looks for the mistake.
type transcript []string

func (t *transcript) String() string { return strings.Join(*t, "\n") }

// claim makes a new coordinator, which fences all others.
func (w *world) claim() *claimant {
	w.term++
	view := NewView()
	for _, m := range w.log {
		mustApply(w.t, view, m)
	}
	stored := Stored{}
	for id := range w.proofs {
		if !w.triggered[id].Savepoint {
			stored.Checkpoints = append(stored.Checkpoints, id)
		}
		stored.LastID = max(stored.LastID, id)
	}
	for _, id := range w.files {
		stored.LastID = max(stored.LastID, id)
	}
	slices.Sort(stored.Checkpoints)
	c, todo := NewCoordinator(w.cfg, view, stored, w.now)
	w.note("claim %d", w.term)
	return &claimant{term: w.term, c: c, todo: todo, read: len(w.log)}
}

// act carries out the next action of a coordinator.
func (w *world) act(c *claimant) {
	a := c.todo[0]
	c.todo = c.todo[1:]
	switch a := a.(type) {
	case Write:
		if c.term != w.term {
			c.dead = true // fenced
			return
		}
		w.append(a.Messages...)
	case Publish:
		err := w.publish(a)
		c.todo = append(c.todo, c.c.Step(w.now, Published{ID: a.Trigger.ID, Err: err})...)
	case Clean:
		c.todo = append(c.todo, c.c.Step(w.now, Tidied{Folders: a.Folders, Err: w.clean(a)})...)
	}
}

// append adds a transaction to the log, and checks what it says.
func (w *world) append(messages ...Message) {
	for _, m := range messages {
		kind, _, _ := strings.Cut(m.Key, "/")
		id, _, _ := parseIDKey(m.Key, kind+"/")
		w.note("  %s %t", m.Key, m.Value != nil)
		switch {
		case m.Value == nil:
		case strings.HasPrefix(m.Key, keyTrigger):
			trigger, err := decodeMessage[Trigger](m.Key, m.Value)
			require.NoError(w.t, err)
			require.NotContains(w.t, w.triggered, id, w.history)
			for other := range w.triggered {
				require.Greater(w.t, id, other, w.history)
			}
			if trigger.Base != 0 {
				require.Contains(w.t, w.proofs, trigger.Base, w.history)
			}
			w.triggered[id], w.everAcked[id] = *trigger, make(map[string]bool)
		case strings.HasPrefix(m.Key, keyCompleted):
			require.Empty(w.t, w.ended[id], w.history)
			w.ended[id] = "completed"
			require.Contains(w.t, w.proofs, id, w.history)
			require.Len(w.t, w.everAcked[id], 3, w.history)
		case strings.HasPrefix(m.Key, keyAborted):
			require.Empty(w.t, w.ended[id], w.history)
			w.ended[id] = "aborted"
		case m.Key == keyStop:
			w.stopped = true
		}
		w.log = append(w.log, m)
		mustApply(w.t, w.view, m)
	}
}

func (w *world) publish(a Publish) error {
	id := a.Trigger.ID
	require.Len(w.t, a.Tasks, 3)
	w.note("  publish %d", id)
	if w.refused {
		return errors.New("down")
	}
	if _, there := w.proofs[id]; !there {
		for _, task := range a.Tasks {
			for _, f := range task.Files {
				w.proofs[id] = append(w.proofs[id], f.Name)
			}
		}
	}
	if w.rng.IntN(10) == 0 {
		return errors.New("the answer was lost")
	}
	return nil
}

// clean deletes as the retention does: manifests first, then files that nothing needed refers to.
func (w *world) clean(a Clean) error {
	if w.refused {
		return errors.New("down")
	}
	w.note("  clean %+v", a)
	needed := make(map[string]bool)
	for _, id := range slices.Concat(a.Retained, a.Bases) {
		for _, f := range w.proofs[id] {
			needed[f] = true
		}
	}
	keep := func(id int64) bool {
		return id >= a.Below || slices.Contains(a.InProgress, id) || slices.Contains(a.Retained, id) ||
			slices.Contains(a.Bases, id)
	}
	maps.DeleteFunc(w.proofs, func(id int64, _ []string) bool {
		return !keep(id) && (!w.triggered[id].Savepoint || slices.Contains(a.Folders, w.triggered[id].Location))
	})
	maps.DeleteFunc(w.files, func(name string, id int64) bool {
		if t := w.triggered[id]; t.Savepoint {
			return slices.Contains(a.Folders, t.Location)
		}
		return !needed[name] && id < a.Below && !slices.Contains(a.InProgress, id)
	})
	w.usable()
	return nil
}

// usable checks that what is needed is there: the manifests of the last completed checkpoint and of all savepoints, and
// the base of what is in progress, with all their files.
func (w *world) usable() {
	var last *Completed
	for _, c := range w.view.Completed() {
		if c.Savepoint {
			w.whole(c.ID)
		} else {
			last = c
		}
	}
	if last != nil && (!w.stopped || w.cfg.Config.Retention == RetainOnCancellation) {
		w.whole(last.ID)
	}
	if !w.stopped {
		for _, t := range w.view.InProgress() {
			if t.Base != 0 {
				w.whole(t.Base)
			}
		}
	}
}

func (w *world) whole(id int64) {
	require.Contains(w.t, w.proofs, id, w.history)
	for _, f := range w.proofs[id] {
		require.Contains(w.t, w.files, f, w.history)
	}
}

// speak lets a task store its part of some checkpoint and say so, or decline; perhaps late, perhaps twice.
func (w *world) speak() {
	if len(w.triggered) == 0 {
		return
	}
	newest := slices.Max(slices.Collect(maps.Keys(w.triggered)))
	t, ok := w.triggered[max(1, newest-int64(w.rng.IntN(4)))]
	if !ok {
		return
	}
	task := t.taskIDs()[w.rng.IntN(3)]
	if w.rng.IntN(25) == 0 {
		w.append(AckMessage(Ack{ID: t.ID, Task: task.String(), Declined: "no", NotRunning: w.rng.IntN(2) == 0}))
		return
	}
	s := &TaskSnapshot{Task: task}
	if manifest, ok := w.proofs[t.Base]; ok && t.Base != 0 && w.rng.IntN(4) > 0 {
		for _, f := range manifest {
			if strings.Contains(f, "/"+task.String()+"-") {
				s.Files = append(s.Files, File{Name: f})
			}
		}
	}
	name := fmt.Sprintf("%s/%s-%d", t.Location, task, w.rng.IntN(1000))
	if !w.refused {
		w.files[name] = t.ID
	}
	s.Files = append(s.Files, File{Name: name})
	if w.refused || w.rng.IntN(20) == 0 {
		return // it dies before it speaks
	}
	if w.ended[t.ID] == "" {
		w.everAcked[t.ID][task.String()] = true
	}
	w.append(AckMessage(Ack{ID: t.ID, Task: task.String(), Snapshot: s}))
}

func (w *world) ask() {
	kinds := []CommandKind{CommandCheckpoint, CommandSavepoint, CommandSavepoint, CommandConfigure}
	if w.rng.IntN(10) == 0 {
		kinds = []CommandKind{CommandStop, CommandCancel}
	}
	n := 1 + w.rng.IntN(3)
	cmd := Command{
		ID: fmt.Sprintf("command-%d", len(w.commands)), Kind: kinds[w.rng.IntN(len(kinds))], RequestedMs: w.now,
		Overrides: &Overrides{Retained: &n},
	}
	w.commands = append(w.commands, cmd.ID)
	w.append(CommandMessage(cmd))
}

// hear gives a coordinator the next messages.
func (w *world) hear(c *claimant, most int) {
	for ; c.read < len(w.log) && most > 0; most-- {
		m := w.log[c.read]
		c.read++
		c.todo = append(c.todo, c.c.Step(w.now, Received{Message: m})...)
	}
}

func (w *world) run(steps int) {
	var all []*claimant
	for range steps {
		all = slices.DeleteFunc(all, func(c *claimant) bool { return c.dead })
		if len(all) == 0 || w.rng.IntN(60) == 0 {
			all = append(all, w.claim()) // the one before may live on
		}
		c := all[w.rng.IntN(len(all))]
		switch w.rng.IntN(16) {
		case 0, 1, 2, 3, 4:
			if len(c.todo) > 0 {
				w.act(c)
			}
		case 5, 6:
			w.hear(c, 1+w.rng.IntN(5))
		case 7, 8:
			w.now += int64(w.rng.IntN(400))
			c.todo = append(c.todo, c.c.Step(w.now, Tick{})...)
		case 9:
			if w.rng.IntN(4) == 0 {
				w.ask()
			}
		case 10:
			if w.rng.IntN(10) == 0 {
				w.refused = !w.refused
			}
		case 11:
			c.dead = w.rng.IntN(15) == 0 // kill -9
		default:
			w.speak()
		}
	}
}

// settle lets a last coordinator come to rest.
func (w *world) settle() {
	w.refused = false
	c := w.claim()
	for round := 0; round < 50 || len(c.todo) > 0 || c.read < len(w.log); round++ {
		w.hear(c, 1000)
		for len(c.todo) > 0 {
			w.act(c)
		}
		if round < 20 {
			w.now += 500
			c.todo = append(c.todo, c.c.Step(w.now, Tick{})...)
		}
		if round == 10 { // no new ones
			zero := int64(0)
			w.append(CommandMessage(Command{ID: "last", Kind: CommandConfigure, Overrides: &Overrides{IntervalMs: &zero}}))
		}
		require.Less(w.t, round, 1000, "it never comes to rest")
	}
	for id := range w.triggered {
		require.NotEmpty(w.t, w.ended[id], "checkpoint %d never ends: %s", id, w.history)
	}
	for _, id := range w.commands {
		require.NotNil(w.t, w.view.Result(id), "command %s has no result: %s", id, w.history)
	}
	require.Empty(w.t, w.view.acks, w.history)
	require.Empty(w.t, w.view.triggers, w.history)
	require.Empty(w.t, w.view.commands, w.history)
	w.usable()
	for name, id := range w.files { // nothing is left that nobody needs
		if t := w.triggered[id]; t.Savepoint {
			require.Equal(w.t, "completed", w.ended[id], "%s: %s", name, w.history)
			continue
		}
		owned := false
		for _, kept := range w.view.lastRetained() {
			owned = owned || slices.Contains(w.proofs[kept], name)
		}
		require.True(w.t, owned, "%s is left: %s", name, w.history)
	}
}

// lastRetained is what the coordinator keeps, as far as the topic tells.
func (v *View) lastRetained() []int64 {
	var ids []int64
	for _, c := range v.Completed() {
		if !c.Savepoint {
			ids = c.Retained
		}
	}
	return ids
}

func TestCoordinatorHistories(t *testing.T) {
	t.Parallel()
	seeds := uint64(100)
	if testing.Short() {
		seeds = 20
	}
	for seed := range seeds {
		w := newWorld(t, seed)
		w.run(600)
		w.settle()
	}
}

// TestCoordinatorCrashesEverywhere plays one history, with checkpoints that complete, one that is declined, one that
// times out, a savepoint and a stop, and kills the coordinator before its first action, before its second, and so on.
func TestCoordinatorCrashesEverywhere(t *testing.T) {
	t.Parallel()
	for crash := 0; ; crash++ {
		w := newWorld(t, 1)
		w.cfg.Config.Incremental, w.cfg.Config.MaxConcurrent, w.cfg.Config.Retention = true, 2, RetainOnCancellation
		c, acts := w.claim(), 0
		// rest carries everything out; the crash comes in between, and another coordinator takes over.
		rest := func() {
			for len(c.todo) > 0 || c.read < len(w.log) {
				if acts == crash {
					acts++
					c = w.claim()
				}
				w.hear(c, 1)
				if len(c.todo) > 0 {
					w.act(c)
					acts++
				}
			}
		}
		pass := func(ms int64) {
			w.now += ms
			c.todo = append(c.todo, c.c.Step(w.now, Tick{})...)
			rest()
		}
		ackAll := func(but int) {
			for _, trigger := range w.view.InProgress() {
				for i, task := range trigger.taskIDs() {
					a := Ack{ID: trigger.ID, Task: task.String(), Snapshot: &TaskSnapshot{Task: task}}
					if i == but {
						a.Snapshot, a.Declined = nil, "no"
					} else {
						name := trigger.Location + "/" + a.Task + "-1"
						w.files[name] = trigger.ID
						a.Snapshot.Files = []File{{Name: name}}
						w.everAcked[trigger.ID][a.Task] = true
					}
					w.append(AckMessage(a))
					rest()
				}
			}
		}
		ask := func(kind CommandKind) {
			id := fmt.Sprintf("command-%d", len(w.commands))
			w.commands = append(w.commands, id)
			w.append(CommandMessage(Command{ID: id, Kind: kind, RequestedMs: w.now}))
			rest()
		}
		pass(1000)
		ackAll(-1)
		pass(1000)
		ackAll(2) // declined
		pass(1000)
		ask(CommandSavepoint)
		ackAll(-1)
		pass(1000)
		pass(4000) // timed out
		ackAll(-1)
		ask(CommandStop)
		ackAll(-1)
		pass(1000)
		w.settle()
		if acts <= crash {
			require.Greater(t, acts, 20)
			return // it came to its end without the crash
		}
	}
}
