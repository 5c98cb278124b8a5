package task

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"runtime/debug"
	"slices"
	"time"

	"github.com/tidemarkio/tidemark/eos"
	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/store"
)

// Config is what a task is made from.
type Config struct {
	ID            record.TaskID
	ApplicationID string
	Subtopology   *processor.Subtopology
	// Inputs are the topic partitions the task reads, under their physical names.
	Inputs []record.TopicPartition
	// Physical maps a topic of the plan to its name on the broker (internal topics carry the application id).
	Physical func(topic string) string
	// Partitions returns the number of partitions of a physical topic that the task writes, 0 if it does not exist. Its
	// error says that nobody knows.
	Partitions func(topic string) (int32, error)
	// Changelog returns the physical changelog topic of a store.
	Changelog func(storeName string) string
	Handlers  Handlers
	// TimestampExtractor serves the sources that have none of their own, but not those of repartition topics; nil is
	// processor.FailOnInvalidTimestamp.
	TimestampExtractor processor.TimestampExtractor
	// MaxTaskIdle says what to do while an input is empty, see idle.go.
	MaxTaskIdle time.Duration
	Logger      *slog.Logger

	// Global makes a view of a global store for this task; false if there is none of that name. Nil: there are none.
	Global func(storeName string) (store.Store, bool, error)

	// Channels are the repartition topics around the task. Nil: checkpoints are off, and records do not name their task.
	Channels *Channels
	// AlignmentBufferBytes bounds what is held back while barriers are awaited; 0: nothing does.
	AlignmentBufferBytes int64

	// Stores configures the store set; ID, specs and context are filled in by Open.
	Stores store.SetConfig
}

// Handlers decide about records that fail. Nil means processor.Fail().
type Handlers struct {
	Deserialization processor.Handler
	Processing      processor.Handler
	Production      processor.Handler
}

// Task runs one sub-topology on one partition.
type Task struct {
	cfg    Config
	stores *store.Set
	meta   *processor.RecordMetadata

	nodes   []instance
	queues  []*queue
	byInput map[record.TopicPartition]*queue
	outputs map[string]*output
	// externals are the sinks outside of Kafka.
	externals []*external

	alignment *alignment

	empty      int // queues, as of the last pick
	streamTime int64
	wallClock  int64
	// times are the two above, for the stores.
	times  store.Times
	expiry expiry
	// idleDeadline is until when Process waits for an empty input, neverIdle if it waits for none.
	idleDeadline int64
	running      string // node whose user code runs, for panics
	punctuators  punctuators

	epoch record.Epoch // of the active, unsealed epoch
	// changelog is, by store, the offset behind its last committed changelog record.
	changelog map[string]int64
	sealed    *Epoch // in flight, nil if none
	spare     []*record.Batch

	// Invariant: dirty is true if anything happened since the last Seal that a commit must carry.
	dirty           bool
	commitRequested bool
	metrics         Metrics
	released        []any
}

// Metrics are the task's counters since it was opened.
type Metrics struct {
	Processed uint64 // input records
	Dropped   uint64 // records that operators skipped
	Failed    uint64 // records that an error handler let pass
	// Enforced counts records that were processed while an input was empty (enforced-processing).
	Enforced uint64
}

type instance struct {
	node *processor.Node
	impl any
}

// Open opens the stores of the task and builds its nodes; the stores are not restored yet.
func Open(ctx context.Context, cfg Config) (*Task, error) {
	t := &Task{
		cfg:        cfg,
		meta:       &processor.RecordMetadata{},
		byInput:    make(map[record.TopicPartition]*queue),
		outputs:    make(map[string]*output),
		streamTime: -1,
		times:      store.Times{Stream: -1},

		idleDeadline: neverIdle,
	}
	sc := cfg.Stores
	sc.TaskID, sc.Context, sc.Times = cfg.ID, &t.meta.Context, &t.times
	t.cfg.Stores.Lazy = nil // the set's, until it is loaded
	for _, s := range cfg.Subtopology.Stores {
		sc.Specs = append(sc.Specs, s.Spec)
	}
	set, err := store.OpenSet(ctx, sc)
	if err != nil {
		return nil, fmt.Errorf("task %s: %w", cfg.ID, err)
	}
	t.stores, t.expiry = set, newExpiry(set.Expiring())
	if err := t.build(); err != nil {
		return nil, errors.Join(err, set.Close(false))
	}
	return t, nil
}

// build makes the nodes and joins parents to children.
func (t *Task) build() error {
	impls := make(map[string]any, len(t.cfg.Subtopology.Nodes))
	for _, n := range t.cfg.Subtopology.Nodes {
		impl, err := n.New(t)
		if err != nil {
			return fmt.Errorf("task %s: make node %q (declared at %s): %w", t.cfg.ID, n.Name, n.Position, err)
		}
		impls[n.Name] = impl
		t.nodes = append(t.nodes, instance{node: n, impl: impl})
	}
	for _, in := range t.nodes {
		for _, child := range in.node.Children {
			a, ok := in.impl.(processor.Attacher)
			if !ok {
				return fmt.Errorf("task %s: node %q forwards nothing, but has child %q", t.cfg.ID, in.node.Name, child)
			}
			if err := a.Attach(child, impls[child]); err != nil {
				return fmt.Errorf("task %s: %w", t.cfg.ID, err)
			}
		}
	}
	if err := t.collectExternals(); err != nil {
		return err
	}
	return t.buildQueues()
}

// buildQueues gives each input partition its queue and source node.
func (t *Task) buildQueues() error {
	sources := make(map[string]instance)
	for _, in := range t.nodes {
		if in.node.Kind != processor.SourceNode {
			continue
		}
		for _, topic := range in.node.Topics {
			sources[t.cfg.Physical(topic)] = in
		}
	}
	for _, tp := range t.cfg.Inputs {
		src, ok := sources[tp.Topic]
		if !ok {
			return fmt.Errorf("task %s: no source reads %s", t.cfg.ID, tp)
		}
		if _, err := t.addQueue(tp, src); err != nil {
			return err
		}
	}
	t.alignment = newAlignment(t)
	return nil
}

// Position is where an input continues, and the partition time there.
type Position struct {
	Offset     int64
	StreamTime int64 // -1: nothing processed yet
	// Ahead is what is processed beyond Offset, nil if nothing is. See eos.Ahead.
	Ahead *eos.Ahead
	// Checkpoint is the newest checkpoint that the task has begun, 0 if there was none.
	Checkpoint int64
}

// Init starts processing: the stores are restored up to these changelog positions, and inputs continue at theirs. epoch
// is the last committed.
func (t *Task) Init(
	positions map[record.TopicPartition]Position, changelog map[string]int64, epoch record.Epoch, wallClock int64,
) error {
	t.epoch, t.wallClock, t.changelog = epoch+1, wallClock, make(map[string]int64)
	maps.Copy(t.changelog, changelog)
	for _, q := range t.queues {
		p, ok := positions[q.tp]
		if !ok {
			return fmt.Errorf("task %s: no position for input %s", t.cfg.ID, q.tp)
		}
		if p.Ahead != nil && q.lane == nil {
			t.alignment.addLane(q, slices.SortedFunc(maps.Keys(p.Ahead.Except), record.TaskID.Compare))
		}
		q.reset(p)
		t.streamTime = max(t.streamTime, p.StreamTime)
		t.alignment.start(p.Checkpoint)
	}
	t.times = store.Times{Stream: t.streamTime, Wall: wallClock}
	t.expiry.reset()
	for _, in := range t.nodes {
		if i, ok := in.impl.(processor.Initializer); ok {
			t.running = in.node.Name
			if err := guard(i.Init); err != nil {
				return t.userError(err, processor.DuringInit)
			}
		}
	}
	return nil
}

// Process handles up to limit records, lowest timestamp first, and returns how many. It returns early when a processor
// asked for a commit, and when it waits for an input that is empty. After an error that no handler let pass the task
// can only be rolled back.
func (t *Task) Process(limit int, wallClock int64) (n int, err error) {
	t.idleDeadline = neverIdle
	if t.alignment.stopped(wallClock) {
		return 0, nil
	}
	if err := t.tick(wallClock); err != nil {
		return 0, err
	}
	for n < limit && !t.commitRequested {
		q := t.pick()
		if q == nil || t.empty > 0 && !t.mayGoOn() {
			return n, nil
		}
		if t.empty > 0 {
			t.goesOn()
		}
		done, err := t.drain(q, limit-n)
		n += done
		t.metrics.Processed += uint64(done)
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// pick returns the queue with the lowest head timestamp, nil if all are empty, and counts the empty ones.
func (t *Task) pick() *queue {
	var best *queue
	t.empty = 0
	for _, q := range t.queues {
		if q.empty() {
			t.empty++
			continue
		}
		if best == nil || q.headTimestamp(t) < best.headTimestamp(t) {
			best = q
		}
	}
	return best
}

// drain processes records of one queue while no other queue could be due before it. A panic of user code comes back as
// the failure of its record.
func (t *Task) drain(q *queue, limit int) (n int, err error) {
	if len(t.queues) > 1 {
		limit = 1 // the next record may have to come from another queue
	}
	t.meta.Topic, t.meta.Partition = q.tp.Topic, q.tp.Partition
	t.dirty = true
	for n < limit && !t.commitRequested && !q.empty() {
		err := t.step(q, limit-n, &n)
		if err == nil {
			continue
		}
		if d, ok := errors.AsType[*decidedError](err); ok {
			return n, d.error
		}
		// The failed record is the one before the queue's position.
		if err := t.failed(q, err); err != nil {
			return n, err
		}
	}
	return n, nil
}

// step processes records until the first error. One deferred recover serves a whole run of records.
func (t *Task) step(q *queue, limit int, n *int) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = &panicError{value: r, stack: debug.Stack()}
		}
	}()
	end := *n + limit
	for *n < end && !q.empty() {
		r, err := q.next(t)
		*n++
		t.meta.Offset, t.meta.Timestamp, t.meta.Headers = r.Offset, r.Timestamp, r.Headers
		if err != nil {
			t.running = q.node
			return err
		}
		if r.Timestamp < 0 {
			t.Dropped(q.tp.Topic, "negative timestamp")
			continue
		}
		if r.Timestamp > q.streamTime {
			q.streamTime = r.Timestamp
			if r.Timestamp > t.streamTime {
				if err := t.advance(r.Timestamp); err != nil {
					return &decidedError{err}
				}
			}
		}
		if err := q.source.ReceiveRaw(r); err != nil {
			return err
		}
		if t.streamTime >= t.punctuators.nextStream {
			if err := t.punctuate(processor.StreamTime, t.streamTime); err != nil {
				return &decidedError{err}
			}
		}
		if t.commitRequested {
			return nil
		}
	}
	return nil
}

// HeadTimestamp returns the event time of the record that Process takes next; false if none is queued. A test driver
// that steps several tasks goes by it.
func (t *Task) HeadTimestamp() (timestamp int64, ok bool) {
	q := t.pick()
	if q == nil {
		return 0, false
	}
	return q.headTimestamp(t), true
}

// Punctuate fires the wall-clock punctuators that are due. It fails if the task's state does: an idle task would not
// notice otherwise.
func (t *Task) Punctuate(wallClock int64) error {
	if err := t.stores.Failed(); err != nil {
		return fmt.Errorf("task %s: %w", t.cfg.ID, err)
	}
	if t.alignment.stopped(wallClock) {
		return nil
	}
	if err := t.tick(wallClock); err != nil {
		return err
	}
	if wallClock < t.punctuators.nextWall {
		return nil
	}
	t.dirty = true
	return t.punctuate(processor.WallClockTime, wallClock)
}

// NextWallClock returns when the next wall-clock punctuator is due, or something that expires by the wall clock.
func (t *Task) NextWallClock() int64 {
	if t.alignment.paused != 0 {
		return math.MaxInt64
	}
	return min(t.punctuators.nextWall, t.expiry.nextWall())
}

// ID returns the task's id.
func (t *Task) ID() record.TaskID { return t.cfg.ID }

// Inputs returns the partitions the task reads.
func (t *Task) Inputs() []record.TopicPartition { return t.cfg.Inputs }

// Stores returns the task's stores, for restoring.
func (t *Task) Stores() *store.Set { return t.stores }

// Metrics returns the task's counters.
func (t *Task) Metrics() Metrics { return t.metrics }

// CommitRequested reports that a processor asked for a commit.
func (t *Task) CommitRequested() bool { return t.commitRequested }

// Dirty reports that there is something to commit.
func (t *Task) Dirty() bool { return t.dirty }

// InFlight reports that an epoch is sealed and its outcome not known yet.
func (t *Task) InFlight() bool { return t.sealed != nil }

// UncommittedBytes estimates the memory of what is not committed: stores, outputs, and rows for other systems.
func (t *Task) UncommittedBytes() int {
	n := t.stores.UncommittedBytes()
	for _, o := range t.outputs {
		n += o.bytes
	}
	for _, x := range t.externals {
		n += x.node.RowsBytes()
	}
	return n
}

// Close closes nodes and stores. clean: what is committed is flushed and the next start trusts it; the caller has
// committed or rolled back before.
func (t *Task) Close(clean bool) error {
	errs := make([]error, 0, 3)
	t.alignment.close()
	for _, in := range t.nodes {
		if c, ok := in.impl.(processor.Closer); ok {
			t.running = in.node.Name
			if err := guard(c.Close); err != nil {
				errs = append(errs, t.userError(err, processor.DuringClose))
			}
		}
	}
	errs = append(errs, t.DisconnectSinks())
	if err := t.stores.Close(clean); err != nil {
		errs = append(errs, fmt.Errorf("task %s: close stores: %w", t.cfg.ID, err))
	}
	return errors.Join(errs...)
}
