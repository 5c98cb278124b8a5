package worker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/eos"
	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/processor/task"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/tidemarktest"
	"github.com/tidemarkio/tidemark/topology"
)

// database is another system, as far as a commit can tell. The fault is injected at the n-th call, before it takes
// effect or after.
type database struct {
	mu      sync.Mutex
	calls   int
	failAt  int
	failure error
	applied bool
	down    bool // every call fails

	prepared map[eos.TransactionName][]string
	rows     []string
	log      []string
}

func newDatabase() *database { return &database{prepared: make(map[eos.TransactionName][]string)} }

func (d *database) do(call string, effect func() error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.calls++
	d.log = append(d.log, call)
	if d.down {
		return errSomething
	}
	fails := d.calls == d.failAt
	if fails && !d.applied {
		return d.failure
	}
	if err := effect(); err != nil {
		return err
	}
	if fails {
		return d.failure
	}
	return nil
}

func (d *database) Recover(context.Context) ([]eos.TransactionName, error) { return nil, nil }
func (d *database) Close() error                                           { return nil }

func (d *database) Commit(_ context.Context, name eos.TransactionName) error {
	return d.do("commit", func() error {
		rows, ok := d.prepared[name]
		if !ok {
			return eos.ErrNotPrepared
		}
		d.rows = append(d.rows, rows...)
		delete(d.prepared, name)
		return nil
	})
}

func (d *database) Abort(_ context.Context, name eos.TransactionName) error {
	return d.do("abort", func() error {
		delete(d.prepared, name)
		return nil
	})
}

// part is a part of a transaction that writes one row.
func (d *database) part(partition int32, epoch int, row string) task.External {
	return task.External{
		Name: eos.TransactionName{
			ApplicationID: "app", Task: taskID(partition), Epoch: record.Epoch(epoch), Sink: "db", Owner: "o",
		},
		Decided: true, Conn: d,
		Rows: func(_ context.Context, name eos.TransactionName) error {
			return d.do("prepare", func() error {
				if _, ok := d.prepared[name]; ok {
					return errors.New("prepared already")
				}
				d.prepared[name] = []string{row}
				return nil
			})
		},
	}
}

// withDatabase lets a transaction write to the database, too: one row for each of two tasks.
func withDatabase(x *transaction, d *database, n int) *transaction {
	x.epochs = []*task.Epoch{{Number: record.Epoch(n)}}
	x.externals = []task.External{d.part(0, n, fmt.Sprintf("v%d", n)), d.part(1, n, fmt.Sprintf("w%d", n))}
	return x
}

// Whatever call to the broker or the database fails, and whether or not it took effect: both have the same
// transactions, each exactly once.
func TestTwoPhaseIsAllOrNothing(t *testing.T) {
	run := func(t *testing.T, b *brokerModel, d *database) (gaveUp bool) {
		t.Helper()
		c := newTestCommitter(b)
		var left []unsettled
		for n := 1; n <= 3; n++ {
			for tries := 0; ; tries++ {
				require.Less(t, tries, 6, "%v %v", b.log, d.log)
				x := withDatabase(testTransaction(b, n), d, n)
				x.unsettled = left
				before := len(b.committed)
				o := c.twoPhase(t.Context(), x)
				left = o.unsettled
				if o.failed {
					require.Len(t, d.prepared, 2, "whoever finds the truth finds what it decides")
					return true
				}
				require.Equal(t, len(b.committed) > before, o.committed, "%v %v", b.log, d.log)
				require.Len(t, d.prepared, len(left))
				if o.committed {
					break
				}
			}
		}
		require.Equal(t, []string{"v1", "v2", "v3"}, b.committed)
		require.ElementsMatch(t, []string{"v1", "v2", "v3", "w1", "w2", "w3"}, d.rows, "%v %v", b.log, d.log)
		require.Empty(t, d.prepared)
		return false
	}
	for _, applied := range []bool{false, true} {
		for failAt := 1; ; failAt++ {
			b, d := newBrokerModel(), newDatabase()
			d.failAt, d.failure, d.applied = failAt, errSomething, applied
			run(t, b, d)
			if d.calls < failAt {
				break
			}
		}
		for _, failure := range []error{eos.ErrAborted, eos.ErrUnknownOutcome} {
			for failAt := 1; ; failAt++ {
				b, d := newBrokerModel(), newDatabase()
				b.failAt, b.failure = failAt, failure
				b.applied = applied && errors.Is(failure, eos.ErrUnknownOutcome)
				if !run(t, b, d) && b.calls < failAt {
					break
				}
			}
		}
	}
}

// A database that is down holds the outcome of a decided commit up, but not for ever; and no later commit takes the
// decision away before it is carried out.
func TestDatabaseDownAfterTheDecision(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, d := newBrokerModel(), newDatabase()
		c := newTestCommitter(b)
		x := withDatabase(testTransaction(b, 1), d, 1)
		down := func(rows func(context.Context, eos.TransactionName) error) func(context.Context, eos.TransactionName) error {
			return func(ctx context.Context, name eos.TransactionName) error {
				err := rows(ctx, name)
				d.mu.Lock()
				d.down = len(d.prepared) == 2
				d.mu.Unlock()
				return err
			}
		}
		for i := range x.externals {
			x.externals[i].Rows = down(x.externals[i].Rows)
		}
		began := time.Now()
		o := c.twoPhase(t.Context(), x)
		require.True(t, o.committed)
		require.Len(t, o.unsettled, 2)
		require.Equal(t, settleTimeout, time.Since(began))

		next := withDatabase(testTransaction(b, 2), d, 2)
		next.unsettled = o.unsettled
		o = c.twoPhase(t.Context(), next)
		require.False(t, o.committed)
		require.ErrorIs(t, o.err, errSomething)
		require.Equal(t, []string{"v1"}, b.committed, "the offsets still name what is prepared")

		d.down = false
		next.unsettled = o.unsettled
		o = c.twoPhase(t.Context(), next)
		require.True(t, o.committed)
		require.ElementsMatch(t, []string{"v1", "w1", "v2", "w2"}, d.rows)
	})
}

// A newer owner that has the task ends what is prepared: there is nothing to do here.
func TestDecidedByAFencedOwner(t *testing.T) {
	b, d := newBrokerModel(), newDatabase()
	c := newTestCommitter(b)
	d.failAt, d.failure = 3, eos.ErrFenced // the first commit behind two prepares
	o := c.twoPhase(t.Context(), withDatabase(testTransaction(b, 1), d, 1))
	require.True(t, o.committed)
	require.Empty(t, o.unsettled)
	require.Len(t, d.prepared, 1)
}

// sinkPlan writes the keys of "in" to a sink.
func sinkPlan(t *testing.T, sink eos.Sink[string]) *processor.Plan {
	t.Helper()
	b := topology.NewBuilder()
	topology.SinkTo(topology.Stream(b, "in", serde.String, serde.String), "db", sink,
		func(r record.Record[string, string]) (string, error) { return r.Key, nil })
	return b.MustBuild()
}

// The worker's whole way: rows are in the sink once their commit is; a failing one drops the epoch, and the next owner
// ends what the one before has left.
func TestSinkOfAWorker(t *testing.T) {
	c, sink := newCluster(), tidemarktest.NewSink[string]()
	in := part("in", 0)
	plan := sinkPlan(t, sink)
	m := newMember(t, c, plan, func(cfg *Config) { cfg.CommitInterval = time.Millisecond })
	fail := map[tidemarktest.SinkStep]bool{tidemarktest.SinkPrepared: true}
	var mu sync.Mutex
	once := func(step tidemarktest.SinkStep, _ eos.TransactionName) error {
		mu.Lock()
		defer mu.Unlock()
		if fail[step] {
			delete(fail, step)
			return errSomething
		}
		return nil
	}
	sink.FailWith(once)
	m.start()
	m.assign(taskID(0))
	c.produce(in, "a", "b", "c")
	require.Eventually(t, func() bool { return len(sink.Rows()) == 3 }, time.Minute, time.Millisecond)
	require.Empty(t, sink.Prepared())

	// The owner dies between decision and end.
	sink.FailWith(func(step tidemarktest.SinkStep, _ eos.TransactionName) error {
		if step == tidemarktest.SinkCommit || step == tidemarktest.SinkAbort {
			return errSomething
		}
		return nil
	})
	c.produce(in, "d")
	require.Eventually(t, func() bool { return c.committed(in) == 4 && len(sink.Prepared()) == 1 },
		time.Minute, time.Millisecond)
	name := sink.Prepared()[0]
	meta, err := eos.ParseMetadata(c.offsetOf(in).Metadata)
	require.NoError(t, err)
	require.True(t, meta.Decides(name))
	m.stop()
	require.NoError(t, <-m.ran)
	sink.FailWith(nil)

	next := newMember(t, c, plan, nil)
	next.start()
	next.assign(taskID(0))
	require.Eventually(t, func() bool { return len(sink.Rows()) == 4 }, time.Minute, time.Millisecond)
	require.Empty(t, sink.Prepared())
	c.produce(in, "e")
	require.Eventually(t, func() bool { return len(sink.Rows()) == 5 }, time.Minute, time.Millisecond)
	require.NoError(t, next.close(true))
	require.Equal(t, []string{"a", "b", "c", "d", "e"}, sink.Rows())
}

// A hand-over that runs out of time does not wait for a database that is down: what the leaving task has prepared is
// for its next owner to end, what the staying one has, for this worker, also when nothing more comes in.
func TestHandOverWhileTheDatabaseIsDown(t *testing.T) {
	c, sink := newCluster(), tidemarktest.NewSink[string]()
	m := newMember(t, c, sinkPlan(t, sink), func(cfg *Config) { cfg.CommitInterval = 300 * time.Millisecond })
	m.start()
	m.assign(taskID(0), taskID(1))
	sink.FailWith(func(step tidemarktest.SinkStep, _ eos.TransactionName) error {
		if step == tidemarktest.SinkCommit {
			return errSomething
		}
		return nil
	})
	prepared := func() (tasks []int32) {
		for _, n := range sink.Prepared() {
			tasks = append(tasks, n.Task.Partition)
		}
		return tasks
	}
	require.Eventually(t, func() bool { // the first commit of each is behind us: the next one is due in a while
		return c.offsetOf(part("in", 0)).Metadata != "" && c.offsetOf(part("in", 1)).Metadata != ""
	}, time.Minute, time.Millisecond)
	c.produce(part("in", 0), "a")
	c.produce(part("in", 1), "b")
	require.Eventually(t, func() bool { return len(prepared()) == 2 }, time.Minute, time.Millisecond)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	stopped, err := m.worker.Stop(ctx, map[record.TaskID]bool{taskID(0): true}, true)
	require.NoError(t, err)
	require.Len(t, stopped, 1)
	require.NoError(t, stopped[0].Close(true))
	require.Contains(t, prepared(), int32(0))
	sink.FailWith(nil)
	require.Eventually(t, func() bool { return c.committed(part("in", 1)) == 1 && slices.Equal(prepared(), []int32{0}) },
		time.Minute, time.Millisecond)
	require.Equal(t, []string{"b"}, sink.Rows())

	next := newMember(t, c, m.plan, nil)
	next.start()
	next.assign(taskID(0))
	require.Eventually(t, func() bool { return len(sink.Rows()) == 2 }, time.Minute, time.Millisecond)
	require.Empty(t, sink.Prepared())
	require.NoError(t, next.close(true))
	m.stop()
	require.NoError(t, <-m.ran)
}

// What the owner before has prepared and not committed is aborted, and its records come again.
func TestNextOwnerAbortsWhatWasNotDecided(t *testing.T) {
	c, sink := newCluster(), tidemarktest.NewSink[string]()
	in := part("in", 0)
	at := eos.SinkTask{ApplicationID: "app", Sink: "db", Task: taskID(0)}
	dead, err := sink.Connect(t.Context(), at)
	require.NoError(t, err)
	_, err = dead.Recover(t.Context())
	require.NoError(t, err)
	name := eos.TransactionName{ApplicationID: "app", Task: taskID(0), Epoch: 1, Sink: "db", Owner: "dead"}
	require.NoError(t, dead.Prepare(t.Context(), name, []string{"a"}))
	require.True(t, slices.Contains(sink.Prepared(), name))

	c.produce(in, "a")
	m := newMember(t, c, sinkPlan(t, sink), nil)
	m.start()
	m.assign(taskID(0))
	require.Eventually(t, func() bool { return len(sink.Rows()) == 1 }, time.Minute, time.Millisecond)
	require.NoError(t, m.close(true))
	require.Equal(t, []string{"a"}, sink.Rows())
	require.Empty(t, sink.Prepared())
	require.ErrorIs(t, dead.Prepare(t.Context(), name, []string{"a"}), eos.ErrFenced)
}
