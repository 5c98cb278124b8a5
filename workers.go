package tidemark

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/tidemarkio/tidemark/checkpointing"
	"github.com/tidemarkio/tidemark/eos"
	"github.com/tidemarkio/tidemark/internal/kafka"
	"github.com/tidemarkio/tidemark/processor/worker"
)

// ErrLastWorker says that an App has one worker left, which stays: to stop processing there is [App.Pause].
var ErrLastWorker = errors.New("tidemark: the last worker cannot be removed")

// WorkersError says that the context of [App.AddWorker] or [App.RemoveWorker] ended before all tasks had moved that
// were to move, and what that has left. Nothing else has happened to the tasks: each goes on at one of the workers.
type WorkersError struct {
	// Op is "add" or "remove".
	Op string
	// Workers is how many there are now.
	Workers int
	// Moved is how many tasks have moved between workers.
	Moved int
	// Err is that of the context.
	Err error

	worker int // its index, noWorker: there is none
}

const noWorker = -1

func (e *WorkersError) Error() string {
	var left string
	switch {
	case e.Op == "remove":
		left = fmt.Sprintf("worker %d stays, with the tasks that it still has: call RemoveWorker again", e.worker)
	case e.worker == noWorker:
		left = "none was added: call AddWorker again"
	default:
		left = fmt.Sprintf("worker %d runs, and the other tasks stay where they are: it gets those that come, and its share "+
			"when AddWorker is called the next time", e.worker)
	}
	return fmt.Sprintf("tidemark: %s a worker: %v after %d tasks had moved; %d workers: %s", e.Op, e.Err, e.Moved,
		e.Workers, left)
}

// Unwrap returns the error of the context.
func (e *WorkersError) Unwrap() error { return e.Err }

// AddWorker starts one worker more (Kafka Streams' addStreamThread, KIP-663) and returns how many there are. Tasks of
// this instance move to it without being closed; with more workers the instance gets a larger share of the group's
// tasks. The number holds over restarts after errors. Before Run, and while the App waits to start again, it is only
// noted.
//
// A task moves between two commits, when its worker comes by. *[WorkersError]: ctx ended before; the number tells
// whether the worker is there.
func (a *App) AddWorker(ctx context.Context) (workers int, err error) {
	return a.changeWorkers(ctx, 1, (*incarnation).addThread)
}

// RemoveWorker ends one worker (removeStreamThread) after its tasks have moved to the others, and returns how many are
// left. Of the last one the error is [ErrLastWorker]. *[WorkersError]: ctx ended before all tasks had moved, and the
// worker stays.
func (a *App) RemoveWorker(ctx context.Context) (workers int, err error) {
	return a.changeWorkers(ctx, -1, (*incarnation).removeThread)
}

func (a *App) changeWorkers(
	ctx context.Context, by int, change func(in *incarnation, ctx context.Context) error,
) (int, error) {
	n := int(a.workers.n.Load())
	at := n - 1 // that would be removed
	if by > 0 {
		at = noWorker
	}
	select {
	case a.workers.changing <- struct{}{}:
		defer func() { <-a.workers.changing }()
	case <-ctx.Done():
		return n, &WorkersError{Op: opOf(by), Workers: n, Err: ctx.Err(), worker: at}
	}
	n = int(a.workers.n.Load())
	switch {
	case n+by < 1:
		return n, ErrLastWorker
	case n+by > workersMax:
		return n, &ConfigError{Field: "Workers", Value: n + by, Hint: fmt.Sprintf("want 1 to %d", workersMax)}
	}
	a.mu.Lock()
	in := a.mu.run
	a.mu.Unlock()
	a.workers.n.Add(int64(by)) // also for what starts meanwhile
	if in == nil {
		return n + by, nil
	}
	err := change(in, ctx)
	gaveUp, _ := errors.AsType[*WorkersError](err)
	switch {
	case gaveUp != nil && by > 0 && gaveUp.worker != noWorker: // it is there
	case err != nil:
		a.workers.n.Add(int64(-by))
		by = 0
	}
	if gaveUp != nil {
		gaveUp.Workers = n + by
	}
	if by != 0 {
		in.group.Rejoin("number of workers changed")
	}
	return n + by, err
}

func opOf(by int) string {
	if by > 0 {
		return "add"
	}
	return "remove"
}

// thread is a worker with what is its alone.
type thread struct {
	*worker.Worker

	index    int
	producer *kafka.Producer
	fetcher  *kafka.Fetcher
	stop     context.CancelFunc // nil until it runs
	done     chan struct{}
}

// threads of an incarnation. They come and go by [App.AddWorker] and [App.RemoveWorker].
type threads struct {
	mu   sync.Mutex
	list []*thread // replaced whole
	// background is what they run under, once they do.
	background context.Context //nolint:containedctx // of the incarnation's run
	ended      bool            // none may start any more
}

// all returns the threads, in the order of their indexes.
func (t *threads) all() []*thread {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.list
}

// workers returns their workers.
func (t *threads) workers() []*worker.Worker {
	list := t.all()
	workers := make([]*worker.Worker, len(list))
	for i, th := range list {
		workers[i] = th.Worker
	}
	return workers
}

func (t *threads) change(fn func(list []*thread) []*thread) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.list = fn(slices.Clone(t.list))
}

// newThread makes a worker with the least index that is free: it ends what an earlier one of that index has left open.
func (in *incarnation) newThread() (*thread, error) {
	list := in.threads.all()
	index := 0
	for slices.ContainsFunc(list, func(t *thread) bool { return t.index == index }) {
		index++
	}
	t := &thread{index: index, done: make(chan struct{})}
	var err error
	if t.producer, err = in.newProducer(index); err != nil {
		return nil, err
	}
	t.fetcher = kafka.NewFetcher(in.client, in.fetcherConfig())
	cfg := &in.app.cfg
	var onCut func(checkpointing.Cut)
	var onDecline func(checkpointing.Decline)
	if m := in.checkpoints; m != nil {
		onCut, onDecline = func(c checkpointing.Cut) { m.post(c) }, func(d checkpointing.Decline) { m.post(d) }
	}
	t.Worker = worker.New(worker.Config{
		OnCut: onCut, OnDecline: onDecline,
		Index: index, Guarantee: cfg.ProcessingGuarantee, CommitInterval: cfg.CommitInterval,
		UncommittedBytesMax: in.app.uncommittedShare, RetryTimeout: cfg.RetryTimeout,
		Fetcher: t.fetcher, Producer: t.producer, Admin: in.admin, Member: in.group.Member, ResetOffset: in.resetOffset,
		OnProductionError: cfg.OnProductionError, Pauses: &in.app.pauses, Clock: in.app.clock, Logger: cfg.Logger,
	})
	in.threads.change(func(list []*thread) []*thread {
		list = append(list, t)
		slices.SortFunc(list, func(a, b *thread) int { return a.index - b.index })
		return list
	})
	return t, nil
}

// uncommittedShare is what one of the workers may hold uncommitted.
func (a *App) uncommittedShare() int {
	cache := a.cfg.CacheBytesMax
	if cache < 0 {
		cache = defaultCacheBytesMax
	}
	return int(cache / max(a.workers.n.Load(), 1))
}

func (in *incarnation) newProducer(index int) (*kafka.Producer, error) {
	cfg := &in.app.cfg
	id := ""
	if cfg.ProcessingGuarantee == eos.ExactlyOnceV2 {
		id = transactionalID(cfg.ApplicationID, in.dir.ProcessID(), index)
	}
	codec, err := kafka.ParseCompression(cfg.Compression)
	if err != nil {
		return nil, err
	}
	delivery := min(cfg.RetryTimeout, 2*time.Minute)
	return kafka.NewProducer(in.client, kafka.ProducerConfig{
		TransactionalID: id, GroupID: cfg.ApplicationID, TransactionTimeout: cfg.TransactionTimeout,
		Compression: codec, MaxRequestBytes: cfg.MaxRequestBytes,
		// A single attempt must not outlast what all attempts together may take.
		DeliveryTimeout: delivery, RequestTimeout: min(delivery, 30*time.Second),
		Suspects: in.written, Logger: cfg.Logger,
	})
}

// runThread starts the worker's goroutine.
func (in *incarnation) runThread(t *thread) error {
	in.threads.mu.Lock()
	defer in.threads.mu.Unlock()
	if in.threads.ended {
		return worker.ErrStopped
	}
	var ctx context.Context
	ctx, t.stop = context.WithCancel(in.threads.background)
	in.running.Go(func() {
		defer close(t.done)
		if err := t.Run(ctx); err != nil {
			in.fail(err)
		}
	})
	return nil
}

// runThreads starts all workers, as many as there are to be by now.
func (in *incarnation) runThreads(background context.Context) error {
	in.app.workers.changing <- struct{}{} // whoever has it changes a number, since nothing runs yet
	defer func() { <-in.app.workers.changing }()
	in.threads.background = background //nolint:fatcontext // that of the incarnation
	for _, t := range in.threads.all() {
		if err := in.runThread(t); err != nil { //nolint:contextcheck // under background
			return err
		}
	}
	for n := int(in.app.workers.n.Load()); len(in.threads.all()) != n; {
		change := in.addThread
		if len(in.threads.all()) > n {
			change = in.removeThread
		}
		if err := change(background); err != nil {
			return err
		}
	}
	in.app.setIncarnation(in) // from now on they are changed here
	return nil
}

// endThreads keeps threads from starting while the incarnation ends.
func (in *incarnation) endThreads() {
	in.threads.mu.Lock()
	defer in.threads.mu.Unlock()
	in.threads.ended = true
}

// addThread starts a worker and moves tasks to it.
func (in *incarnation) addThread(ctx context.Context) error {
	t, err := in.newThread() //nolint:contextcheck // a fetcher lives until it is closed
	if err != nil {
		return err
	}
	if err := t.producer.Init(ctx); err != nil {
		if ctx.Err() != nil {
			return errors.Join(&WorkersError{Op: opOf(1), Err: ctx.Err(), worker: noWorker}, in.discard(t))
		}
		return errors.Join(fmt.Errorf("tidemark: initialise the producer of worker %d: %w", t.index, err), in.discard(t))
	}
	if err := in.runThread(t); err != nil { //nolint:contextcheck // it outlives the call
		return errors.Join(err, in.discard(t))
	}
	err = in.shifted(in.manager.AddWorker(ctx, t.Worker), opOf(1), t)
	if gaveUp, ok := errors.AsType[*WorkersError](err); ok && gaveUp.worker == noWorker {
		t.stop()
		<-t.done
		return errors.Join(err, in.discard(t))
	}
	return err
}

// removeThread moves the tasks of the worker with the highest index to the others, and ends it.
func (in *incarnation) removeThread(ctx context.Context) error {
	list := in.threads.all()
	t := list[len(list)-1]
	if err := in.shifted(in.manager.RemoveWorker(ctx, t.Worker), opOf(-1), t); err != nil {
		return err
	}
	t.stop()
	<-t.done
	return in.discard(t)
}

// shifted stops the incarnation if tasks did not arrive where they were to go: the next one has them all. If there was
// no time to move them they are where they were.
func (in *incarnation) shifted(err error, op string, t *thread) error {
	if err == nil {
		return nil
	}
	if gaveUp, ok := errors.AsType[*worker.GaveUpError](err); ok {
		e := &WorkersError{Op: op, Moved: gaveUp.Moved, Err: gaveUp.Err, worker: t.index}
		if !gaveUp.Kept {
			e.worker = noWorker
		}
		return e
	}
	err = fmt.Errorf("tidemark: move tasks between workers: %w", err)
	in.fail(err)
	return err
}

// discard forgets a thread that does not run.
func (in *incarnation) discard(t *thread) error {
	in.threads.change(func(list []*thread) []*thread {
		return slices.DeleteFunc(list, func(other *thread) bool { return other == t })
	})
	return errors.Join(t.fetcher.Close(), t.producer.Close())
}
