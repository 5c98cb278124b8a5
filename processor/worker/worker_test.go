package worker

import (
	"context"
	"fmt"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/eos"
	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/topology"
)

var (
	in0, in1 = part("in", 0), part("in", 1)
	out0     = part("out", 0)
	counts0  = part("counts-changelog", 0)
)

// until lets time pass until done; the bubble's clock makes it cheap.
func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	for range 100_000 {
		synctest.Wait()
		if done() {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatalf("waiting for %s took 100 s", what)
}

func keys(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = "k" + strconv.Itoa(i%3)
	}
	return out
}

// counted is the output of counting keys, every count once and in order.
func counted(keys []string) []string {
	n, out := make(map[string]int), []string(nil)
	for _, k := range keys {
		n[k]++
		out = append(out, k+"="+strconv.Itoa(n[k]))
	}
	return out
}

func TestRecordsInCommitsOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		c.produce(in0, keys(10)...)
		m := newMember(t, c, countPlan(t, topology.InMemory()), nil)
		m.start()
		m.assign(taskID(0))
		until(t, "the first commit", func() bool { return c.committed(in0) == 10 })
		require.Equal(t, counted(keys(10)), c.read(out0))
		require.Equal(t, []string{"k0=4", "k1=3", "k2=3"}, c.read(counts0), "once per key and epoch")
		meta, err := eos.ParseMetadata(c.offsets[in0].Metadata)
		require.NoError(t, err)
		require.Equal(t, eos.Metadata{TransactionalID: "app-p-0", Epoch: 2, StreamTime: 9}, meta,
			"the first epoch is the one by which the new owner introduces itself")
		c.produce(in0, "k0")
		until(t, "the second commit", func() bool { return c.committed(in0) == 11 })
		s, err := m.worker.Snapshot(t.Context())
		require.NoError(t, err)
		require.Equal(t, uint64(11), s.Stats.Processed)
		require.Equal(t, int64(11), s.Tasks[0].Inputs[0].Committed)
		require.Zero(t, s.Tasks[0].Inputs[0].Lag)
		require.NoError(t, m.close(true))
		require.Equal(t, 1, m.dir.marked(taskID(0), "clean"))

		// The next member restores the counts from the changelog.
		next := newMember(t, c, countPlan(t, topology.InMemory()), nil)
		next.start()
		next.assign(taskID(0))
		c.produce(in0, "k0")
		until(t, "the commit after a restart", func() bool { return c.committed(in0) == 12 })
		require.Equal(t, "k0=6", c.read(out0)[11])
		require.NoError(t, next.close(true))
	})
}

// A commit that fails is dropped; the inputs are fetched again at the committed positions.
func TestDroppedCommitIsRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		m := newMember(t, c, countPlan(t, topology.InMemory()), nil)
		m.start()
		m.assign(taskID(0), taskID(1))
		c.produce(in0, keys(4)...)
		until(t, "the first commit", func() bool { return c.committed(in0) == 4 })
		failures := 2
		c.mu.Lock()
		c.fault = func(call string) (bool, error) {
			if call == "send" && failures > 0 {
				failures--
				return false, eos.ErrAborted
			}
			return false, nil
		}
		c.mu.Unlock()
		before := len(m.fetcher.added)
		c.produce(in0, keys(7)[4:]...)
		c.produce(in1, "x")
		until(t, "the commit", func() bool { return c.committed(in0) == 7 && c.committed(in1) == 1 })
		require.ElementsMatch(t, append(counted(keys(7)), "x=1"), c.read(out0))
		require.Contains(t, m.fetcher.added[before:], "in-0@4")
		s, err := m.worker.Snapshot(t.Context())
		require.NoError(t, err)
		require.Equal(t, uint64(2), s.Stats.DroppedCommits)
		require.NoError(t, m.close(true))
	})
}

// TestFaultLoop fails the first call of the producer, then the second, and so on until a run needs no more; whatever
// fails and however, every count is written once.
func TestFaultLoop(t *testing.T) {
	failures := map[string]struct {
		err   error
		after bool
	}{
		"aborted": {eos.ErrAborted, false}, "unmarked": {errSomething, false}, "fenced": {eos.ErrFenced, false},
		"unknown, dropped": {eos.ErrUnknownOutcome, false}, "unknown, committed": {eos.ErrUnknownOutcome, true},
	}
	for name, failure := range failures {
		t.Run(name, func(t *testing.T) {
			plan := countPlan(t, topology.InMemory())
			for failAt, passed := 1, false; !passed; failAt++ {
				synctest.Test(t, func(t *testing.T) {
					c, calls := newCluster(), 0
					c.fault = func(call string) (bool, error) {
						// Two in a row now and then: the mending call fails, too.
						if calls++; calls == failAt || failAt%3 == 0 && calls == failAt+1 {
							return failure.after && call == "commit", fmt.Errorf("%s: %w", call, failure.err)
						}
						return false, nil
					}
					start := func() *member {
						m := newMember(t, c, plan, func(cfg *Config) { cfg.CommitInterval = 10 * time.Millisecond })
						m.start()
						m.assign(taskID(0))
						return m
					}
					m := start()
					for i, k := range keys(12) {
						c.produce(in0, k)
						if i%4 == 3 {
							time.Sleep(15 * time.Millisecond)
						}
					}
					until(t, "all commits", func() bool {
						select {
						case err := <-m.ran: // what nobody knows a restart finds out
							require.ErrorContains(t, err, "unknown outcome")
							m.manager.Close(t.Context(), false, nil)
							m = start()
						default:
						}
						return c.committed(in0) == 12
					})
					if err := m.close(true); err != nil {
						require.ErrorContains(t, err, "unknown outcome")
					}
					require.Equal(t, counted(keys(12)), c.read(out0), "call %d", failAt)
					passed = calls < failAt
				})
			}
		})
	}
}

func TestRefusedRecord(t *testing.T) {
	var seen []processor.Failure
	for name, handler := range map[string]processor.Handler{
		"continue": processor.Continue(), "dead letter": processor.DeadLetter("dead"), "fail": processor.Fail(),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := topology.NewBuilder()
				topology.Stream(b, "in", textSerde, textSerde).To("out")
				plan, err := b.Build()
				require.NoError(t, err)
				c := newCluster()
				seen = nil
				m := newMember(t, c, plan, func(cfg *Config) {
					cfg.OnProductionError = func(f processor.Failure) processor.Action {
						seen = append(seen, f)
						return handler(f)
					}
				})
				// Both tasks write the same partition: the refused record is in one of two batches for it.
				c.produce(in0, "a", "b")
				c.produce(in1, "c", "too large", "d")
				m.start()
				m.assign(taskID(0), taskID(1))
				if name == "fail" {
					err := <-m.ran
					require.Equal(t, eos.ClassRecord, eos.Classify(err))
					m.manager.Close(t.Context(), false, nil)
					return
				}
				until(t, "the commit", func() bool { return c.committed(in0) == 2 && c.committed(in1) == 3 })
				require.ElementsMatch(t, []string{"a=v", "b=v", "c=v", "d=v"}, c.read(out0))
				require.NotEmpty(t, seen)
				require.Equal(t, processor.Production, seen[0].Stage)
				require.Equal(t, taskID(1), seen[0].Task)
				require.Equal(t, "too large", string(seen[0].Record.Key))
				require.NoError(t, m.close(true))
			})
		})
	}
}

// gatedProducer holds Send back once it is held.
type gatedProducer struct {
	eos.Producer

	held             atomic.Bool
	release, sending chan struct{}
}

// gated puts a gate before the producer. It is open at first.
func gated(cfg *Config) *gatedProducer {
	g := &gatedProducer{Producer: cfg.Producer, release: make(chan struct{}), sending: make(chan struct{}, 1000)}
	cfg.Producer = g
	return g
}

func (p *gatedProducer) Send(ctx context.Context, batches []*record.Batch) ([]int64, error) {
	if p.held.Load() {
		p.sending <- struct{}{}
		select {
		case <-p.release:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return p.Producer.Send(ctx, batches)
}

// gatedMember starts a member that has these tasks and has introduced itself as their owner. What it sends from now on
// is held.
func gatedMember(t *testing.T, c *cluster, ids ...record.TaskID) (m *member, gate *gatedProducer) {
	m = newMember(t, c, countPlan(t, topology.InMemory()), func(cfg *Config) { gate = gated(cfg) })
	m.start()
	m.assign(ids...)
	for _, id := range ids {
		introduced(t, c, part("in", id.Partition))
	}
	gate.held.Store(true)
	return m, gate
}

// introduced waits for the first commits of tasks, by which their owner introduces itself.
func introduced(t *testing.T, c *cluster, tps ...record.TopicPartition) {
	t.Helper()
	until(t, "the first commits", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, tp := range tps {
			if _, ok := c.offsets[tp]; !ok {
				return false
			}
		}
		return true
	})
}

// A task that is revoked while its commit is on the way is committed, with what it did meanwhile, before it is handed
// over; if that fails it is rolled back. The next owner goes on exactly there.
func TestRevokeDuringACommit(t *testing.T) {
	for _, fails := range []bool{false, true} {
		t.Run("fails="+strconv.FormatBool(fails), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster()
				m, gate := gatedMember(t, c, taskID(0), taskID(1))
				c.produce(in0, keys(3)...)
				c.produce(in1, "other")
				<-gate.sending
				c.produce(in0, keys(5)[3:]...) // processed while the commit is in flight
				synctest.Wait()
				if fails {
					c.mu.Lock()
					c.fault = func(call string) (bool, error) {
						if call == "send" {
							return false, eos.ErrAborted
						}
						return false, nil
					}
					c.mu.Unlock()
				}
				revoked := make(chan struct{})
				go func() {
					m.assign(taskID(1))
					close(revoked)
				}()
				synctest.Wait()
				select {
				case <-revoked:
					t.Fatal("handed over while a commit is in flight")
				default:
				}
				close(gate.release)
				<-revoked
				if fails {
					require.Zero(t, c.committed(in0))
					require.Empty(t, c.read(out0))
					c.mu.Lock()
					c.fault = nil
					c.mu.Unlock()
				} else {
					require.Equal(t, int64(5), c.committed(in0), "committed before it is handed over")
				}
				m.assign(taskID(0), taskID(1))
				until(t, "all commits", func() bool { return c.committed(in0) == 5 && c.committed(in1) == 1 })
				require.NoError(t, m.close(true))
				require.ElementsMatch(t, append(counted(keys(5)), "other=1"), c.read(out0))
			})
		})
	}
}

// A failure for good while tasks are handed over ends the worker: the others of that transaction are stuck with it.
func TestFatalErrorWhileTasksAreHandedOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		m, gate := gatedMember(t, c, taskID(0), taskID(1))
		c.produce(in0, "a")
		c.produce(in1, "b")
		<-gate.sending
		c.mu.Lock()
		c.fault = func(string) (bool, error) { return false, eos.ErrFatal }
		c.mu.Unlock()
		go m.assign(taskID(1))
		synctest.Wait()
		close(gate.release)
		c.produce(in1, "c") // the task that stays goes on processing
		require.ErrorIs(t, <-m.ran, eos.ErrFatal)
		m.manager.Close(t.Context(), false, nil)
		require.Empty(t, c.read(out0))
	})
}

// Membership that is lost drops what is not committed.
func TestLostDrops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		m := newMember(t, c, countPlan(t, topology.InMemory()), func(cfg *Config) { cfg.CommitInterval = time.Hour })
		m.start()
		m.assign(taskID(0))
		introduced(t, c, in0)
		c.produce(in0, keys(3)...)
		synctest.Wait()
		m.manager.Lost(errSomething)
		require.Zero(t, c.committed(in0))
		require.Empty(t, c.read(out0))
		running, restoring := m.manager.TaskStates()
		require.Zero(t, running+restoring)
		m.assign(taskID(0))
		synctest.Wait()
		require.NoError(t, m.close(true))
		require.Equal(t, counted(keys(3)), c.read(out0), "from the last commit on, by whoever gets the task")
	})
}

// A task that asks for a commit, as a restored one does, goes on with its next epoch while the commit is on the way.
func TestRequestedCommitDoesNotStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		c.produce(in0, keys(4)...)
		var gate *gatedProducer
		m := newMember(t, c, countPlan(t, topology.InMemory()), func(cfg *Config) { gate = gated(cfg) })
		gate.held.Store(true)
		m.start()
		m.assign(taskID(0))
		<-gate.sending
		synctest.Wait() // no time passes
		s, err := m.worker.Snapshot(t.Context())
		require.NoError(t, err)
		require.Equal(t, uint64(4), s.Stats.Processed)
		close(gate.release)
		require.NoError(t, m.close(true))
		require.Equal(t, counted(keys(4)), c.read(out0))
	})
}

func TestStopWhileRestoring(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		c.produce(counts0, "k")
		m := newMember(t, c, countPlan(t, topology.InMemory()), nil)
		m.reader.gate = make(chan struct{})
		m.start()
		m.assign(taskID(0))
		synctest.Wait()
		running, restoring := m.manager.TaskStates()
		require.Equal(t, [2]int{0, 1}, [2]int{running, restoring})
		require.Equal(t, []record.TopicPartition{in0}, m.manager.Owned(), "a restoring task is owned, too")
		m.assign()
		running, restoring = m.manager.TaskStates()
		require.Zero(t, running+restoring)
		require.Empty(t, m.failures, "being stopped is no failure")
		require.NoError(t, m.close(true))
	})
}

func TestFailedRestoreIsReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		c.produce(counts0, "k") // "v" is no number of eight bytes, but a changelog is not decoded
		c.produce(counts0, "k")
		c.starts[in0] = 0
		m := newMember(t, c, countPlan(t, topology.InMemory()), nil)
		m.start()
		c.mu.Lock()
		c.offsets[in0] = eos.Offset{Offset: 0, Metadata: "of another program"}
		c.mu.Unlock()
		m.reader.c = newCluster() // whose log is empty: reading it panics no one, but finds nothing
		m.reader.c.starts[counts0] = 5
		m.assign(taskID(0))
		require.ErrorContains(t, <-m.failures, "outside of the log")
		require.NoError(t, m.close(false))
	})
}

// When the buffers reach twice their limit while a commit is in flight, processing waits for it.
func TestFullBuffersStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		var gate *gatedProducer
		m := newMember(t, c, countPlan(t, topology.InMemory()), func(cfg *Config) {
			cfg.UncommittedBytesMax = func() int { return 2000 }
			gate = gated(cfg)
		})
		m.start()
		m.assign(taskID(0))
		introduced(t, c, in0)
		gate.held.Store(true)
		c.produce(in0, keys(1000)...)
		<-gate.sending
		synctest.Wait()
		out := 0
		for m.fetcher.at[in0] < 1000 { // the fetcher stands still because the task does
			at := m.fetcher.at[in0]
			time.Sleep(time.Second)
			synctest.Wait()
			if m.fetcher.at[in0] == at {
				break
			}
			out++
			require.Less(t, out, 1000)
		}
		require.Less(t, m.fetcher.at[in0], int64(1000), "processing goes on without a limit")
		close(gate.release)
		until(t, "all commits", func() bool { return c.committed(in0) == 1000 })
		require.Equal(t, counted(keys(1000)), c.read(out0))
		s, err := m.worker.Snapshot(t.Context())
		require.NoError(t, err)
		require.GreaterOrEqual(t, s.Stats.Stalled, time.Second)
		require.NoError(t, m.close(true))
	})
}

func TestCommitsThatKeepFailingEndTheWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		c.fault = func(string) (bool, error) { return false, errSomething }
		m := newMember(t, c, countPlan(t, topology.InMemory()), nil)
		m.start()
		m.assign(taskID(0))
		c.produce(in0, "a")
		began := time.Now()
		err := <-m.ran
		require.ErrorContains(t, err, "commits have failed for 1m0s")
		require.ErrorIs(t, err, errSomething)
		took := time.Since(began)
		require.GreaterOrEqual(t, took, time.Minute)
		require.Less(t, took, 2*time.Minute)
		require.Less(t, len(m.fetcher.added), 100, "the tries are spaced out")
		m.manager.Close(t.Context(), false, nil)
		require.ErrorIs(t, m.worker.do(t.Context(), func(context.Context) error { return nil }), ErrStopped)
	})
}

func TestBackoff(t *testing.T) {
	b := backoff{limit: 10 * time.Second}
	now := time.Unix(1000, 0)
	require.True(t, b.ready(now))
	var delays []time.Duration
	for range 8 {
		d, give := b.failed(now)
		require.False(t, give)
		require.False(t, b.ready(now))
		delays = append(delays, d)
		now = now.Add(d)
		require.True(t, b.ready(now))
	}
	ms := time.Millisecond
	want := []time.Duration{50 * ms, 100 * ms, 200 * ms, 400 * ms, 800 * ms, 1600 * ms, 2000 * ms, 2000 * ms}
	require.Equal(t, want, delays)
	_, give := b.failed(now.Add(3 * time.Second))
	require.True(t, give)
	b.reset()
	d, give := b.failed(now)
	require.Equal(t, 50*ms, d)
	require.False(t, give)
}

// Retention overtakes a slow task: what it had processed is committed, also an epoch in flight, and it goes on where
// the log begins.
func TestPositionOutOfRange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		m, gate := gatedMember(t, c, taskID(0))
		c.produce(in0, keys(3)...)
		<-gate.sending
		c.produce(in0, "k0")
		synctest.Wait()
		c.mu.Lock()
		c.starts[in0] = 6
		c.mu.Unlock()
		c.produce(in0, "lost", "lost", "k1", "k2")
		synctest.Wait()
		close(gate.release)
		until(t, "all commits", func() bool { return c.committed(in0) == 8 })
		require.Equal(t, []string{"k0=1", "k1=1", "k2=1", "k0=2", "k1=2", "k2=2"}, c.read(out0))
		require.NoError(t, m.close(true))
	})
}

func TestFetchErrorEndsTheWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		m := newMember(t, c, countPlan(t, topology.InMemory()), nil)
		m.start()
		m.assign(taskID(0))
		synctest.Wait()
		m.fetcher.batches <- &Fetched{TopicPartition: part("in", 7), Err: errSomething} // not ours
		m.fetcher.batches <- &Fetched{TopicPartition: in0, Err: errSomething}           // of an older Add
		synctest.Wait()
		require.Empty(t, m.ran)
		m.fetcher.batches <- &Fetched{TopicPartition: in0, Err: errSomething, Generation: m.fetcher.generation[in0]}
		err := <-m.ran
		require.ErrorIs(t, err, errSomething)
		require.ErrorContains(t, err, "task 0_0: fetch in-0")
		m.manager.Close(t.Context(), false, nil)
	})
}
