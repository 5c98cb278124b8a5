package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/tidemarkio/tidemark/processor/assign"
	"github.com/tidemarkio/tidemark/processor/task"
	"github.com/tidemarkio/tidemark/record"
)

// ManagerConfig is what a Manager is made from.
type ManagerConfig struct {
	ProcessID   string
	Fingerprint string
	// Topics are all topics the group reads, by their physical names.
	Topics []string
	// Tasks returns the tasks of the topology for today's partition counts.
	Tasks func(ctx context.Context) ([]record.TaskID, error)
	// Inputs returns the partitions that a task reads.
	Inputs   func(id record.TaskID) []record.TopicPartition
	Workers  []*Worker // at the start: see AddWorker and RemoveWorker
	Restorer *Restorer
	// Standbys keep the state of tasks of others up to date; their OnCaughtUp is the Manager's. Nil: there are none, and
	// tasks move without a warm-up.
	Standbys *Standbys
	StateDir StateDir
	// Endpoint is where others reach this instance (application.server), Tags what it is tagged with (client.tag).
	Endpoint string
	Tags     map[string]string
	// Placing is what the leader goes by.
	Placing Placing
	// Rejoin asks the group for a rebalance. May be nil without Standbys.
	Rejoin func(reason string)
	// OnError takes what a task failed with while it was being restored: the application stops with it.
	OnError func(error)
	// OnLeave is called before the stores of a task are closed that has left its worker: it waits until nobody else reads
	// them. May be nil.
	OnLeave func(id record.TaskID)
	// OnMembers is called on the member that leads the group, with the workers of each member by its process id, before
	// tasks are assigned. It must not wait. May be nil.
	OnMembers func(ctx context.Context, workers map[string]int)
	// Listener is told of what the group decides.
	Listener RebalanceListener
	// OnDisagree is called when another member knows other inputs than this one, or other tasks: each looks for itself,
	// and one of them is behind. It must not wait. May be nil.
	OnDisagree func()
	// OnChange is called after the set of tasks or their states changed.
	OnChange func()
	Logger   *slog.Logger
}

// Manager carries the group's decisions out: it restores tasks that come, hands over tasks that go, and knows which
// worker has which. It implements GroupHandler.
//
// A task is restoring (on a goroutine of its own), then running (a worker has it), then closing (on a goroutine again).
// While one incarnation of a task is closing, the next one waits for it: they share a directory. A task of another
// member may be a standby here; if it comes to us, it goes on from there without being closed.
type Manager struct {
	cfg ManagerConfig

	mu struct {
		sync.Mutex
		tasks   map[record.TaskID]*owned
		workers []*Worker // replaced whole when it changes; never empty
		closing map[record.TaskID]chan struct{}
		closed  bool
	}
	background sync.WaitGroup
	// handover is held by who takes tasks from their workers, in the end by Close, which keeps it.
	handover chan struct{}
	ending   chan struct{} // closed when Close begins
	released chan struct{} // closed when Close has taken all tasks
	closed   chan struct{} // closed when Close is done

	// leaving: the others are asked to take our tasks; mayLeave is closed when they have, or cannot.
	leaving  atomic.Bool
	mayLeave chan struct{}

	// attempt counts how often an assignment was sent back. Owned by the group's goroutine.
	attempt int
	// asked counts how often a warm-up asked for its task.
	asked atomic.Int64
}

// owned is a task that the group gave to this member.
type owned struct {
	id     record.TaskID
	worker *Worker
	cancel context.CancelFunc // of restoring
	// settled is closed when restoring has ended, either way.
	settled chan struct{}
	// Guarded by Manager.mu, as worker is. starting: it is being handed to its worker, which does not change then.
	starting, running bool
}

var _ GroupHandler = (*Manager)(nil)

// NewManager makes a Manager.
func NewManager(cfg ManagerConfig) *Manager {
	m := &Manager{
		cfg: cfg, handover: make(chan struct{}, 1), ending: make(chan struct{}), closed: make(chan struct{}),
		released: make(chan struct{}), mayLeave: make(chan struct{}),
	}
	m.mu.tasks, m.mu.workers = make(map[record.TaskID]*owned), cfg.Workers
	m.mu.closing = make(map[record.TaskID]chan struct{})
	if cfg.Standbys != nil {
		cfg.Standbys.cfg.OnCaughtUp = m.caughtUp
	}
	return m
}

// Subscription implements GroupHandler.
func (m *Manager) Subscription() (topics []string, userData []byte) {
	sub := assign.Subscription{
		ProcessID: m.cfg.ProcessID, Fingerprint: m.cfg.Fingerprint, Workers: len(m.workers()), Owned: m.ownedTasks(),
		Attempt: m.attempt + int(m.asked.Load()), Endpoint: m.cfg.Endpoint, Tags: m.cfg.Tags,
		Inputs: m.digest(context.Background()), Leaving: m.leaving.Load(),
	}
	m.localState(&sub)
	return m.cfg.Topics, assign.AppendSubscription(nil, sub)
}

// localState says which state is here, and how far it is.
func (m *Manager) localState(sub *assign.Subscription) {
	local, err := m.cfg.StateDir.Tasks()
	if err != nil {
		m.cfg.Logger.Warn("cannot list local state: the assignor will not know of it", slog.Any("error", err))
	}
	has := make(map[record.TaskID]bool, len(local))
	sub.Positions = make(map[record.TaskID]int64)
	for _, t := range local {
		has[t.ID] = true
		if t.Position >= 0 {
			sub.Positions[t.ID] = t.Position
		}
	}
	if m.cfg.Standbys != nil {
		m.cfg.Standbys.report(sub)
		for _, id := range sub.Following {
			has[id] = true
		}
	}
	for _, id := range sub.Owned {
		delete(sub.Positions, id)
	}
	sub.Previous = slices.SortedFunc(maps.Keys(has), record.TaskID.Compare)
}

func (m *Manager) ownedTasks() []record.TaskID {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.SortedFunc(maps.Keys(m.mu.tasks), record.TaskID.Compare)
}

// Owned implements GroupHandler.
func (m *Manager) Owned() []record.TopicPartition {
	var tps []record.TopicPartition
	for _, id := range m.ownedTasks() {
		tps = append(tps, m.cfg.Inputs(id)...)
	}
	return tps
}

// Assigned implements GroupHandler.
func (m *Manager) Assigned(ctx context.Context, a GroupAssignment) (Afterwards, error) {
	decoded, err := assign.DecodeAssignment(a.UserData)
	if err != nil {
		return Afterwards{}, err
	}
	switch {
	case decoded.Refusal != "":
		return Afterwards{}, &assign.MixedTopologyError{Reason: decoded.Refusal}
	case len(a.UserData) > 0 && decoded.Fingerprint != m.cfg.Fingerprint:
		rejoin, err := m.outdated(decoded)
		return Afterwards{Rejoin: rejoin}, err
	}
	// Before anything waits: a task that is revoked may read a topic that is gone, and its commit ends only when somebody
	// has seen that.
	more, err := m.knowsMore(ctx, decoded, a.Partitions)
	if err != nil {
		return Afterwards{}, err
	}
	want := make(map[record.TaskID]bool, len(decoded.Tasks))
	for _, id := range decoded.Tasks {
		want[id] = true
	}
	var revoked []record.TaskID
	for _, id := range m.ownedTasks() {
		if !want[id] {
			revoked = append(revoked, id)
		}
	}
	if len(revoked) > 0 {
		call(m.cfg.Listener.OnRevoked, TasksRevoked{Tasks: revoked})
	}
	m.stop(ctx, revoked, true)
	before := m.Tasks()
	for _, id := range m.withInputs(decoded.Tasks) {
		m.start(ctx, id)
	}
	m.follow(ctx, m.withInputs(decoded.Standby), m.withInputs(decoded.Warmup))
	m.cfg.Logger.Info("assignment", slog.String("tasks", fmt.Sprint(decoded.Tasks)),
		slog.String("revoked", fmt.Sprint(revoked)), slog.String("standbys", fmt.Sprint(decoded.Standby)),
		slog.String("warm_ups", fmt.Sprint(decoded.Warmup)))
	m.cfg.OnChange()
	m.tellAssigned(before, decoded)
	if decoded.Leave {
		m.leave()
		return Afterwards{Pending: decoded.Pending}, nil // leaving is a rebalance, too
	}
	return Afterwards{Rejoin: len(revoked) > 0 || more, Pending: decoded.Pending}, nil
}

// tellAssigned tells the listener. before are the tasks that were here already.
func (m *Manager) tellAssigned(before map[record.TaskID]*Worker, a assign.Assignment) {
	e := TasksAssigned{Tasks: m.ownedTasks(), Standbys: a.Standby, WarmUps: a.Warmup, Pending: a.Pending}
	for _, id := range e.Tasks {
		if _, ok := before[id]; !ok {
			e.Added = append(e.Added, id)
		}
	}
	call(m.cfg.Listener.OnAssigned, e)
}

// attemptsMax bounds how often a member asks again before it gives up on an assignment of another topology.
const attemptsMax = 5

// outdated deals with tasks of another topology. The coordinator answers a static member that comes back from memory:
// the member has to join once more, with a subscription that differs, so that the leader hears of the new topology.
func (m *Manager) outdated(a assign.Assignment) (rejoin bool, err error) {
	if m.attempt >= attemptsMax {
		return false, &assign.MixedTopologyError{Reason: fmt.Sprintf(
			"its leader assigns tasks of topology %q, and this program runs %q: stop the old version before you start "+
				"another topology, or give it its own application id", a.Fingerprint, m.cfg.Fingerprint)}
	}
	m.attempt++
	m.cfg.Logger.Info("the assignment is for another topology: joining again", slog.Any("theirs", a.Fingerprint),
		slog.Any("ours", m.cfg.Fingerprint))
	return true, nil
}

// knowsMore reports whether the leader has not heard of partitions or topics that have come or gone, so that it has to
// be told by another subscription. Or it is this member that has not, and looks. The leader is told once: if it does
// not find them either it finds out by itself.
func (m *Manager) knowsMore(
	ctx context.Context, a assign.Assignment, partitions []record.TopicPartition,
) (bool, error) {
	tasks, err := m.cfg.Tasks(ctx)
	if err != nil {
		return false, err
	}
	sameInputs := m.knowsInputs(ctx, a, partitions)
	if a.Total == len(tasks) && sameInputs {
		return false, nil
	}
	m.disagree()
	if m.attempt > 0 {
		return false, nil
	}
	m.attempt++
	m.cfg.Logger.Info("the assignment is for other inputs: joining again", slog.Any("their_tasks", a.Total),
		slog.Any("ours", len(tasks)), slog.Bool("same_inputs", sameInputs))
	return true, nil
}

// Lost implements GroupHandler.
func (m *Manager) Lost(err error) {
	m.cfg.Logger.Warn("group membership lost: dropping all tasks", slog.Any("error", err))
	owned := m.ownedTasks()
	// The worker may be waiting for the outcome of a commit from brokers that it cannot reach: Close has no time for that.
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		select {
		case <-m.ending:
			cancel()
		case <-ctx.Done():
		}
	}()
	m.stop(ctx, owned, false)
	m.cfg.OnChange()
	call(m.cfg.Listener.OnLost, TasksLost{Tasks: owned, Err: err})
}

// start restores a task in the background and gives it to the worker with the fewest, unless it is here already.
func (m *Manager) start(ctx context.Context, id record.TaskID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.mu.tasks[id]; ok || m.mu.closed {
		return
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	o := &owned{id: id, worker: m.leastLoadedLocked(), cancel: cancel, settled: make(chan struct{})}
	m.mu.tasks[id] = o
	before := m.mu.closing[id]
	var here *standby
	if m.cfg.Standbys != nil {
		here = m.cfg.Standbys.take(id, StandbyPromoted)
	}
	m.background.Go(func() {
		defer close(o.settled)
		defer cancel()
		m.bringUp(ctx, o, here, before)
	})
}

// bringUp makes a task ready to run, from what a standby has left open if there was one, and hands it to its worker.
func (m *Manager) bringUp(ctx context.Context, o *owned, here *standby, before <-chan struct{}) {
	var p *replica
	if here != nil {
		p = here.result(ctx) // which has waited for before, if it is not nil
	}
	var restored *Restored
	var err error
	switch {
	case p != nil:
		restored, err = m.cfg.Restorer.promote(ctx, p)
	case before != nil:
		select {
		case <-before:
		case <-ctx.Done():
			return
		}
		fallthrough
	default:
		restored, err = m.cfg.Restorer.Restore(ctx, o.id)
	}
	if err == nil {
		m.mu.Lock()
		o.starting = true
		m.mu.Unlock()
		if err = o.worker.Start(ctx, restored.Task, restored.Positions); err != nil {
			err = errors.Join(err, restored.Task.Close(false))
		}
	}
	if err != nil {
		if ctx.Err() == nil && !errors.Is(err, ErrStopped) {
			m.cfg.OnError(err)
		}
		return
	}
	m.mu.Lock()
	o.running = true
	m.mu.Unlock()
	m.cfg.OnChange()
}

// loadLocked counts the tasks of each worker.
func (m *Manager) loadLocked() map[*Worker]int {
	n := make(map[*Worker]int)
	for _, o := range m.mu.tasks {
		n[o.worker]++
	}
	return n
}

func (m *Manager) leastLoadedLocked() *Worker {
	n, best := m.loadLocked(), m.mu.workers[0]
	for _, w := range m.mu.workers {
		if n[w] < n[best] {
			best = w
		}
	}
	return best
}

func (m *Manager) workers() []*Worker {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.mu.workers
}

// stop takes tasks from their workers for the group. Once the manager is being closed, that is for Close to do.
func (m *Manager) stop(ctx context.Context, ids []record.TaskID, commit bool) {
	select {
	case m.handover <- struct{}{}:
		defer func() { <-m.handover }()
		m.take(ctx, ids, commit)
	case <-m.released:
	}
}

// take takes tasks from their workers, all workers at once, and closes them in the background. commit: what they have
// processed is committed first.
func (m *Manager) take(ctx context.Context, ids []record.TaskID, commit bool) {
	byWorker := make(map[*Worker]map[record.TaskID]bool)
	m.mu.Lock()
	var leaving []*owned
	for _, id := range ids {
		if o := m.mu.tasks[id]; o != nil {
			leaving = append(leaving, o)
			o.cancel()
		}
	}
	m.mu.Unlock()
	for _, o := range leaving {
		<-o.settled
		if byWorker[o.worker] == nil {
			byWorker[o.worker] = make(map[record.TaskID]bool)
		}
		byWorker[o.worker][o.id] = true
	}
	var wait sync.WaitGroup
	var kept sync.Map // the workers that have not answered
	for w, ids := range byWorker {
		wait.Go(func() {
			tasks, err := w.Stop(ctx, ids, commit)
			if err != nil && !errors.Is(err, ErrStopped) {
				m.cfg.Logger.Error("cannot take tasks from their worker", slog.Any("error", err))
				kept.Store(w, true)
			}
			for _, t := range tasks {
				m.close(t)
			}
		})
	}
	wait.Wait()
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, o := range leaving {
		if _, still := kept.Load(o.worker); !still { // else they are for Close to take
			delete(m.mu.tasks, o.id)
		}
	}
}

// close closes a task in the background: flushing to disk takes time that a rebalance does not have.
func (m *Manager) close(t *task.Task) {
	done := make(chan struct{})
	m.mu.Lock()
	m.mu.closing[t.ID()] = done
	m.mu.Unlock()
	m.background.Go(func() {
		defer m.closedNow(t.ID(), done)
		if m.cfg.OnLeave != nil {
			m.cfg.OnLeave(t.ID())
		}
		err := t.Close(true)
		if err == nil {
			err = m.cfg.StateDir.MarkClean(t.ID(), positionOf(t.Stores().Checkpoint()))
		}
		if err != nil {
			m.cfg.Logger.Error("task not closed cleanly: the next start will check its state",
				slog.String("task", t.ID().String()), slog.Any("error", err))
		}
	})
}

// Close commits and closes all tasks and waits for everything in the background. The workers must still run for the
// commit; commit false drops what is not committed. Afterwards nothing starts any more.
//
// released, if there is one, is called as soon as nothing is processed any more: others may then have the tasks, while
// their stores are closed here.
func (m *Manager) Close(ctx context.Context, commit bool, released func()) {
	m.mu.Lock()
	again := m.mu.closed
	m.mu.closed = true
	m.mu.Unlock()
	if again {
		<-m.closed
		return
	}
	close(m.ending)
	defer close(m.closed)
	// The group may be in the middle of a hand-over: it must not begin to close a task when nobody waits any more.
	select {
	case m.handover <- struct{}{}:
	case <-ctx.Done():
	}
	m.follow(ctx, nil, nil)
	m.take(ctx, m.ownedTasks(), commit)
	close(m.released)
	if released != nil {
		released()
	}
	for _, w := range m.workers() {
		select {
		case <-w.done:
			for _, t := range w.Abandon() {
				if m.cfg.OnLeave != nil {
					m.cfg.OnLeave(t.ID())
				}
				if err := t.Close(false); err != nil {
					m.cfg.Logger.Error("closing an abandoned task", slog.String("task", t.ID().String()), slog.Any("error", err))
				}
			}
		default:
		}
	}
	m.background.Wait()
}

// TaskStates counts the member's tasks.
func (m *Manager) TaskStates() (running, restoring int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, o := range m.mu.tasks {
		if o.running {
			running++
		} else {
			restoring++
		}
	}
	return running, restoring
}

// Tasks returns the tasks that the group gave to this member, and the workers of those that run; nil for the others.
func (m *Manager) Tasks() map[record.TaskID]*Worker {
	m.mu.Lock()
	defer m.mu.Unlock()
	tasks := make(map[record.TaskID]*Worker, len(m.mu.tasks))
	for id, o := range m.mu.tasks {
		tasks[id] = nil
		if o.running {
			tasks[id] = o.worker
		}
	}
	return tasks
}

// WorkerOf returns the worker that runs a task; false if none of this member does.
func (m *Manager) WorkerOf(id record.TaskID) (*Worker, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	o := m.mu.tasks[id]
	if o == nil || !o.running {
		return nil, false
	}
	return o.worker, true
}
