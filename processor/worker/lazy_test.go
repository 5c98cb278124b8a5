package worker

import (
	"context"
	"errors"
	"io"
	"iter"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/checkpointing"
	"github.com/tidemarkio/tidemark/processor/task"
	"github.com/tidemarkio/tidemark/store"
)

// newLazy is newSnapshotting for tasks that run before their snapshot is loaded.
func newLazy(t *testing.T) *snapshotting {
	t.Helper()
	s := newSnapshotting(t)
	cfg := s.restorer.cfg
	cfg.Lazy, cfg.Listener.OnProgress = true, nil
	s.restorer = NewRestorer(cfg)
	s.manager.cfg.Restorer = s.restorer
	return s
}

// gated holds the load of the newest snapshot back until the gate is closed; then it ends with an error, or well.
func (s *snapshotting) gated(err error) (gate chan struct{}) {
	gate = make(chan struct{})
	c := &s.shelf.candidates[0]
	open := c.Open
	c.Open = func(ctx context.Context) iter.Seq2[store.Entry, error] {
		return func(yield func(store.Entry, error) bool) {
			select {
			case <-gate:
			case <-ctx.Done():
				yield(store.Entry{}, ctx.Err())
				return
			}
			for at, err := range open(ctx) {
				if !yield(at, err) {
					return
				}
			}
			if err != nil {
				yield(store.Entry{}, err)
			}
		}
	}
	return gate
}

func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	require.Eventually(t, done, 30*time.Second, time.Millisecond, what)
}

// loading is what the worker says of the state of its task.
func (s *snapshotting) loadingNow() *store.Loading {
	now, err := s.worker.Snapshot(s.t.Context())
	require.NoError(s.t, err)
	if len(now.Tasks) == 0 {
		return nil
	}
	return now.Tasks[0].Loading
}

// A task processes, with all that it had counted before, while its snapshot is still on its way.
func TestTasksRunBeforeTheirSnapshotIsLoaded(t *testing.T) {
	s := newLazy(t)
	s.count("k0", 20, 20)
	s.count("k1", 20, 30)
	s.snapshot(7)
	s.count("k1", 2, 32) // the tail
	gate := s.gated(nil)
	declined := make(chan checkpointing.Decline, 9)
	s.worker.cfg.OnDecline = func(d checkpointing.Decline) { declined <- d }
	s.channels = &task.Channels{}
	s.start()
	s.assign(taskID(0))
	s.c.produce(in0, "k0", "k1", "k2", "k0")
	eventually(t, "results", func() bool { return s.c.committed(in0) == 4 })
	require.Equal(t, []string{"k0=21", "k1=33", "k2=1", "k0=22"}, s.c.read(out0))
	l := s.loadingNow()
	require.NotNil(t, l)
	require.Equal(t, "snapshot 7", l.Base)
	require.Equal(t, int64(3), l.Total)
	require.NoDirExists(t, s.dir.TaskDir(taskID(0)))
	require.NoError(t, s.worker.Checkpoint(t.Context(), checkpointing.Barrier{ID: 8}))
	d := <-declined
	require.True(t, d.NotRunning)
	require.Contains(t, d.Reason, "0 % of the task's state is loaded from snapshot 7")

	close(gate)
	eventually(t, "the load", func() bool { return s.loadingNow() == nil })
	require.DirExists(t, s.dir.TaskDir(taskID(0)))
	s.c.produce(in0, "k2", "k1")
	eventually(t, "more results", func() bool { return s.c.committed(in0) == 6 })
	require.Equal(t, []string{"k2=2", "k1=34"}, s.c.read(out0)[4:])
	require.NoError(t, s.close(true))
	require.Equal(t, []string{"0_0"}, s.left())
	require.Contains(t, s.log.String(), "all state of the task is local")
	_, base := s.restore(map[string]int64{"k0": 22, "k1": 34, "k2": 2})
	require.Equal(t, "local", base)
}

// A member that closes, or dies, before the load has ended leaves nothing; the next one begins again.
func TestClosedWhileASnapshotLoadsBeside(t *testing.T) {
	s := newLazy(t)
	s.count("k0", 20, 20)
	s.snapshot(7)
	s.gated(nil)
	s.start()
	s.assign(taskID(0))
	s.c.produce(in0, "k0")
	eventually(t, "a result", func() bool { return s.c.committed(in0) == 1 })
	require.NoError(t, s.close(true))
	require.Empty(t, s.left())
	require.NotContains(t, s.log.String(), "level=ERROR")
	_, base := s.restore(map[string]int64{"k0": 21})
	require.Equal(t, "snapshot 7", base)
	require.Empty(t, s.left())
}

// A load that fails ends the worker, whose restart takes the next nearest base.
func TestALoadBesideProcessingFails(t *testing.T) {
	s := newLazy(t)
	s.count("k0", 20, 20)
	s.snapshot(6)
	s.count("k1", 20, 20)
	s.snapshot(7)
	gate := s.gated(errors.New("checksum of 0_0.snap differs"))
	s.start()
	s.assign(taskID(0))
	s.c.produce(in0, "k0")
	eventually(t, "a result", func() bool { return s.c.committed(in0) == 1 })
	close(gate)
	err := <-s.ran // although nothing is to be done
	var load *store.LoadError
	require.ErrorAs(t, err, &load)
	require.ErrorContains(t, err, "snapshot 7")
	require.ErrorContains(t, err, "0_0.snap differs")
	s.manager.Close(t.Context(), false, nil)
	require.Empty(t, s.left())
	_, base := s.restore(map[string]int64{"k0": 21, "k1": 20})
	require.Equal(t, "snapshot 6", base)
	require.Equal(t, 1, s.starts[0].FailedSnapshots)
	require.Contains(t, s.log.String(), "the task failed with it before")
}

// A snapshot of which no parts can be read is loaded first, as without the option.
func TestSnapshotsThatCannotBeReadInParts(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(c *Candidate)
		says  string
	}{
		"no parts": {func(c *Candidate) { c.Files = nil }, "cannot be read in parts"},
		"no index": {func(c *Candidate) {
			c.Files = func(context.Context) ([]store.SnapshotFile, error) { return nil, errors.New("it has no index") }
		}, "it has no index"},
		"no first block": {func(c *Candidate) {
			files := c.Files
			c.Files = func(ctx context.Context) ([]store.SnapshotFile, error) {
				all, err := files(ctx)
				all[0].ReadRange = func(context.Context, int64, []byte) error { return io.ErrUnexpectedEOF }
				return all, err
			}
		}, "cannot be read on demand"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newLazy(t)
			s.count("a", 20, 20)
			s.snapshot(7)
			c.spoil(&s.shelf.candidates[0])
			_, base := s.restore(map[string]int64{"a": 20})
			require.Equal(t, "snapshot 7", base)
			require.Zero(t, s.starts[0].FailedSnapshots)
			require.Contains(t, s.log.String(), c.says)
			require.Equal(t, []string{"0_0"}, s.left())
			_, base = s.restore(map[string]int64{"a": 20})
			require.Equal(t, "local", base)
		})
	}
}

// Local state that is far behind stays where it is until the snapshot that is nearer is loaded.
func TestLocalStateStaysUntilASnapshotIsLoaded(t *testing.T) {
	s := newLazy(t)
	s.count("a", 3, 3)
	s.restore(map[string]int64{"a": 3})
	s.count("a", askSnapshotsMin, askSnapshotsMin+3)
	local := filepath.Join(t.TempDir(), "local")
	require.NoError(t, os.CopyFS(local, os.DirFS(s.dir.TaskDir(taskID(0)))))
	s.snapshot(2)
	s.count("b", 2, 2)
	require.NoError(t, os.CopyFS(s.dir.TaskDir(taskID(0)), os.DirFS(local)))
	s.gated(nil)
	want := map[string]int64{"a": askSnapshotsMin + 3, "b": 2}
	_, base := s.restore(want)
	require.Equal(t, "snapshot 2", base)
	require.Equal(t, []string{"0_0"}, s.left())
	// The next start finds it, and nothing better.
	s.shelf.candidates[0].Files, s.shelf.candidates[0].Open = nil, func(context.Context) iter.Seq2[store.Entry, error] {
		return func(yield func(store.Entry, error) bool) { yield(store.Entry{}, errors.New("gone")) }
	}
	from, base := s.restore(want)
	require.Equal(t, "local", base)
	require.Equal(t, int64(3), from)
}
