package integration

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark"
	"github.com/tidemarkio/tidemark/integration/broker"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/topology"
)

// blocking is a topology whose processor stands still at a record "block" until it is released. It writes of each
// record what is before a colon.
type blocking struct {
	t       *testing.T
	entered chan struct{}
	gate    chan struct{}
	once    sync.Once
}

func newBlocking(t *testing.T) *blocking {
	return &blocking{t: t, entered: make(chan struct{}), gate: make(chan struct{})}
}

func (b *blocking) release() { b.once.Do(func() { close(b.gate) }) }

func (b *blocking) build(in, out string) *topology.Builder {
	builder := topology.NewBuilder()
	s := topology.Stream(builder, in, serde.String, serde.String)
	topology.MapValues(s, func(v string) string {
		if v == "block" {
			close(b.entered)
			<-b.gate
		}
		name, _, _ := strings.Cut(v, ":")
		return name
	}, serde.String).To(out)
	return builder
}

// feedPartition writes n records of that many bytes more to one partition of the scenario's input.
func (s *scenario) feedPartition(partition int32, from, n, bytesMore int) {
	s.t.Helper()
	records := make([]broker.Record, n)
	for i := range records {
		value := fmt.Appendf(nil, "p%d-%d:", partition, from+i)
		records[i] = broker.Record{Partition: partition, Value: append(value, bytes.Repeat([]byte("x"), bytesMore)...)}
	}
	s.cluster.Produce(s.t, s.in, records...)
}

// awaitOf waits until the outputs have what feedPartition has written, the first n of some partitions.
func (s *scenario) awaitOf(n int, partitions ...int32) {
	s.t.Helper()
	eventually(s.t, fmt.Sprintf("%d outputs of the partitions %v", n, partitions), func() bool {
		seen := make(map[string]bool)
		for _, v := range values(s.cluster.ReadCommitted(s.t, s.out)) {
			seen[v] = true
		}
		for _, p := range partitions {
			for i := range n {
				if !seen[fmt.Sprintf("p%d-%d", p, i)] {
					return false
				}
			}
		}
		return true
	})
}

// partitionsOf returns the partitions of an App's tasks, by worker.
func (a *app) partitionsOf() [][]int32 {
	a.t.Helper()
	s, err := a.app.Status(a.t.Context())
	require.NoError(a.t, err)
	all := make([][]int32, len(s.Workers))
	for i, w := range s.Workers {
		for _, t := range w.Tasks {
			all[i] = append(all[i], t.ID.Partition)
		}
	}
	return all
}

// taskIn returns what a Status says of a task, and its worker.
func taskIn(t *testing.T, s tidemark.Status, partition int32) (tidemark.WorkerStatus, tidemark.InputStatus) {
	t.Helper()
	for _, w := range s.Workers {
		for _, task := range w.Tasks {
			if task.ID.Partition == partition {
				return w, task.Inputs[0]
			}
		}
	}
	require.FailNow(t, "no such task")
	return tidemark.WorkerStatus{}, tidemark.InputStatus{}
}

// Bounds of what is fetched and not processed of a partition: two fetches, each of fetchLimit or one batch, if that is
// larger. The producer's batches are at most a million bytes.
const (
	fetchLimit  = 512 << 10
	fetchedMost = 2 * 1_000_000
)

// TestLoadSlowProcessor: a processor stands still in one task. The tasks of other workers go on; what is fetched for it
// is bounded; and its lag is what the broker has, though nothing is fetched any more.
func TestLoadSlowProcessor(t *testing.T) {
	s := newScenario(t, broker.Start(t))
	cfg := s.config()
	cfg.Workers = 2
	b := newBlocking(t)
	a := s.run(b.build(s.in, s.out), cfg)
	t.Cleanup(b.release)
	a.awaitTasks(4)
	byWorker := a.partitionsOf()
	stalled, free := byWorker[0], byWorker[1]
	require.Len(t, free, 2)
	at := stalled[0]
	s.cluster.Produce(t, s.in, broker.Record{Partition: at, Value: []byte("block")})
	<-b.entered

	const many, large, few = 40, 100 << 10, 200
	s.feedPartition(at, 0, many, large)
	for _, p := range free {
		s.feedPartition(p, 0, few, 0)
	}
	s.awaitOf(few, free...)

	var status tidemark.Status
	eventually(t, "what waits, and its end", func() bool {
		var err error
		status, err = a.app.Status(t.Context())
		require.NoError(t, err)
		_, in := taskIn(t, status, at)
		require.LessOrEqual(t, in.BufferedBytes, fetchedMost)
		return in.BufferedBytes >= large && in.End == many+1
	})
	w, in := taskIn(t, status, at)
	require.NotNil(t, w.Busy, "its worker does not answer")
	require.Equal(t, record.TaskID{Partition: at}, w.Busy.Task)
	require.False(t, w.Busy.Since.IsZero())
	require.Equal(t, int64(many+1), in.Lag)
	require.Equal(t, int64(0), in.Position)
	other, in := taskIn(t, status, free[0])
	require.Nil(t, other.Busy)
	require.Zero(t, in.Lag)
	require.Zero(t, in.BufferedBytes)
	require.GreaterOrEqual(t, in.Position, int64(few))

	b.release()
	s.awaitOf(many, at)
	eventually(t, "no lag", func() bool {
		status, err := a.app.Status(t.Context())
		require.NoError(t, err)
		w, in := taskIn(t, status, at)
		return w.Busy == nil && in.Lag == 0 && in.BufferedBytes == 0 && in.Position == many+1
	})
	require.Len(t, s.cluster.ReadCommitted(t, s.out), 1+many+2*few)
	a.close()
}

// TestLoadPaused: a task that is paused has the lag that the broker knows of, and fetches two batches ahead and no
// more.
func TestLoadPaused(t *testing.T) {
	s := newScenario(t, broker.Start(t))
	const many, large = 40, 100 << 10
	s.feedPartition(1, 0, many, large)
	paused, err := tidemark.New(newBlocking(t).build(s.in, s.out), s.config())
	require.NoError(t, err)
	require.NoError(t, paused.Pause())
	a := &app{t: t, app: paused, log: &logBuffer{}, done: make(chan struct{})}
	go func() {
		defer close(a.done)
		a.err = paused.Run(context.Background())
	}()
	t.Cleanup(func() { _ = paused.Close() })
	a.awaitTasks(4)
	eventually(t, "the lag", func() bool {
		status, err := a.app.Status(t.Context())
		require.NoError(t, err)
		w, in := taskIn(t, status, 1)
		require.Nil(t, w.Busy)
		require.LessOrEqual(t, in.BufferedBytes, fetchedMost)
		return in.Lag == many && in.BufferedBytes > fetchLimit
	})
	require.NoError(t, a.app.Resume())
	s.awaitOf(many, 1)
	a.close()
}

// TestLoadStalledInstance: an instance stands still in a processor. The others go on, also while the group rebalances.
func TestLoadStalledInstance(t *testing.T) {
	s := newScenario(t, broker.Start(t))
	cfg := s.config()
	b := newBlocking(t)
	a := s.run(b.build(s.in, s.out), cfg)
	t.Cleanup(b.release)
	other := s.run(newBlocking(t).build(s.in, s.out), s.config())
	awaitTotal(t, 4, a, other)
	eventually(t, "two tasks each", func() bool {
		return len(a.partitionsOf()[0]) == 2 && len(other.partitionsOf()[0]) == 2
	})
	stalled, free := a.partitionsOf()[0], other.partitionsOf()[0]
	s.cluster.Produce(t, s.in, broker.Record{Partition: stalled[0], Value: []byte("block")})
	<-b.entered
	const few = 100
	feed := func(from int) {
		for p := range int32(4) {
			s.feedPartition(p, from, few, 0)
		}
	}
	feed(0)
	s.awaitOf(few, free...)

	third := s.run(newBlocking(t).build(s.in, s.out), s.config())
	feed(few)
	s.awaitOf(2*few, free...)
	require.Equal(t, []int{0, 0}, s.outputsOf(stalled...), "it still stands")

	b.release()
	s.awaitOf(2*few, 0, 1, 2, 3)
	awaitTotal(t, 4, a, other, third)
	feed(2 * few)
	s.awaitOf(3*few, 0, 1, 2, 3)
	require.Len(t, s.cluster.ReadCommitted(t, s.out), 1+4*3*few, "each once")
	for _, i := range []*app{a, other, third} {
		i.close()
	}
}

// outputsOf counts the outputs of the given partitions of the input.
func (s *scenario) outputsOf(partitions ...int32) []int {
	counts := make([]int, len(partitions))
	for _, v := range values(s.cluster.ReadCommitted(s.t, s.out)) {
		for i, p := range partitions {
			if strings.HasPrefix(v, fmt.Sprintf("p%d-", p)) {
				counts[i]++
			}
		}
	}
	return counts
}

// TestLoadUneven: one partition has nearly all records, of nearly one key. Every task finishes, and the totals are
// exact.
func TestLoadUneven(t *testing.T) {
	s := newScenario(t, broker.Start(t))
	a := s.run(countTopology(s.in, s.out), s.config())
	a.awaitTasks(4)
	var records []broker.Record
	for i := range 20_000 {
		key := "hot"
		if i%500 == 0 {
			key = fmt.Sprintf("cold-%d", i/500%8)
		}
		records = append(records, broker.Record{Partition: -1, Key: []byte(key), Value: []byte("v")})
	}
	s.cluster.Produce(t, s.in, records...)
	s.sent = len(records)
	checkCounts(t, s.awaitOutputs(s.out, s.sent), s.sent)
	eventually(t, "no lag", func() bool {
		status, err := a.app.Status(t.Context())
		require.NoError(t, err)
		for p := range int32(4) {
			if _, in := taskIn(t, status, p); in.Lag > 0 || in.Position != in.End {
				return false
			}
		}
		return true
	})
	a.close()
}
