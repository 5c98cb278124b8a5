package checkpointing

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"sync"
	"time"

	"github.com/tidemarkio/tidemark/checkpointing/storage"
	"github.com/tidemarkio/tidemark/internal/clock"
	"github.com/tidemarkio/tidemark/record"
)

// ExporterConfig is what an Exporter is made from.
type ExporterConfig struct {
	// Config is that of the application, with defaults.
	Config Config
	Logger *slog.Logger
	Clock  clock.Clock
	// ForgetChanges says that no later snapshot of a task will be asked for what changed since a version below upTo:
	// [store.Set.ForgetChanges]. It is called from any goroutine, with no lock held. May be nil.
	ForgetChanges func(task record.TaskID, upTo uint64)
	// InFlight reads the records of a range, which a savepoint keeps copies of: those of the task Range.From alone,
	// without barriers, with the headers that an operator sees. May be nil if nothing is ever in flight when a savepoint
	// is made.
	InFlight func(ctx context.Context, r Range) iter.Seq2[record.Raw, error]
}

// Exporter stores the snapshots of an instance's tasks, in the background.
//
//	Export ──► queue ──► at most UploadParallel: iterate ──► snappy ──► cipher ──► SHA-256 ──► rate limit ──► storage
//	                          │ full, or what changed since the base
//	                          └──► done(TaskSnapshot)         Beside: a full one, for later checkpoints to build on
//
// It remembers which files the state of a task consisted of at each checkpoint that a later one may build on. Nothing
// blocks its callers, however slow or broken the storage is. Safe for concurrent use.
type Exporter struct {
	config      ExporterConfig
	checkpoints *storage.RateLimited
	savepoints  *storage.RateLimited
	cipher      *storage.Cipher // nil: nothing is encrypted
	slots       chan struct{}
	beside      chan struct{} // full ones beside increments: one at a time
	end         context.CancelCauseFunc
	running     sync.WaitGroup
	// context makes that of an export: it ends when the exporter is closed.
	context func() (context.Context, context.CancelCauseFunc)

	mu struct {
		sync.Mutex
		closed bool
		tasks  map[record.TaskID]*taskFiles
		jobs   map[*job]struct{}
		// fruitless counts the checkpoints in a row that were aborted although something was stored for them.
		fruitless int
	}
}

// job is one cut on its way.
type job struct {
	id     int64
	task   record.TaskID
	cancel context.CancelCauseFunc
	done   chan struct{}
}

// ErrMoved says that a snapshot was not stored because its task has left the instance.
var ErrMoved = errors.New("the task has left this instance")

// fruitlessMax is after how many fruitless checkpoints the next one builds on nothing: perhaps a file that they build
// on is gone, and none that does could ever complete.
const fruitlessMax = 2

// Why exports end early.
var (
	errAborted  = errors.New("the checkpoint was aborted")
	errClosed   = errors.New("the instance closes")
	errTimedOut = errors.New("the checkpoint has timed out")
)

// NewExporter makes an exporter, which must be closed.
func NewExporter(c ExporterConfig) (*Exporter, error) {
	if !c.Config.Enabled() {
		return nil, errors.New("checkpointing: an exporter needs a Storage")
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	e := &Exporter{
		config: c, slots: make(chan struct{}, max(1, c.Config.UploadParallel)), beside: make(chan struct{}, 1),
	}
	if len(c.Config.EncryptionKey) > 0 {
		var err error
		if e.cipher, err = c.Config.Cipher(); err != nil {
			return nil, err
		}
	}
	if s := c.Config.Storage; s != nil {
		e.checkpoints = storage.RateLimit(s, c.Config.UploadBytesPerSecond)
	}
	if s := c.Config.SavepointStorage; s != nil {
		e.savepoints = storage.RateLimit(s, c.Config.UploadBytesPerSecond)
	}
	ctx, end := context.WithCancelCause(context.Background())
	e.end = end
	e.context = func() (context.Context, context.CancelCauseFunc) { return context.WithCancelCause(ctx) }
	e.mu.tasks, e.mu.jobs = make(map[record.TaskID]*taskFiles), make(map[*job]struct{})
	return e, nil
}

// Export stores a cut and then calls done, from another goroutine, with what the manifest needs to know, or with the
// reason why there is nothing. It returns at once. The snapshot of the cut is released in every case.
func (e *Exporter) Export(t Trigger, cut Cut, done func(TaskSnapshot, error)) {
	ctx, cancel := e.context()
	j := &job{id: t.ID, task: cut.Task, cancel: cancel, done: make(chan struct{})}
	e.mu.Lock()
	closed := e.mu.closed
	if !closed {
		e.mu.jobs[j] = struct{}{}
		e.running.Add(1)
	}
	e.mu.Unlock()
	if closed {
		release(cut)
		cancel(errClosed)
		done(TaskSnapshot{}, e.fail(t, cut, errClosed))
		return
	}
	go func() {
		defer e.running.Done()
		defer e.remove(j)
		defer cancel(nil)
		defer release(cut)
		x := &export{e: e, trigger: t, cut: cut, began: e.config.Clock.Now()}
		snapshot, err := x.run(ctx)
		if err != nil {
			done(TaskSnapshot{}, e.fail(t, cut, err))
			return
		}
		done(snapshot, nil)
		x.runBeside(ctx)
	}()
}

func release(c Cut) {
	if c.Snapshot != nil {
		c.Snapshot.Release()
	}
}

func (e *Exporter) fail(t Trigger, cut Cut, err error) error {
	return fmt.Errorf("checkpointing: store the snapshot of task %s for checkpoint %d: %w", cut.Task, t.ID, err)
}

func (e *Exporter) remove(j *job) {
	e.mu.Lock()
	delete(e.mu.jobs, j)
	e.mu.Unlock()
	close(j.done)
}

// Completed says that a checkpoint's manifest is published: later ones may build on its files, and hardly any on those
// before it.
func (e *Exporter) Completed(id int64) {
	type change struct {
		task record.TaskID
		upTo uint64
	}
	var changes []change
	e.mu.Lock()
	e.mu.fruitless = 0
	for task, files := range e.mu.tasks {
		if upTo, ok := files.completed(id); ok {
			changes = append(changes, change{task, upTo})
		}
	}
	e.mu.Unlock()
	if e.config.ForgetChanges == nil {
		return
	}
	for _, c := range changes {
		e.config.ForgetChanges(c.task, c.upTo)
	}
}

// Aborted ends the exports of a checkpoint, and forgets what it has stored.
func (e *Exporter) Aborted(id int64) {
	e.cancel(errAborted, func(j *job) bool { return j.id == id })
	e.mu.Lock()
	defer e.mu.Unlock()
	stored := false
	for _, files := range e.mu.tasks {
		stored = files.aborted(id) || stored
	}
	if stored {
		e.mu.fruitless++
	}
}

// Forget ends the exports of a task, waits until they have released their snapshots, and forgets its files: call it
// before the task's stores are closed. Versions mean nothing to the stores that the task has next.
func (e *Exporter) Forget(task record.TaskID) {
	for _, j := range e.cancel(ErrMoved, func(j *job) bool { return j.task == task }) {
		<-j.done
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.mu.tasks, task)
}

// SetUploadBytesPerSecond changes the limit; 0 is none.
func (e *Exporter) SetUploadBytesPerSecond(n int64) {
	for _, s := range []*storage.RateLimited{e.checkpoints, e.savepoints} {
		if s != nil {
			s.SetBytesPerSecond(n)
		}
	}
}

// Close ends all exports and waits for them. Nothing is exported afterwards.
func (e *Exporter) Close() {
	e.mu.Lock()
	e.mu.closed = true
	e.mu.Unlock()
	e.end(errClosed)
	e.running.Wait()
}

// cancel ends jobs, and returns them.
func (e *Exporter) cancel(why error, which func(*job) bool) (ended []*job) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for j := range e.mu.jobs {
		if which(j) {
			j.cancel(why)
			ended = append(ended, j)
		}
	}
	return ended
}

// files calls do with what is remembered of a task, under the lock.
func (e *Exporter) files(task record.TaskID, do func(*taskFiles)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	files := e.mu.tasks[task]
	if files == nil {
		files = new(taskFiles)
		e.mu.tasks[task] = files
	}
	do(files)
}

// slot waits for a place among those that store something.
func slot(ctx context.Context, slots chan struct{}) (leave func(), err error) {
	select {
	case slots <- struct{}{}:
		return func() { <-slots }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// timeout is how long an export may take. It counts from its own beginning, since the trigger's time is that of another
// clock: usually [Exporter.Aborted] comes before.
func (e *Exporter) timeout(t Trigger) time.Duration {
	if limit := t.Timeout(); limit > 0 {
		return limit
	}
	return e.config.Config.Timeout
}
