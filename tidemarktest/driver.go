package tidemarktest

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/processor/task"
	"github.com/tidemarkio/tidemark/store"
	"github.com/tidemarkio/tidemark/topology"
)

// Driver runs a topology in memory. Make it with [New]. It belongs to one goroutine.
type Driver struct {
	t       testing.TB // nil if made by Open
	cfg     config
	plan    *processor.Plan
	runners []*runner
	globals *globals             // nil without global stores
	logs    map[string]*topicLog // by physical name
	// internal are the repartition topics, which carry the application id.
	internal map[string]bool
	nowMs    int64
	starts   int // of tasks, for the names of their transactions in other systems

	conflict error // what is wrong with a topic that was found
	failed   error // why the driver stopped
	closed   bool
}

// New starts a driver of what b declares. Mistakes in the topology, and errors of processors' Init, fail the test, as
// do later errors of processing. The driver is closed at the end of the test.
func New(t testing.TB, b *topology.Builder, opts ...Option) *Driver {
	t.Helper()
	d, err := Open(b, opts...)
	if err != nil {
		t.Fatalf("tidemarktest: %v", err)
		return nil
	}
	d.t = t
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Errorf("tidemarktest: %v", err)
		}
	})
	return d
}

// Open is [New] for programs that are no tests. The caller closes the driver. Where a driver of New fails its test, one
// of Open panics: use the methods whose names begin with Try.
func Open(b *topology.Builder, opts ...Option) (*Driver, error) {
	plan, err := b.Build()
	if err != nil {
		return nil, err
	}
	d := &Driver{
		cfg: configOf(opts), plan: plan, logs: make(map[string]*topicLog), internal: make(map[string]bool),
	}
	d.nowMs = d.cfg.wallClock.UnixMilli()
	for _, r := range plan.Repartitions {
		d.internal[r.Name] = true
	}
	d.globals = newGlobals(d)
	for _, sub := range subtopologies(plan, d.cfg.singleTask) {
		d.runners = append(d.runners, newRunner(d, sub))
	}
	if err := d.start(); err != nil {
		return nil, errors.Join(err, d.closeStores())
	}
	return d, nil
}

// subtopologies returns those of the plan, or one of all of it.
func subtopologies(plan *processor.Plan, single bool) []*processor.Subtopology {
	if !single {
		return plan.Subtopologies
	}
	all := &processor.Subtopology{Nodes: plan.Nodes, Stores: plan.Stores}
	for _, sub := range plan.Subtopologies {
		all.SourceTopics = append(all.SourceTopics, sub.SourceTopics...)
		all.SinkTopics = append(all.SinkTopics, sub.SinkTopics...)
	}
	return []*processor.Subtopology{all}
}

// physical returns the name of a topic of the plan as it would be on a broker.
func (d *Driver) physical(topic string) string {
	if d.internal[topic] {
		return d.cfg.applicationID + "-" + topic
	}
	return topic
}

// log returns a topic by its physical name. Every topic exists. It is read by who reads a topic of that name.
func (d *Driver) log(topic string) *topicLog {
	l, ok := d.logs[topic]
	if !ok {
		l = &topicLog{topic: topic}
		d.logs[topic] = l
		d.found(l)
	}
	return l
}

// start opens all tasks and processes what waits for them.
func (d *Driver) start() error {
	if d.globals != nil { // before any task
		if err := guard(d.globals.open); err != nil {
			return err
		}
	}
	for _, r := range d.runners {
		if err := guard(r.open); err != nil {
			return err
		}
	}
	for _, r := range d.runners {
		if err := r.deliver(); err != nil { // processors may forward in Init
			return err
		}
	}
	return d.drain()
}

// A topology that feeds itself would never end. It is taken for one if a call processes more than recordsMax records,
// and recordsPerRecordMax for each that was there before (after a crash all may come again).
const (
	recordsMax          = 100_000
	recordsPerRecordMax = 10
)

// drain processes queued records until there are none, in all tasks.
func (d *Driver) drain() error {
	limit := recordsMax
	for _, l := range d.logs {
		limit += recordsPerRecordMax * len(l.records)
	}
	for range limit {
		if slices.ContainsFunc(d.runners, func(r *runner) bool { return r.task.CommitRequested() }) {
			if err := d.commitOnce(); err != nil {
				return err
			}
		}
		r := d.next()
		if r == nil {
			return nil
		}
		if err := r.step(); err != nil {
			return err
		}
	}
	return fmt.Errorf("tidemarktest: still busy after %d records: does the topology write to a topic that it reads?",
		limit)
}

// next returns the task whose next record has the lowest timestamp, nil if no record is left.
func (d *Driver) next() *runner {
	var (
		best   *runner
		bestTS int64
	)
	for _, r := range d.runners {
		ts, ok := r.task.HeadTimestamp()
		if ok && (best == nil || ts < bestTS) {
			best, bestTS = r, ts
		}
	}
	return best
}

// commitOnce seals all tasks and commits their epochs together, as one transaction. What the caches forward is
// delivered but not processed.
func (d *Driver) commitOnce() error {
	epochs := make([]*task.Epoch, len(d.runners))
	for i, r := range d.runners {
		e, err := r.task.Seal()
		if err != nil {
			return err
		}
		epochs[i] = e
	}
	for i, r := range d.runners {
		e := epochs[i]
		if e == nil {
			continue
		}
		for j, b := range e.Batches {
			if e.IsChangelog(j) {
				continue
			}
			if err := r.deliverBatch(b); err != nil {
				return err
			}
		}
		clear(r.seen)
	}
	externals, err := prepareSinks(epochs)
	if err != nil {
		return err
	}
	for i, r := range d.runners {
		if epochs[i] == nil {
			continue
		}
		if err := r.committed(epochs[i]); err != nil {
			return err
		}
	}
	for _, l := range d.logs {
		l.committed = len(l.records)
	}
	return commitSinks(externals)
}

// commitsMax bounds the rounds of a Commit; each reaches the caches of one more sub-topology down.
const commitsMax = 10_000

// Commit commits what was processed, forwards what record caches held back, and processes and commits that in turn.
func (d *Driver) Commit() {
	d.helper()
	d.must(d.TryCommit())
}

// TryCommit is Commit; it returns the error instead of failing the test.
func (d *Driver) TryCommit() error {
	return d.do(func() error {
		for range commitsMax {
			if err := d.commitOnce(); err != nil {
				return err
			}
			if err := d.drain(); err != nil {
				return err
			}
			if !slices.ContainsFunc(d.runners, func(r *runner) bool { return r.task.Dirty() }) {
				return nil
			}
		}
		return fmt.Errorf("tidemarktest: still busy after %d commits: do caches feed each other?", commitsMax)
	})
}

// AdvanceWallClock moves the wall clock in one step, fires each punctuator of wall-clock time that is due once and all
// timers of it that are due, and processes what they cause. The clock counts whole milliseconds.
func (d *Driver) AdvanceWallClock(by time.Duration) {
	d.helper()
	d.must(d.TryAdvanceWallClock(by))
}

// TryAdvanceWallClock is AdvanceWallClock; it returns the error instead of failing the test.
func (d *Driver) TryAdvanceWallClock(by time.Duration) error {
	return d.do(func() error {
		if by < 0 {
			return fmt.Errorf("tidemarktest: the wall clock does not go back by %v", -by)
		}
		d.nowMs += by.Milliseconds()
		for _, r := range d.runners {
			if err := r.task.Punctuate(d.nowMs); err != nil {
				return err
			}
			if err := r.deliver(); err != nil {
				return err
			}
		}
		return d.drain()
	})
}

// Crash ends all tasks without a commit, like kill -9, and starts them again: everything since the last commit is
// undone, stores are restored from their changelogs, global ones from their topics, and the records that were piped
// since are processed once more. So is what a stopped driver failed on. Processors are made anew and not closed before.
// The wall clock goes on.
//
// What an [OutputTopic] has read and was not committed comes again. Stores that were looked up before are of no use any
// more.
func (d *Driver) Crash() {
	d.helper()
	d.must(d.TryCrash())
}

// TryCrash is Crash; it returns an error of the restart instead of failing the test.
func (d *Driver) TryCrash() error {
	if d.closed {
		return errClosed
	}
	d.failed = nil
	return d.do(func() error {
		if err := d.closeStores(); err != nil {
			return err
		}
		for _, l := range d.logs {
			l.dropUncommitted()
		}
		return d.start()
	})
}

// Close closes the processors and ends the driver. A driver of [New] is closed by its test.
func (d *Driver) Close() error {
	if d.closed {
		return nil
	}
	d.closed = true
	errs := make([]error, 0, len(d.runners)+1)
	for _, r := range d.runners {
		errs = append(errs, r.task.Close(false))
	}
	if d.globals != nil {
		errs = append(errs, d.globals.task.Close(false))
	}
	return errors.Join(errs...)
}

// closeStores releases the tasks without a word to their processors.
func (d *Driver) closeStores() error {
	var errs []error
	for _, r := range d.runners {
		if r.task != nil {
			errs = append(errs, r.task.DisconnectSinks(), r.task.Stores().Close(false))
		}
	}
	if d.globals != nil && d.globals.task != nil {
		errs = append(errs, d.globals.task.Stores().Close(false))
	}
	return errors.Join(errs...)
}

// StreamTime returns the highest timestamp that any task has processed, in milliseconds; -1 before the first record.
func (d *Driver) StreamTime() int64 {
	highest := int64(-1)
	for _, r := range d.runners {
		highest = max(highest, r.task.StreamTime())
	}
	return highest
}

// WallClock returns the time of the wall clock.
func (d *Driver) WallClock() time.Time { return time.UnixMilli(d.nowMs) }

// Dropped returns how many records operators have skipped since the start or the last crash, as for a null key before
// an aggregation.
func (d *Driver) Dropped() int {
	n := uint64(0)
	for _, r := range d.runners {
		n += r.task.Metrics().Dropped
	}
	if d.globals != nil {
		n += d.globals.task.Metrics().Dropped
	}
	return int(n)
}

// Topics returns the names of all topics that have records, in order; those of internal topics carry the application
// id.
func (d *Driver) Topics() []string {
	var topics []string
	for _, topic := range slices.Sorted(maps.Keys(d.logs)) {
		if len(d.logs[topic].records) > 0 {
			topics = append(topics, topic)
		}
	}
	return topics
}

// Store returns a store of the topology with its type, as in Store[*store.KeyValue[string, int64]](d, "counts"). It
// fails the test if there is none of that name, or one of another type. The store holds until the next [Driver.Crash];
// uncommitted writes are in it. A global store is a *store.Global[K, V].
func Store[S store.Store](d *Driver, name string) S {
	d.helper()
	s, err := TryStore[S](d, name)
	d.must(err)
	return s
}

// TryStore is [Store]; it returns the error instead of failing the test.
func TryStore[S store.Store](d *Driver, name string) (S, error) {
	var zero S
	if d.closed {
		return zero, errClosed
	}
	s, err := d.store(name)
	if err != nil {
		return zero, err
	}
	typed, ok := s.(S)
	if !ok {
		return zero, fmt.Errorf("tidemarktest: store %q is a %T, not a %T", name, s, zero)
	}
	return typed, nil
}

// store finds a store of a task, or makes a view of a global one.
func (d *Driver) store(name string) (store.Store, error) {
	for _, r := range d.runners {
		if s, ok := r.task.Stores().Store(name); ok {
			return s, nil
		}
	}
	if s, ok, err := d.globals.view(name); ok || err != nil {
		return s, err
	}
	var names []string
	for _, s := range d.plan.Stores {
		names = append(names, s.Name)
	}
	for _, g := range d.plan.Globals {
		names = append(names, g.Store.Name)
	}
	return nil, fmt.Errorf("tidemarktest: there is no store %q, only %q", name, names)
}

// do runs a step of a driver that has not stopped; an error stops it.
func (d *Driver) do(step func() error) error {
	switch {
	case d.closed:
		return errClosed
	case d.failed != nil:
		return fmt.Errorf("tidemarktest: the driver has stopped (Crash starts it again): %w", d.failed)
	}
	if d.failed = d.conflict; d.failed == nil {
		d.failed = step()
	}
	if d.failed == nil {
		d.failed = d.conflict
	}
	return d.failed
}

func (d *Driver) helper() {
	if d.t != nil {
		d.t.Helper()
	}
}

// must fails the test.
func (d *Driver) must(err error) {
	if err == nil {
		return
	}
	if d.t == nil {
		panic(err)
	}
	d.t.Helper()
	d.t.Fatal(err)
}
