package integration

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark"
	"github.com/tidemarkio/tidemark/checkpointing"
	"github.com/tidemarkio/tidemark/checkpointing/storage"
	"github.com/tidemarkio/tidemark/checkpointing/storage/dir"
	"github.com/tidemarkio/tidemark/checkpointing/storage/mem"
	"github.com/tidemarkio/tidemark/checkpointing/storage/storagetest"
	"github.com/tidemarkio/tidemark/integration/broker"
	"github.com/tidemarkio/tidemark/record"
)

// checkpointed is the scenario's configuration with checkpoints.
func (s *scenario) checkpointed(to storage.Storage, interval time.Duration) tidemark.Config {
	cfg := s.config()
	cfg.Checkpointing = checkpointing.Config{
		Storage: to, Interval: interval, Timeout: 20 * time.Second, Retained: 2, Incremental: true,
	}
	return cfg
}

// checkpoints asks an App for its status.
func (a *app) checkpoints() tidemark.CheckpointStatus {
	a.t.Helper()
	s, err := a.app.Status(a.t.Context())
	require.NoError(a.t, err)
	return s.Checkpoints
}

// awaitCheckpoints waits until n more checkpoints have completed.
func (a *app) awaitCheckpoints(n int64) tidemark.CheckpointStatus {
	a.t.Helper()
	before := a.checkpoints().Completed
	eventually(a.t, "completed checkpoints", func() bool { return a.checkpoints().Completed >= before+n })
	return a.checkpoints()
}

// objects lists what a storage holds of the application.
func (s *scenario) objects(in storage.Storage, part string) (names []string) {
	s.t.Helper()
	for o, err := range in.List(s.t.Context(), s.app+"/") {
		require.NoError(s.t, err)
		if strings.Contains(o.Name, part) {
			names = append(names, o.Name)
		}
	}
	return names
}

// load sends records until the returned function is called.
func (s *scenario) load() (stop func()) {
	end := make(chan struct{})
	var done sync.WaitGroup
	done.Go(func() {
		for {
			select {
			case <-end:
				return
			default:
				s.send(200)
			}
		}
	})
	return func() { close(end); done.Wait() }
}

// TestCheckpointsUnderLoad makes checkpoints of a topology with a repartition topic while records come, with two
// instances, aligned and unaligned, and looks at what is left.
func TestCheckpointsUnderLoad(t *testing.T) {
	for name, unaligned := range map[string]bool{"aligned": false, "unaligned": true} {
		t.Run(name, func(t *testing.T) {
			s := newScenario(t, broker.Start(t))
			to := dir.New(t.TempDir())
			configure := func() tidemark.Config {
				cfg := s.checkpointed(to, 100*time.Millisecond)
				cfg.Checkpointing.Unaligned = unaligned
				return cfg
			}
			first := s.run(repartitionTopology(s.in, s.out), configure())
			second := s.run(repartitionTopology(s.in, s.out), configure())
			awaitSettled(t, 8, first, second)
			stop := s.load()
			failed := first.awaitCheckpoints(1).Failed // those that tasks declined which were on their way
			status := first.awaitCheckpoints(8)
			stop()
			last := status.LastCompleted
			require.Equal(t, failed, status.Failed, "%+v", status.LastFailed)
			require.Len(t, last.Tasks, 8)
			for _, task := range last.Tasks {
				if !unaligned || strings.HasPrefix(task.Task, "0_") {
					require.False(t, task.Unaligned, "%s: nothing overtakes anything here", task.Task)
				}
			}
			require.NotEqual(t, first.checkpoints().Coordinator, second.checkpoints().Coordinator)
			s.check()
			for _, a := range []*app{first, second} { // both hear the same
				eventually(t, "the same history", func() bool { return a.checkpoints().Completed >= 8 })
			}
			first.close()
			second.close()
			stored, err := checkpointing.ScanStored(t.Context(), s.app, to, nil)
			require.NoError(t, err)
			require.LessOrEqual(t, len(stored.Checkpoints), 3)
			for _, id := range stored.Checkpoints {
				m, err := checkpointing.Load(t.Context(), to, checkpointing.CheckpointFolder(s.app, id))
				require.NoError(t, err)
				require.Len(t, m.Tasks, 8)
				for _, task := range m.Tasks {
					require.NotEmpty(t, task.Inputs)
				}
			}
		})
	}
}

// TestRestoreFromSnapshot starts an instance without local state where another one has made checkpoints: it reads the
// snapshot and not the changelog, and its totals are right.
func TestRestoreFromSnapshot(t *testing.T) {
	s := newScenario(t, broker.Start(t))
	to := dir.New(t.TempDir())
	first := s.run(repartitionTopology(s.in, s.out), s.checkpointed(to, 0))
	first.awaitRunning()
	for range 20 { // each commit writes each key again
		s.send(100)
		s.check()
	}
	made, err := first.app.TriggerCheckpoint(t.Context(), tidemark.CheckpointOptions{})
	require.NoError(t, err)
	require.Equal(t, checkpointing.CheckpointFolder(s.app, made.ID), made.Location)
	s.send(500)
	s.check()
	first.close()

	var mu sync.Mutex
	bases := make(map[string]int64)
	cfg := s.checkpointed(to, 0) // another state directory
	cfg.RestoreListener.OnStart = func(r tidemark.RestoreStart) {
		mu.Lock()
		defer mu.Unlock()
		bases[r.Base]++
	}
	second := s.run(repartitionTopology(s.in, s.out), cfg)
	second.awaitRunning()
	s.send(500)
	s.check()
	mu.Lock()
	defer mu.Unlock()
	found := false
	for base := range bases {
		found = found || strings.Contains(base, "snapshot")
	}
	require.True(t, found, "%v", bases)
	eventually(t, "the status tells", func() bool { return second.checkpoints().LastRestored != nil })
}

// TestCheckpointsAreIncremental sees that little is stored where little has changed.
func TestCheckpointsAreIncremental(t *testing.T) {
	s := newScenario(t, broker.Start(t))
	s.keys = 20_000
	to := dir.New(t.TempDir())
	a := s.run(countTopology(s.in, s.out), s.checkpointed(to, 0))
	a.awaitRunning()
	s.send(20_000)
	s.check()
	_, err := a.app.TriggerCheckpoint(t.Context(), tidemark.CheckpointOptions{})
	require.NoError(t, err)
	eventually(t, "the first one", func() bool { return a.checkpoints().LastCompleted != nil })
	full := a.checkpoints().LastCompleted
	s.keys = 100
	s.send(100)
	s.cluster.AwaitCommitted(t, s.app, s.in, badPatience)
	_, err = a.app.TriggerCheckpoint(t.Context(), tidemark.CheckpointOptions{})
	require.NoError(t, err)
	eventually(t, "the second one", func() bool { return a.checkpoints().LastCompleted.ID > full.ID })
	small := a.checkpoints().LastCompleted
	require.Equal(t, full.ID, small.Base)
	require.Less(t, small.Bytes, full.Bytes/10)
	require.GreaterOrEqual(t, small.StateBytes, full.StateBytes)
	_, err = a.app.TriggerCheckpoint(t.Context(), tidemark.CheckpointOptions{Full: true})
	require.NoError(t, err)
	eventually(t, "the third one", func() bool { return a.checkpoints().LastCompleted.ID > small.ID })
	require.Greater(t, a.checkpoints().LastCompleted.Bytes, full.Bytes/2)
}

// TestCoordinatorIsKilled kills the process that coordinates, in the middle of checkpoints: the other one goes on.
func TestCoordinatorIsKilled(t *testing.T) {
	t.Parallel()
	s := newScenario(t, broker.Start(t))
	s.topology, s.checkpoints = "repartition", t.TempDir()
	s.session = 6 * time.Second
	state := t.TempDir()
	first, second := s.start("a", state), s.start("b", state)
	first.awaitRunning()
	second.awaitRunning()
	to := dir.New(s.checkpoints)
	newest := func() int64 {
		stored, err := checkpointing.ScanStored(t.Context(), s.app, to, nil)
		require.NoError(t, err)
		if n := len(stored.Checkpoints); n > 0 {
			return stored.Checkpoints[n-1]
		}
		return 0
	}
	s.send(1000)
	eventually(t, "a checkpoint", func() bool { return newest() > 0 })
	before := newest()
	first.kill()
	s.send(1000)
	eventually(t, "a checkpoint of the survivor", func() bool { return newest() > before })
	before = newest()
	second.kill()
	third := s.start("c", state)
	third.awaitRunning()
	s.send(1000)
	eventually(t, "a checkpoint of the third", func() bool { return newest() > before })
	s.check()
	third.stop()
}

// TestStorageFails lets the storage refuse, hang and lie: checkpoints are aborted, processing goes on, and nothing is
// left of them in the end.
func TestStorageFails(t *testing.T) {
	s := newScenario(t, broker.Start(t))
	faulty := storagetest.NewFaulty(mem.New())
	cfg := s.checkpointed(faulty, 50*time.Millisecond)
	cfg.Checkpointing.Timeout = time.Second
	a := s.run(countTopology(s.in, s.out), cfg)
	a.awaitRunning()
	s.send(500)
	a.awaitCheckpoints(1)
	for _, fault := range []storagetest.Fault{
		storagetest.Refuse, storagetest.Deny, storagetest.Hang, storagetest.DiskFull,
	} {
		failed := a.checkpoints().Failed
		faulty.Arm(storagetest.OnCreate, "", storagetest.Deny, 0, 3)
		faulty.Arm(storagetest.OnCommit, "", fault, 0, 3)
		faulty.Arm(storagetest.OnDelete, "", fault, 0, 2)
		s.send(300)
		eventually(t, "a failed checkpoint", func() bool { return a.checkpoints().Failed > failed })
		s.check()
		faulty.Disarm()
		a.awaitCheckpoints(2)
	}
	require.NotEmpty(t, a.checkpoints().LastFailed.Reason)
	eventually(t, "a tidy storage", func() bool {
		folders := make(map[string]bool)
		for _, name := range s.objects(faulty.Storage, "chk-") {
			folders[strings.Split(name, "/")[1]] = true
		}
		return len(folders) <= 8 // of the retained, what they build on, and one in progress
	})
}

// TestStorageHangsAtStart starts instances without local state while the storage does not answer: they restore from
// changelogs, and checkpoints are made again when it does.
func TestStorageHangsAtStart(t *testing.T) {
	t.Parallel()
	s := newScenario(t, broker.Start(t))
	faulty := storagetest.NewFaulty(mem.New())
	first := s.run(countTopology(s.in, s.out), s.checkpointed(faulty, 0))
	first.awaitRunning()
	s.send(500)
	s.check()
	_, err := first.app.TriggerCheckpoint(t.Context(), tidemark.CheckpointOptions{})
	require.NoError(t, err)
	first.close()
	for _, op := range []storagetest.Op{storagetest.OnList, storagetest.OnOpen} {
		faulty.Arm(op, "", storagetest.Hang, 0, -1)
		cfg := s.checkpointed(faulty, 100*time.Millisecond)
		cfg.Checkpointing.Timeout = time.Second
		a := s.run(countTopology(s.in, s.out), cfg)
		a.awaitRunning()
		s.send(300)
		s.check()
		faulty.Disarm()
		a.awaitCheckpoints(1)
		a.close()
	}
}

// TestSavepoint makes savepoints from within and from outside, and ends the application with one.
func TestSavepoint(t *testing.T) {
	s := newScenario(t, broker.Start(t))
	to := dir.New(t.TempDir())
	cfg := s.checkpointed(to, 200*time.Millisecond)
	_, err := tidemark.NewControl(t.Context(), cfg)
	require.ErrorIs(t, err, tidemark.ErrNoControl)
	first := s.run(repartitionTopology(s.in, s.out), cfg)
	other := s.run(repartitionTopology(s.in, s.out), s.checkpointed(to, 200*time.Millisecond))
	awaitSettled(t, 8, first, other)
	s.send(2000)
	saved, err := first.app.Savepoint(t.Context(), tidemark.SavepointOptions{Timeout: badPatience})
	require.NoError(t, err)
	require.Contains(t, saved.Location, s.app+"/savepoint-")
	m, err := checkpointing.Load(t.Context(), to, saved.Location)
	require.NoError(t, err)
	require.Equal(t, checkpointing.KindSavepoint, m.Kind)
	for _, f := range m.Files() {
		require.True(t, strings.HasPrefix(f.Name, saved.Location+"/"), "%s lies outside", f.Name)
	}

	control, err := tidemark.NewControl(t.Context(), cfg)
	require.NoError(t, err)
	defer func() { require.NoError(t, control.Close()) }()
	retained := -1
	require.ErrorContains(t, control.Configure(t.Context(), checkpointing.Overrides{Retained: &retained}), "Retained")
	never := int64(0)
	require.NoError(t, control.Configure(t.Context(), checkpointing.Overrides{IntervalMs: &never}))
	eventually(t, "the new interval", func() bool { return other.checkpoints().Config.Interval == 0 })

	stop := s.load()
	last, err := control.StopWithSavepoint(t.Context(), tidemark.SavepointOptions{})
	stop()
	require.NoError(t, err)
	for _, a := range []*app{first, other} {
		select {
		case <-a.done:
			require.NoError(t, a.err)
		case <-time.After(badPatience):
			require.FailNow(t, "an instance does not end")
		}
	}
	// Nothing was processed behind the savepoint: its positions are those that were committed last.
	m, err = checkpointing.Load(t.Context(), to, last.Location)
	require.NoError(t, err)
	committed := s.cluster.CommittedOffsets(t, s.app)
	for _, task := range m.Tasks {
		for _, in := range task.Inputs {
			if in.Topic == s.in {
				tp := record.TopicPartition{Topic: in.Topic, Partition: in.Partition}
				require.Equal(t, committed[tp], in.Offset, "%s", tp)
			}
		}
	}

	short, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err = control.Savepoint(short, tidemark.SavepointOptions{})
	require.ErrorContains(t, err, "an instance must run")

	third := s.run(repartitionTopology(s.in, s.out), s.checkpointed(to, 0)) // the old stop does not concern it
	third.awaitRunning()
	s.check()
	third.close()
}
