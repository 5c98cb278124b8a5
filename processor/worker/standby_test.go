package worker

import (
	"context"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/eos"
	"github.com/tidemarkio/tidemark/processor/assign"
	"github.com/tidemarkio/tidemark/processor/task"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/store"
	"github.com/tidemarkio/tidemark/topology"
)

// heard collects what a member's listeners are told.
type heard struct {
	mu        sync.Mutex
	starts    []RestoreStart
	ends      []RestoreEnd
	follows   []StandbyUpdateStart
	loaded    []StandbyBatchLoaded
	suspended []StandbyUpdateSuspended
}

func (h *heard) restores() RestoreListener {
	return RestoreListener{
		OnStart: func(e RestoreStart) { note(h, &h.starts, e) },
		OnEnd:   func(e RestoreEnd) { note(h, &h.ends, e) },
	}
}

func (h *heard) standbys() StandbyListener {
	return StandbyListener{
		OnUpdateStart:     func(e StandbyUpdateStart) { note(h, &h.follows, e) },
		OnBatchLoaded:     func(e StandbyBatchLoaded) { note(h, &h.loaded, e) },
		OnUpdateSuspended: func(e StandbyUpdateSuspended) { note(h, &h.suspended, e) },
	}
}

func note[E any](h *heard, list *[]E, e E) {
	h.mu.Lock()
	defer h.mu.Unlock()
	*list = append(*list, e)
}

func get[E any](h *heard, list *[]E) []E {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(*list)
}

// newKeeper makes a member that keeps standbys, and what it tells.
func newKeeper(t *testing.T, c *cluster, opts ...topology.StoreOption) (*member, *heard) {
	t.Helper()
	m, h := newMember(t, c, countPlan(t, opts...), nil), &heard{}
	cfg := m.restorer.cfg
	cfg.Listener = h.restores()
	m.restorer = NewRestorer(cfg)
	return m.keep(func(sc *StandbysConfig) { sc.Restorer, sc.Listener = m.restorer, h.standbys() }), h
}

// standby reads the counts of a standby; nil if there is none.
func (m *member) standby(id record.TaskID) (counts map[string]int64, st Staleness) {
	m.t.Helper()
	err := m.manager.ReadStandby(context.Background(), id, func(t *task.Task, s Staleness) error {
		counts, st = restored(m.t, &Restored{Task: t}), s
		return nil
	})
	if err != nil {
		require.ErrorIs(m.t, err, ErrNoTask)
	}
	return counts, st
}

// has waits until a standby has these counts.
func (m *member) has(id record.TaskID, want map[string]int64) {
	m.t.Helper()
	until(m.t, "a standby that has the counts", func() bool {
		got, st := m.standby(id)
		return st.Lag == 0 && maps.Equal(want, got)
	})
}

// A crash: the standby goes on from where it is, and reads next to nothing for it.
func TestStandbyIsPromoted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		a := newMember(t, c, countPlan(t, topology.InMemory()), nil)
		a.start()
		a.assign(taskID(0))
		c.produce(in0, keys(10)...)
		until(t, "the first commit", func() bool { return c.committed(in0) == 10 })
		b, h := newKeeper(t, c, topology.InMemory())
		b.start()
		b.assigned(assign.Assignment{Standby: []record.TaskID{taskID(0)}})
		b.has(taskID(0), map[string]int64{"k0": 4, "k1": 3, "k2": 3})
		c.produce(in0, keys(3)...) // it follows
		until(t, "the second commit", func() bool { return c.committed(in0) == 13 })
		b.has(taskID(0), map[string]int64{"k0": 5, "k1": 4, "k2": 4})
		running, restoring := b.manager.TaskStates()
		require.Zero(t, running+restoring, "a standby does not count as a task")
		require.Empty(t, b.manager.Owned())

		a.manager.Lost(errSomething)
		read := len(b.reader.from)
		b.assign(taskID(0))
		c.produce(in0, "k0")
		until(t, "the commit of the new owner", func() bool { return c.committed(in0) == 14 })
		require.Equal(t, counted(append(append(keys(10), keys(3)...), "k0")), c.read(out0))
		starts := get(h, &h.starts)
		require.Len(t, starts, 1)
		require.Equal(t, "standby", starts[0].Base)
		require.Equal(t, starts[0].From, starts[0].To, "it was at the end")
		require.Len(t, b.reader.from, read, "nothing was read again")
		require.Equal(t, int64(0), get(h, &h.ends)[0].Records)
		suspended := get(h, &h.suspended)
		require.Len(t, suspended, 1)
		require.Equal(t, StandbyPromoted, suspended[0].Reason)
		require.Equal(t, starts[0].From, suspended[0].Position)
		require.Equal(t, "none", get(h, &h.follows)[0].Base)
		_, st := b.standby(taskID(0))
		require.Zero(t, st, "it is none any more")
		require.NoError(t, b.close(true))
		require.NoError(t, a.close(false))
	})
}

// A task whose owner becomes its standby, and the other way round: nothing is open twice, and the state goes on.
func TestOwnerAndStandbyChangePlaces(t *testing.T) {
	c := newCluster()
	a, ha := newKeeper(t, c)
	b, hb := newKeeper(t, c)
	a.start()
	b.start()
	a.assign(taskID(0))
	b.assigned(assign.Assignment{Standby: []record.TaskID{taskID(0)}})
	want := []string(nil)
	sees := func(m *member, counts map[string]int64) {
		t.Helper()
		require.Eventually(t, func() bool {
			got, st := m.standby(taskID(0))
			return st.Lag == 0 && maps.Equal(counts, got)
		}, time.Minute, time.Millisecond)
	}
	for round := range 4 {
		owner, other := a, b
		if round%2 == 1 {
			owner, other = b, a
		}
		c.produce(in0, "x")
		want = append(want, "x")
		require.Eventually(t, func() bool { return c.committed(in0) == int64(len(want)) }, time.Minute, time.Millisecond)
		sees(other, map[string]int64{"x": int64(len(want))})
		next := owner.assigned(assign.Assignment{Standby: []record.TaskID{taskID(0)}, Pending: true})
		require.Equal(t, Afterwards{Rejoin: true, Pending: true}, next)
		require.Equal(t, Afterwards{}, other.assigned(assign.Assignment{Tasks: []record.TaskID{taskID(0)}}))
	}
	sees(b, map[string]int64{"x": 4})
	require.Equal(t, counted(want), c.read(out0))
	for _, h := range []*heard{ha, hb} {
		for _, s := range get(h, &h.starts)[1:] {
			require.Equal(t, "standby", s.Base)
		}
	}
	follows := get(hb, &hb.follows)
	require.Equal(t, []string{"none", "local", "local"},
		[]string{follows[0].Base, follows[1].Base, follows[len(follows)-1].Base})
	require.Zero(t, a.dir.marked(taskID(0), "remove")+b.dir.marked(taskID(0), "remove"))
	require.Empty(t, a.failures)
	require.Empty(t, b.failures)
	require.NoError(t, a.close(true))
	require.NoError(t, b.close(true))
	require.Equal(t, b.dir.position, int64(len(c.logs[counts0])), "the mark says how far it is")
	require.Equal(t, StandbyMigrated, get(hb, &hb.suspended)[len(get(hb, &hb.suspended))-1].Reason)
}

// An owner that dies while the standby still reads: it goes on from there, and not from the beginning.
func TestPromotedWhileItCatchesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		for n := range int64(50) {
			c.changelogOfCounts(t, "k", n+1)
		}
		m, h := newKeeper(t, c, topology.InMemory())
		reader := &haltingReader{fakeReader: m.reader, at: 20, reached: make(chan struct{})}
		m.restorer.cfg.Reader = reader
		m.start()
		m.assigned(assign.Assignment{Standby: []record.TaskID{taskID(0)}})
		<-reader.reached
		require.Equal(t, StandbyRestoring, m.manager.Standbys()[0].State)
		require.Equal(t, int64(30), m.manager.Standbys()[0].Lag)
		_, st := m.standby(taskID(0))
		require.Zero(t, st, "it does not answer yet")
		m.assign(taskID(0))
		c.produce(in0, "k")
		until(t, "the first commit", func() bool { return len(c.read(out0)) == 1 })
		require.Equal(t, []string{"k=51"}, c.read(out0))
		starts := get(h, &h.starts)
		require.Equal(t, int64(20), starts[0].From)
		require.Equal(t, "standby", starts[0].Base)
		require.NoError(t, m.close(true))
	})
}

// haltingReader stops at an offset of its first read until the context ends.
type haltingReader struct {
	*fakeReader

	at      int64
	reached chan struct{}
	halted  bool
}

func (r *haltingReader) Read(
	ctx context.Context, tp record.TopicPartition, from, to int64, fn func([]record.Raw, int64) error,
) error {
	if r.halted {
		return r.fakeReader.Read(ctx, tp, from, to, fn)
	}
	r.halted = true
	if err := r.fakeReader.Read(ctx, tp, from, r.at, fn); err != nil {
		return err
	}
	close(r.reached)
	<-ctx.Done()
	return ctx.Err()
}

// Standbys wait for slots of their own; a promotion for none of them, not even for its own.
func TestPromotionWaitsForNoStandby(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		c.changelogOfCounts(t, "k", 1)
		m, _ := newKeeper(t, c, topology.InMemory())
		m.reader.gate = make(chan struct{})
		cfg := m.restorer.cfg
		cfg.Parallel = 1
		m.restorer = NewRestorer(cfg)
		m.keep(nil)
		m.start()
		m.assigned(assign.Assignment{Standby: []record.TaskID{taskID(0)}})
		synctest.Wait()
		m.assigned(assign.Assignment{Standby: []record.TaskID{taskID(0), taskID(1)}})
		synctest.Wait()
		states := m.manager.Standbys()
		require.Equal(t, [2]StandbyState{StandbyRestoring, StandbyWaiting}, [2]StandbyState{states[0].State, states[1].State})
		m.assigned(assign.Assignment{Standby: []record.TaskID{taskID(0)}, Tasks: []record.TaskID{taskID(1)}})
		until(t, "the task runs", func() bool { n, _ := m.manager.TaskStates(); return n == 1 })
		require.Equal(t, StandbyRestoring, m.manager.Standbys()[0].State)
		require.NoError(t, m.close(true), "closing does not wait for it either")
	})
}

// A warm-up asks for its task once it is near enough, and again after growing pauses for as long as it is one.
func TestWarmUpAsks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		for n := range int64(20) {
			c.changelogOfCounts(t, "k", n+1)
		}
		m, _ := newKeeper(t, c, topology.InMemory())
		m.reader.gate = make(chan struct{})
		m.start()
		_, sent := m.manager.Subscription()
		m.assigned(assign.Assignment{Warmup: []record.TaskID{taskID(0)}})
		time.Sleep(time.Minute)
		require.Empty(t, m.rejoined, "it has read nothing")
		sub := m.subscription()
		require.Equal(t, []record.TaskID{taskID(0)}, sub.Following)
		require.Equal(t, []record.TaskID{taskID(0)}, sub.Warming)
		require.Equal(t, []record.TaskID{taskID(0)}, sub.Previous)
		require.Equal(t, map[record.TaskID]int64{taskID(0): 0}, sub.Positions)
		require.Empty(t, sub.Ready)
		close(m.reader.gate)
		require.Equal(t, "warm-up of 0_0 has caught up", <-m.rejoined)
		sub = m.subscription()
		require.Equal(t, []record.TaskID{taskID(0)}, sub.Ready)
		require.Equal(t, map[record.TaskID]int64{taskID(0): 20}, sub.Positions)
		_, now := m.manager.Subscription()
		require.NotEqual(t, sent, now, "or the coordinator would not wake the leader")
		asked := time.Now()
		<-m.rejoined
		first := time.Since(asked)
		require.GreaterOrEqual(t, first, time.Second)
		<-m.rejoined
		<-m.rejoined
		require.GreaterOrEqual(t, time.Since(asked), 6*first)
		require.True(t, m.manager.Standbys()[0].WarmUp)
		m.assigned(assign.Assignment{Standby: []record.TaskID{taskID(0)}}) // of another mind
		synctest.Wait()
		for len(m.rejoined) > 0 {
			<-m.rejoined
		}
		time.Sleep(2 * time.Minute)
		require.Empty(t, m.rejoined, "a standby does not ask")
		require.False(t, m.manager.Standbys()[0].WarmUp)
		require.NoError(t, m.close(true))
	})
}

func (m *member) subscription() assign.Subscription {
	_, data := m.manager.Subscription()
	sub, err := assign.DecodeSubscription(data)
	require.NoError(m.t, err)
	return sub
}

// What a standby must never do: end its owner's transaction, or wait for it.
func TestStandbyWaitsForNoTransaction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		for n := range int64(10) {
			c.changelogOfCounts(t, "k", n+1)
		}
		c.unstable, c.undecided = -1, 3
		m, _ := newKeeper(t, c, topology.InMemory())
		m.standbys.cfg.Fetcher.(*fakeFetcher).hold(3) //nolint:forcetypeassert,errcheck // it is
		m.start()
		m.assigned(assign.Assignment{Standby: []record.TaskID{taskID(0)}})
		m.has(taskID(0), map[string]int64{"k": 7})
		time.Sleep(time.Minute)
		require.Empty(t, c.fenced)
		m.assign(taskID(0)) // now it must
		until(t, "the task runs", func() bool { n, _ := m.manager.TaskStates(); return n == 1 })
		require.NotEmpty(t, c.fenced)
		c.produce(in0, "k")
		until(t, "the first commit", func() bool { return len(c.read(out0)) == 1 })
		require.Equal(t, []string{"k=11"}, c.read(out0))
		require.NoError(t, m.close(true))
	})
}

// The log no longer reaches back to the standby, or a batch is damaged: it begins again, and says so.
func TestStandbyThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		c.changelogOfCounts(t, "a", 1)
		m, h := newKeeper(t, c, topology.InMemory())
		m.start()
		m.assigned(assign.Assignment{Standby: []record.TaskID{taskID(0)}})
		m.has(taskID(0), map[string]int64{"a": 1})
		f := m.standbys.cfg.Fetcher.(*fakeFetcher) //nolint:forcetypeassert,errcheck // it is
		f.send(&Fetched{TopicPartition: counts0, Err: ErrOffsetOutOfRange})
		until(t, "it has noticed", func() bool { return m.manager.Standbys()[0].State == StandbyWaiting })
		require.Contains(t, m.manager.Standbys()[0].Failure, "offset out of range")
		require.Equal(t, StandbyFailed, get(h, &h.suspended)[0].Reason)
		c.changelogOfCounts(t, "b", 2)
		m.has(taskID(0), map[string]int64{"a": 1, "b": 2})
		require.Empty(t, m.failures, "the instance goes on")
		require.Empty(t, m.rejoined)
		st := m.manager.Standbys()[0]
		require.Equal(t, StandbyFollowing, st.State)
		require.Equal(t, []StandbyStore{{Store: "counts", TopicPartition: counts0, Position: 2, End: 2}}, st.Stores)
		require.False(t, st.CaughtUp.IsZero())
		require.NoError(t, m.close(true))
	})
}

// A standby that nobody wrote to for long is as fresh as its last look at the end.
func TestIdleStandbyStaysFresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		c.changelogOfCounts(t, "a", 1)
		m, _ := newKeeper(t, c, topology.InMemory())
		m.start()
		m.assigned(assign.Assignment{Standby: []record.TaskID{taskID(0)}})
		m.has(taskID(0), map[string]int64{"a": 1})
		time.Sleep(time.Hour) // tombstones live for a minute
		synctest.Wait()
		counts, st := m.standby(taskID(0))
		require.Equal(t, map[string]int64{"a": 1}, counts)
		require.Less(t, time.Since(st.At), 2*time.Second)
		require.Equal(t, map[string]int64{"counts": 1}, st.Positions)
		c.mu.Lock()
		c.fetchers = nil // it does not hear of what comes
		c.mu.Unlock()
		c.changelogOfCounts(t, "a", 2)
		time.Sleep(3 * time.Second)
		synctest.Wait()
		_, st = m.standby(taskID(0))
		require.Equal(t, int64(1), st.Lag)
		require.GreaterOrEqual(t, time.Since(st.At), 2*time.Second)
		m.assign(taskID(0))
		until(t, "the task runs", func() bool { n, _ := m.manager.TaskStates(); return n == 1 })
		require.Equal(t, int64(1), m.reader.from[len(m.reader.from)-1], "the state was good to go on from")
		require.NoError(t, m.close(true))
	})
}

// A table whose topic is its changelog: the standby has what the task has processed, and no more.
func TestStandbyOfASourceTopic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		m := newMember(t, c, tablePlan(t, topology.ReuseSourceTopics), nil)
		m.plan.Subtopologies[0].Stores[0].InMemory = true
		m.keep(nil)
		rows := func() (got map[string]string) {
			_ = m.manager.ReadStandby(t.Context(), taskID(0), func(tk *task.Task, _ Staleness) error {
				got = rowsOf(t, &Restored{Task: tk})
				return nil
			})
			return got
		}
		c.produce(in0, "a", "b", "c", "d", "e")
		commit := func(at int64) {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.offsets[in0] = eos.Offset{Offset: at}
		}
		commit(2)
		m.start()
		m.assigned(assign.Assignment{Standby: []record.TaskID{taskID(0)}})
		until(t, "what is committed", func() bool { return len(rows()) == 2 })
		time.Sleep(10 * time.Second)
		synctest.Wait()
		require.Equal(t, map[string]string{"a": "v", "b": "v"}, rows())
		commit(4)
		until(t, "what is committed now", func() bool { return len(rows()) == 4 })
		time.Sleep(10 * time.Second)
		synctest.Wait()
		require.Len(t, rows(), 4)
		require.Equal(t, []StandbyStore{{Store: "rows", TopicPartition: in0, Position: 4, End: 4}},
			m.manager.Standbys()[0].Stores)
		ends, err := m.restorer.endsOf(t.Context(), logsFor(m, 0))
		require.NoError(t, err)
		require.Equal(t, map[record.TaskID]int64{taskID(0): 4}, ends, "what the leader compares with")
		m.assign(taskID(0))
		until(t, "the rest is processed", func() bool { return c.committed(in0) == 5 })
		require.NoError(t, m.close(true))
	})
}

func logsFor(m *member, p int32) map[record.TaskID][]*changelogOf {
	logs, _, _ := m.restorer.logsOf(m.taskConfig(taskID(p)))
	return map[record.TaskID][]*changelogOf{taskID(p): logs}
}

// What the leader knows of state decides who gets a task.
func TestLeaderPlacesByState(t *testing.T) {
	c := newCluster()
	for n := range int64(20) {
		c.changelogOfCounts(t, "k", n+1)
	}
	m, _ := newKeeper(t, c)
	o := m.manager.placing(t.Context(), []record.TaskID{taskID(0), taskID(1)}, 2)
	require.True(t, o.Stateful(taskID(0)))
	require.Equal(t, map[record.TaskID]int64{taskID(0): 20, taskID(1): 0}, o.Ends)
	require.Equal(t, [2]int{1, 2}, [2]int{o.StandbyReplicas, o.MaxWarmups})
	require.Equal(t, int64(5), o.AcceptableLag)
	require.Empty(t, m.manager.placing(t.Context(), []record.TaskID{taskID(0)}, 1).Ends, "nobody is asked for one member")
	m.dir.tasks = []store.TaskState{{ID: taskID(0), Position: 12}, {ID: taskID(1), Position: -1}}
	sub := m.subscription()
	require.Equal(t, []record.TaskID{taskID(0), taskID(1)}, sub.Previous)
	require.Equal(t, map[record.TaskID]int64{taskID(0): 12}, sub.Positions)
}

func TestReadStandbyPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		m, _ := newKeeper(t, c, topology.InMemory())
		m.start()
		m.assigned(assign.Assignment{Standby: []record.TaskID{taskID(0)}})
		m.has(taskID(0), map[string]int64{})
		err := m.manager.ReadStandby(t.Context(), taskID(0), func(*task.Task, Staleness) error { panic("oh") })
		require.ErrorContains(t, err, "a reader panicked: oh")
		require.NoError(t, m.close(true))
		require.ErrorIs(t, m.manager.ReadStandby(t.Context(), taskID(0), nil), ErrNoTask)
	})
}

func TestStandbyEvents(t *testing.T) {
	at := part("counts-changelog", 3)
	require.Equal(t, "task 0_3 store counts follows counts-changelog-3 from 5, base local",
		StandbyUpdateStart{Task: taskID(3), Store: "counts", TopicPartition: at, From: 5, Base: "local"}.String())
	require.Equal(t, "task 0_3 store counts has 2 records more of counts-changelog-3, at 7 of 9", StandbyBatchLoaded{
		Task: taskID(3), Store: "counts", TopicPartition: at, Records: 2, Position: 7, End: 9,
	}.String())
	require.Equal(t, "task 0_3 store counts promoted at 9 of 9 of counts-changelog-3", StandbyUpdateSuspended{
		Task: taskID(3), Store: "counts", TopicPartition: at, Position: 9, End: 9, Reason: StandbyPromoted,
	}.String())
	require.Equal(t, "SuspendReason(7)", SuspendReason(7).String())
	require.Equal(t, "waiting opening restoring following StandbyState(9)", StandbyWaiting.String()+" "+
		StandbyOpening.String()+" "+StandbyRestoring.String()+" "+StandbyFollowing.String()+" "+StandbyState(9).String())
	require.Equal(t, int64(0), StandbyStore{Position: 5, End: 3}.Lag())
}
