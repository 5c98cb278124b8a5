package worker

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/eos"
	"github.com/tidemarkio/tidemark/internal/clock"
	"github.com/tidemarkio/tidemark/processor/task"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/store"
	"github.com/tidemarkio/tidemark/topology"
)

// changelogOfCounts appends counts to the changelog of task 0_0; a negative one is a tombstone.
func (c *cluster) changelogOfCounts(t *testing.T, key string, n int64) {
	t.Helper()
	value, err := serde.Int64.Append(nil, n)
	require.NoError(t, err)
	if n < 0 {
		value = nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.appendLocked(counts0, record.Raw{Key: []byte(key), Value: value, Timestamp: 1})
}

// restored reads the restored counts of a task.
func restored(t *testing.T, r *Restored) map[string]int64 {
	t.Helper()
	s, ok := r.Task.Stores().Store("counts")
	require.True(t, ok)
	kv, ok := s.(*store.KeyValue[string, int64])
	require.True(t, ok)
	out := make(map[string]int64)
	for e, err := range kv.All() {
		require.NoError(t, err)
		out[e.Key] = e.Value
	}
	return out
}

// restoring is a restorer over a cluster with local state on disk and a clock that the test owns.
type restoring struct {
	*member

	now    time.Time
	starts []RestoreStart
	ends   []RestoreEnd
}

func newRestoring(t *testing.T) *restoring {
	t.Helper()
	r := &restoring{member: newMember(t, newCluster(), countPlan(t), nil), now: time.UnixMilli(1_000_000)}
	cfg := r.restorer.cfg
	cfg.Clock = clock.Fixed(func() time.Time { return r.now })
	cfg.Task = func(id record.TaskID) task.Config {
		c := r.taskConfig(id)
		c.Stores.Clock = cfg.Clock.NowMs
		return c
	}
	cfg.Listener = RestoreListener{
		OnStart: func(s RestoreStart) { r.starts = append(r.starts, s) },
		OnEnd:   func(e RestoreEnd) { r.ends = append(r.ends, e) },
	}
	r.restorer = NewRestorer(cfg)
	return r
}

// restore restores task 0_0, compares what it has, and closes it. It returns where the replay began and on what base.
func (r *restoring) restore(want map[string]int64) (from int64, base string) {
	r.t.Helper()
	r.starts, r.ends = nil, nil
	got, err := r.restorer.Restore(r.t.Context(), taskID(0))
	require.NoError(r.t, err)
	require.Equal(r.t, want, restored(r.t, got))
	require.NoError(r.t, got.Task.Close(true))
	require.Len(r.t, r.starts, 1)
	require.Len(r.t, r.ends, 1)
	require.Equal(r.t, int64(len(r.c.logs[counts0])), r.starts[0].To)
	return r.starts[0].From, r.starts[0].Base
}

func TestRestoreContinuesFromLocalState(t *testing.T) {
	r := newRestoring(t)
	r.c.changelogOfCounts(t, "a", 1)
	r.c.changelogOfCounts(t, "b", 1)
	from, base := r.restore(map[string]int64{"a": 1, "b": 1})
	require.Zero(t, from)
	require.Equal(t, "none", base)
	r.c.changelogOfCounts(t, "a", 2)
	r.c.changelogOfCounts(t, "b", -1)
	from, base = r.restore(map[string]int64{"a": 2})
	require.Equal(t, int64(2), from)
	require.Equal(t, "local", base)
	require.Zero(t, r.dir.marked(taskID(0), "remove"))
	r.now = r.now.Add(time.Hour)
	from, _ = r.restore(map[string]int64{"a": 2})
	require.Equal(t, int64(4), from, "at the end of the log nothing is missed, however old the base")
}

// Whatever makes local state unusable: it is removed, and the whole changelog is read.
func TestRestoreFallsBackToTheChangelog(t *testing.T) {
	for name, spoil := range map[string]func(t *testing.T, r *restoring){
		"not trusted": func(_ *testing.T, r *restoring) { r.dir.distrust = "the machine has restarted" },
		"older than the tombstones": func(_ *testing.T, r *restoring) {
			r.now = r.now.Add(time.Minute)
		},
		"log start behind it": func(_ *testing.T, r *restoring) { r.c.starts[counts0] = 3 },
		"corrupt": func(t *testing.T, r *restoring) {
			files, err := filepath.Glob(filepath.Join(r.dir.TaskDir(taskID(0)), "MANIFEST"))
			require.NoError(t, err)
			require.NotEmpty(t, files)
			for _, f := range files {
				require.NoError(t, os.WriteFile(f, []byte("garbage"), 0o600))
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRestoring(t)
			r.c.changelogOfCounts(t, "a", 1)
			r.c.changelogOfCounts(t, "deleted", 1)
			r.restore(map[string]int64{"a": 1, "deleted": 1})
			// Compaction has removed the key's records and, later, its tombstone.
			r.c.mu.Lock()
			r.c.logs[counts0] = nil
			for range 3 {
				r.c.appendLocked(counts0, record.Raw{})
			}
			r.c.mu.Unlock()
			r.c.changelogOfCounts(t, "a", 5)
			spoil(t, r)
			from, base := r.restore(map[string]int64{"a": 5})
			require.Equal(t, r.c.starts[counts0], from)
			require.Equal(t, "none", base)
			require.Equal(t, 1, r.dir.marked(taskID(0), "remove"))
		})
	}
}

func TestRestoreOfATopicMadeAnew(t *testing.T) {
	r := newRestoring(t)
	r.c.changelogOfCounts(t, "old", 1)
	r.c.changelogOfCounts(t, "old", 2)
	r.restore(map[string]int64{"old": 2})
	r.c.logs[counts0] = nil
	r.c.changelogOfCounts(t, "new", 1)
	_, base := r.restore(map[string]int64{"new": 1})
	require.Equal(t, "none", base)
}

func TestRestoreTakesPositionsFromOffsets(t *testing.T) {
	r := newRestoring(t)
	r.c.starts[in0] = 7
	got, err := r.restorer.Restore(t.Context(), taskID(0))
	require.NoError(t, err)
	require.Equal(t, map[record.TopicPartition]task.Position{in0: {Offset: 7, StreamTime: -1}}, got.Positions)
	require.NoError(t, got.Task.Close(true))
	meta := eos.Metadata{TransactionalID: "x", Epoch: 41, StreamTime: 77}
	r.c.offsets[in0] = eos.Offset{Offset: 9, Metadata: meta.Encode()}
	got, err = r.restorer.Restore(t.Context(), taskID(0))
	require.NoError(t, err)
	require.Equal(t, map[record.TopicPartition]task.Position{in0: {Offset: 9, StreamTime: 77}}, got.Positions)
	require.Equal(t, int64(77), got.Task.StreamTime())
	e, err := got.Task.Seal()
	require.NoError(t, err)
	require.Equal(t, record.Epoch(42), e.Number)
	require.NoError(t, got.Task.Rollback(got.Positions))
	require.NoError(t, got.Task.Close(true))
}

// A transaction that is open for a moment belongs to a living owner whose markers are on their way: nobody is fenced.
// What stays open belongs to the dead.
func TestTakeoverFencesOnlyAfterPatience(t *testing.T) {
	meta := eos.Metadata{TransactionalID: "dead-owner", StreamTime: -1}
	none := eos.Metadata{StreamTime: -1}
	for name, c := range map[string]struct {
		spoil  func(c *cluster)
		meta   eos.Metadata
		fenced []string
	}{
		"offsets open for a moment": {func(c *cluster) { c.unstable = 3 }, meta, nil},
		"offsets stay open":         {func(c *cluster) { c.unstable = -1 }, meta, []string{"dead-owner"}},
		"changelog stays open":      {func(c *cluster) { c.undecided = 1 }, meta, []string{"dead-writer"}},
		// Found by killing a broker: the marker that was lost was that of the first commit.
		"open before the first commit": {func(c *cluster) { c.unstable = -1 }, none, []string{"app-p-0"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cl := newCluster()
				cl.changelogOfCounts(t, "a", 1)
				cl.offsets[in0] = eos.Offset{Offset: 1, Metadata: c.meta.Encode()}
				c.spoil(cl)
				m := newMember(t, cl, countPlan(t, topology.InMemory()), nil)
				began := time.Now()
				got, err := m.restorer.Restore(t.Context(), taskID(0))
				require.NoError(t, err)
				require.Equal(t, map[string]int64{"a": 1}, restored(t, got), "the end is read after it was decided")
				require.Equal(t, c.fenced, cl.fenced)
				if c.fenced == nil {
					require.Less(t, time.Since(began), patience)
				} else {
					require.GreaterOrEqual(t, time.Since(began), patience)
					require.Less(t, time.Since(began), 3*patience)
				}
				require.NoError(t, got.Task.Close(false))
			})
		})
	}
}

func TestRestoreEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		c.unstable = 1 << 30
		m := newMember(t, c, countPlan(t, topology.InMemory()), nil)
		m.restorer.cfg.OwnIDs = func() []string { return nil }
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err := m.restorer.Restore(ctx, taskID(0))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorContains(t, err, "stable committed offsets")
	})
}
