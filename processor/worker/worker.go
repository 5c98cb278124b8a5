package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/tidemarkio/tidemark/checkpointing"
	"github.com/tidemarkio/tidemark/eos"
	"github.com/tidemarkio/tidemark/internal/clock"
	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/processor/task"
	"github.com/tidemarkio/tidemark/record"
)

// Config is what a worker is made from.
type Config struct {
	Index     int
	Guarantee eos.Guarantee
	// CommitInterval is the longest time between two commits while there is something to commit.
	CommitInterval time.Duration
	// UncommittedBytesMax makes the worker commit early, and stop at twice the value while a commit is in flight. It may
	// change, with the number of workers.
	UncommittedBytesMax func() int
	// RetryTimeout bounds how long failed commits are tried again before the worker gives up (task.timeout.ms).
	RetryTimeout time.Duration

	Fetcher  Fetcher
	Producer eos.Producer
	Admin    Admin
	// Member returns the identity to commit offsets in; Group.Member.
	Member func() eos.Member
	// ResetOffset resolves where an input continues whose position is gone.
	ResetOffset func(ctx context.Context, tp record.TopicPartition) (int64, error)
	// OnProductionError decides about records that the broker refuses.
	OnProductionError processor.Handler
	// OnCut gets a task's part of a checkpoint once it is complete, and releases its snapshot. OnDecline hears of
	// checkpoints that a task cannot take part in. Both are called on the worker goroutine and must not wait. Nil: nobody
	// asks for checkpoints.
	OnCut     func(checkpointing.Cut)
	OnDecline func(checkpointing.Decline)

	// Pauses says which tasks stand still. Nil: none does.
	Pauses *Pauses

	Clock  clock.Clock
	Logger *slog.Logger
}

// Worker runs tasks on one goroutine with one producer (num.stream.threads). Tasks come and go by messages; nothing of
// a task is touched by another goroutine while the worker has it.
type Worker struct {
	cfg       Config
	commands  chan command
	committer *committer
	done      chan struct{}
	// adopted are tasks that other workers have handed over and that this one has not seen yet.
	adopted adopted
	// view is what the worker shows while it does not answer.
	view view

	// Owned by the worker goroutine.
	tasks    []*running
	byInput  map[record.TopicPartition]*running
	inflight *transaction // nil: no commit on its way
	sealedAt time.Time    // when the last epoch was sealed
	// triggered are the checkpoints in progress, for tasks that come later.
	triggered []checkpointing.Barrier
	// ended are the last checkpoints that are over: a task that comes may read barriers of them.
	ended []int64
	// unsettled are transactions of other systems that the next commit has to end first.
	unsettled []unsettled
	backoff   backoff
	stats     Stats
	failed    error // what a command met that ends the worker
	// handovers are under way, the oldest first.
	handovers []*handover
}

// running is a task in the hands of a worker.
type running struct {
	task *task.Task
	// committed are the input positions of the last commit: where to rewind to.
	committed map[record.TopicPartition]task.Position
	// leaving: it is being handed over, and processes nothing more.
	leaving bool
}

type command struct {
	run  func(ctx context.Context) error
	done chan error
}

// New makes a worker; Run starts it.
func New(cfg Config) *Worker {
	return &Worker{
		cfg:       cfg,
		commands:  make(chan command),
		committer: newCommitter(cfg),
		done:      make(chan struct{}),
		adopted:   adopted{wake: make(chan struct{}, 1)},
		byInput:   make(map[record.TopicPartition]*running),
		backoff:   backoff{limit: cfg.RetryTimeout},
	}
}

// ErrStopped is returned for commands to a worker that has ended.
var ErrStopped = errors.New("worker: stopped")

// do runs fn on the worker goroutine and waits for it.
func (w *Worker) do(ctx context.Context, fn func(ctx context.Context) error) error {
	c := command{run: fn, done: make(chan error, 1)}
	select {
	case w.commands <- c:
	case <-w.done:
		return ErrStopped
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-c.done:
		return err
	case <-w.done:
		return ErrStopped
	}
}

// Start hands a restored task to the worker, which fetches its inputs from the given positions.
func (w *Worker) Start(ctx context.Context, t *task.Task, positions map[record.TopicPartition]task.Position) error {
	return w.do(ctx, func(context.Context) error {
		w.begins(&running{task: t, committed: positions})
		return nil
	})
}

// begins makes a task one of the worker's.
func (w *Worker) begins(r *running) {
	w.tasks = append(w.tasks, r)
	for tp, p := range r.committed {
		w.byInput[tp] = r
		w.cfg.Fetcher.Add(tp, p.Offset)
	}
	w.join(r)
	w.view.stale()
	w.cfg.Logger.Info("task running", slog.String("task", r.task.ID().String()), slog.Int("worker", w.cfg.Index))
}

// remove forgets a task and stops fetching for it.
func (w *Worker) remove(r *running) {
	for i, other := range w.tasks {
		if other == r {
			w.tasks = append(w.tasks[:i], w.tasks[i+1:]...)
			break
		}
	}
	for _, tp := range r.task.Inputs() {
		delete(w.byInput, tp)
		w.cfg.Fetcher.Remove(tp)
	}
	w.view.stale()
	// What it has prepared is for its next owner to end.
	w.unsettled = slices.DeleteFunc(w.unsettled, func(u unsettled) bool { return u.Name.Task == r.task.ID() })
	w.release(r)
}

// rollback drops what a task has not committed and fetches its inputs again from the last commit.
func (w *Worker) rollback(r *running) error {
	if err := r.task.Rollback(r.committed); err != nil {
		return err
	}
	w.release(r)
	for tp, p := range r.committed {
		w.cfg.Fetcher.Add(tp, p.Offset)
	}
	return nil
}

// Abandon takes all tasks of a worker whose Run has ended. Their uncommitted data is of no use any more.
func (w *Worker) Abandon() []*task.Task {
	var tasks []*task.Task
	w.adopted.mu.Lock()
	defer w.adopted.mu.Unlock()
	for _, h := range w.adopted.list {
		tasks = append(tasks, h.stopped...)
	}
	w.adopted.list = nil
	for _, r := range w.tasks {
		tasks = append(tasks, r.task)
	}
	w.tasks = nil
	return tasks
}

// EndTransaction makes sure that what the worker's producer sent is decided in every partition, by initialising it when
// no commit is under way. For tasks of this instance that wait for a transaction of this instance: fencing the worker
// by another producer would cost all of its tasks a restart.
func (w *Worker) EndTransaction(ctx context.Context) error { return w.committer.settleLast(ctx) }

func (w *Worker) name() string { return fmt.Sprintf("worker %d", w.cfg.Index) }
