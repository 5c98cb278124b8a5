package integration

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark"
	"github.com/tidemarkio/tidemark/integration/broker"
)

// TestStandbyTakesOver kills one of three instances whose tasks have standbys: the others go on from these, and read
// nothing of the changelogs again.
func TestStandbyTakesOver(t *testing.T) {
	s := newScenario(t, broker.Start(t))
	s.session, s.standbys, s.keys = 3*time.Second, 1, 3000
	dir := t.TempDir()
	instances := []*instance{s.start("a", dir), s.start("b", dir), s.start("c", dir)}
	s.send(9000)
	for _, i := range instances {
		i.awaitRunning()
	}
	s.check()
	// Where tasks are spread evenly nothing warms up any more, which would look like a standby.
	kept := func(alive []*instance) bool {
		tasks, standbys, lag := int64(0), int64(0), int64(0)
		least, most := int64(s.partitions), int64(0)
		for _, i := range alive {
			n := i.tasks.Load()
			tasks, standbys, lag = tasks+n, standbys+i.standbys.Load(), lag+i.lag.Load()
			least, most = min(least, n), max(most, n)
		}
		return tasks == int64(s.partitions) && most-least <= 1 && standbys == int64(s.partitions) && lag == 0
	}
	eventually(t, "each task has a standby", func() bool { return kept(instances) })
	victim := slices.MaxFunc(instances, func(a, b *instance) int { return int(a.tasks.Load() - b.tasks.Load()) })
	orphans := victim.tasks.Load()
	require.Positive(t, orphans)
	alive := slices.DeleteFunc(slices.Clone(instances), func(i *instance) bool { return i == victim })
	victim.kill()
	killed := time.Now()
	s.send(3000)
	s.cluster.AwaitCommitted(t, s.app, s.in, 60*time.Second)
	t.Logf("everything is processed %s after the kill, with a session timeout of %s",
		time.Since(killed).Round(time.Millisecond), s.session)
	s.check()
	var took []restoredStore
	for _, i := range alive {
		took = append(took, i.restores()...)
	}
	fromStandby := int64(0)
	for _, r := range took {
		if r.base == "standby" {
			fromStandby++
			require.Less(t, r.records, int64(3000), "task %s: what was committed last", r.task)
		}
	}
	require.GreaterOrEqual(t, fromStandby, orphans, "restored: %v", took)
	eventually(t, "each task has a standby again", func() bool { return kept(alive) })
	for _, i := range alive {
		i.stop()
	}
	checkCounts(t, s.cluster.ReadCommitted(t, s.out), s.sent)
}

// watchedRestores collects what an App restores.
type watchedRestores struct {
	mu   sync.Mutex
	ends []tidemark.RestoreEnd
}

func (w *watchedRestores) listener() tidemark.RestoreListener {
	return tidemark.RestoreListener{OnEnd: func(e tidemark.RestoreEnd) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.ends = append(w.ends, e)
	}}
}

func (w *watchedRestores) all() []tidemark.RestoreEnd {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.ends)
}

// TestScaleOutWarmsUp adds an instance to one with state: its half of the tasks moves when it has the state, and not
// before.
func TestScaleOutWarmsUp(t *testing.T) {
	s := newScenario(t, broker.Start(t))
	s.keys = 5000
	cfg := s.config()
	cfg.AcceptableRecoveryLag = 200
	one := s.run(countTopology(s.in, s.out), cfg)
	one.awaitRunning()
	s.send(10_000)
	s.check()
	var restores watchedRestores
	var follows sync.Map
	cfg.StateDir, cfg.RestoreListener = t.TempDir(), restores.listener()
	cfg.StandbyListener.OnUpdateStart = func(e tidemark.StandbyUpdateStart) { follows.Store(e.Task.String(), e.WarmUp) }
	two := s.run(countTopology(s.in, s.out), cfg)
	eventually(t, "half of the tasks have moved", func() bool {
		s.send(10)
		st, err := two.app.Status(t.Context())
		return err == nil && st.Running == int(s.partitions)/2 && st.Restoring == 0
	})
	s.check()
	for _, e := range restores.all() {
		require.Equal(t, "standby", e.Base, "%v", e)
		require.Less(t, e.Records, int64(1000), "%v: the rest was read before it moved", e)
		warm, followed := follows.Load(e.Task.String())
		require.True(t, followed && warm == true, "task %s was a warm-up", e.Task)
	}
	require.Len(t, restores.all(), int(s.partitions)/2)
	two.close() // and in again: everything goes back
	one.awaitTasks(int(s.partitions))
	s.send(500)
	s.check()
	one.close()
	checkCounts(t, s.cluster.ReadCommitted(t, s.out), s.sent)
}

// tasksOf lists the tasks that an App runs.
func (a *app) tasksOf() (ids []string) {
	a.t.Helper()
	st, err := a.app.Status(a.t.Context())
	require.NoError(a.t, err)
	for _, w := range st.Workers {
		for _, task := range w.Tasks {
			ids = append(ids, task.ID.String())
		}
	}
	slices.Sort(ids)
	return ids
}

// TestRollingRestart restarts three instances, one after the other: no task moves, and each finds its state.
func TestRollingRestart(t *testing.T) {
	s := newScenario(t, broker.Start(t))
	s.session = time.Minute // a restart takes less, however busy the machine is
	var apps []*app
	var configs []tidemark.Config
	build := func() tidemark.Topology { return countTopology(s.in, s.out) }
	for range 3 {
		cfg := s.config()
		cfg.LeaveGroupOnClose, cfg.StandbyReplicas = false, 1
		configs = append(configs, cfg)
		apps = append(apps, s.run(build(), cfg))
	}
	settled := func() bool {
		running, standbys := 0, 0
		for _, a := range apps {
			st, err := a.app.Status(t.Context())
			if err != nil || st.Restoring > 0 || st.Running == 0 {
				return false
			}
			running += st.Running
			for _, sb := range st.Standbys {
				if sb.State == tidemark.StandbyFollowing && sb.Lag == 0 && !sb.WarmUp {
					standbys++
				}
			}
		}
		return running == int(s.partitions) && standbys == int(s.partitions)
	}
	s.send(5000)
	eventually(t, "all run and have standbys", settled)
	s.check()
	owners := func() string {
		var all []string
		for _, a := range apps {
			all = append(all, fmt.Sprint(a.tasksOf()))
		}
		return fmt.Sprint(all)
	}
	before := owners()
	for i := range apps {
		apps[i].close()
		for j, a := range apps {
			if j != i {
				require.Contains(t, before, fmt.Sprint(a.tasksOf()), "the others keep what they have")
			}
		}
		s.send(500)
		var restores watchedRestores
		configs[i].RestoreListener = restores.listener()
		apps[i] = s.run(build(), configs[i])
		eventually(t, "all run again", settled)
		s.check()
		require.Equal(t, before, owners(), "no task moves")
		for _, e := range restores.all() {
			require.Equal(t, "local", e.Base, "%v", e)
		}
	}
	for _, a := range apps {
		a.close()
	}
	checkCounts(t, s.cluster.ReadCommitted(t, s.out), s.sent)
}
