package worker

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"github.com/tidemarkio/tidemark/processor/task"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/store"
)

// Stats are a worker's counters since it started. Processing time is what remains beside Sealing, Stalled and Idle.
type Stats struct {
	Processed      uint64        // input records
	Commits        uint64        // transactions that committed
	DroppedCommits uint64        // transactions that did not
	Sealing        time.Duration // forwarding cached updates and encoding epochs
	Stalled        time.Duration // waiting for a commit because the buffers were full
	Idle           time.Duration // waiting for input
}

func (s *Stats) waited(d time.Duration, stalled bool) {
	if stalled {
		s.Stalled += d
	} else {
		s.Idle += d
	}
}

// Snapshot is what a worker shows of itself.
type Snapshot struct {
	Index int
	Tasks []TaskSnapshot
	Stats Stats
	// At is when this was so. A worker in a slow processor does not answer, and shows what was known a second before, at
	// the most, it went into it.
	At time.Time
	// Busy says what such a worker is doing; nil if it has answered.
	Busy *Busy
}

// Busy is a worker that has not come back from a task for a while: from a processor, a punctuator or a store.
type Busy struct {
	Task  record.TaskID
	Since time.Time
}

// TaskSnapshot is what a running task shows of itself.
type TaskSnapshot struct {
	ID      record.TaskID
	Metrics task.Metrics
	Inputs  []InputSnapshot
	Paused  bool
	// Loading says how much of the task's state is local, if it runs before all of it is; else nil.
	Loading *store.Loading
}

// InputSnapshot is the place of a task in one input.
type InputSnapshot struct {
	TopicPartition record.TopicPartition
	Committed      int64 // offset up to which it has committed
	Position       int64 // offset up to which it has processed
	// End is that of the partition (last stable offset) as last seen, Lag what lies between Position and End, in offsets.
	End, Lag int64
	// BufferedBytes is what is fetched and not processed: keys and values. At most two fetches of a partition are.
	BufferedBytes int
}

// Ends updates the ends of the inputs, of those that are known. An input whose buffers are full is not fetched, and the
// worker hears nothing of its end.
func (s *Snapshot) Ends(ends map[record.TopicPartition]int64) {
	for i := range s.Tasks {
		inputs := s.Tasks[i].Inputs
		for j := range inputs {
			in := &inputs[j]
			in.End = max(in.End, ends[in.TopicPartition])
			in.Lag = max(0, in.End-in.Position)
		}
	}
}

// Snapshot asks the worker goroutine for its state.
func (w *Worker) Snapshot(ctx context.Context) (s Snapshot, err error) {
	err = w.do(ctx, func(context.Context) error {
		s = w.snapshot()
		return nil
	})
	return s, err
}

// Look is Snapshot, unless the worker does not answer for the time of patience: then it is what it was before it went
// into what it does. The inputs' buffers are those of now.
func (w *Worker) Look(ctx context.Context, patience time.Duration) (Snapshot, error) {
	bounded, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	s, err := w.Snapshot(bounded)
	if err == nil || ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded) {
		return s, err
	}
	return w.view.load(w), nil
}

func (w *Worker) snapshot() Snapshot {
	s := Snapshot{Index: w.cfg.Index, Stats: w.stats, At: w.cfg.Clock.Now()}
	for _, r := range w.tasks {
		ts := TaskSnapshot{ID: r.task.ID(), Metrics: r.task.Metrics(), Paused: w.cfg.Pauses.Paused(r.task.ID())}
		if l, loading := r.task.Stores().Loading(); loading {
			ts.Loading = &l
		}
		for _, tp := range r.task.Inputs() {
			position, end := r.task.Place(tp)
			ts.Inputs = append(ts.Inputs, InputSnapshot{
				TopicPartition: tp, Committed: r.committed[tp].Offset, Position: position, End: end,
				Lag: max(0, end-position), BufferedBytes: w.cfg.Fetcher.Buffered(tp),
			})
		}
		s.Tasks = append(s.Tasks, ts)
	}
	return s
}

// viewInterval is how often a worker notes what it would show.
const viewInterval = time.Second

// view is what a worker shows while it does not answer. The worker goroutine writes it, others read it.
type view struct {
	noted atomic.Pointer[Snapshot]
	// since is when it began with task, in Unix nanoseconds; 0: it is between tasks.
	task  atomic.Uint64
	since atomic.Int64
	due   time.Time // when to note the next one
}

// enter and leave say in which task the worker is. They are called around up to 1024 records, and allocate nothing.
func (v *view) enter(id record.TaskID, now time.Time) {
	v.task.Store(uint64(uint32(id.Subtopology))<<32 | uint64(uint32(id.Partition)))
	v.since.Store(now.UnixNano())
}

func (v *view) leave() { v.since.Store(0) }

// busy is nil if the worker is between tasks.
func (v *view) busy() *Busy {
	since, id := v.since.Load(), v.task.Load()
	if since == 0 {
		return nil
	}
	return &Busy{
		Task:  record.TaskID{Subtopology: int32(uint32(id >> 32)), Partition: int32(uint32(id))},
		Since: time.Unix(0, since),
	}
}

// stale makes the worker note its state in the next pass: its tasks have changed.
func (v *view) stale() { v.due = time.Time{} }

// note notes the state of the worker, if that is due.
func (v *view) note(w *Worker, now time.Time) {
	if now.Before(v.due) {
		return
	}
	v.due = now.Add(viewInterval)
	s := w.snapshot()
	v.noted.Store(&s)
}

// load returns what was noted, with what others can see.
func (v *view) load(w *Worker) Snapshot {
	noted := v.noted.Load()
	if noted == nil {
		return Snapshot{Index: w.cfg.Index}
	}
	s := *noted
	s.Tasks = slices.Clone(s.Tasks)
	for i := range s.Tasks {
		s.Tasks[i].Inputs = slices.Clone(s.Tasks[i].Inputs)
		for j := range s.Tasks[i].Inputs {
			in := &s.Tasks[i].Inputs[j]
			in.BufferedBytes = w.cfg.Fetcher.Buffered(in.TopicPartition)
		}
	}
	s.Busy = v.busy()
	return s
}
