package worker

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/store"
	"github.com/tidemarkio/tidemark/topology"
)

// shelf has snapshots.
type shelf struct {
	candidates []Candidate
	err        error
	asked      int
}

func (s *shelf) Candidates(context.Context, record.TaskID) ([]Candidate, error) {
	s.asked++
	return s.candidates, s.err
}

// snapshotting is a restorer with snapshots and a log.
type snapshotting struct {
	*restoring

	shelf    shelf
	log      bytes.Buffer
	progress []RestoreProgress
}

func newSnapshotting(t *testing.T) *snapshotting {
	t.Helper()
	s := &snapshotting{restoring: newRestoring(t)}
	cfg := s.restorer.cfg
	cfg.Snapshots = &s.shelf
	cfg.Logger = slog.New(slog.NewTextHandler(&s.log, nil))
	cfg.Listener.OnProgress = func(p RestoreProgress) { s.progress = append(s.progress, p) }
	s.restorer = NewRestorer(cfg)
	return s
}

// count appends so many counts of a key to the changelog, the last of which is n.
func (s *snapshotting) count(key string, records int, n int64) {
	for i := range records {
		s.c.changelogOfCounts(s.t, key, n-int64(records-1-i))
	}
}

// snapshot restores the task, puts a snapshot of its state on the shelf, the newest, and wipes the local state.
func (s *snapshotting) snapshot(id int64) {
	s.t.Helper()
	lazy := s.restorer.cfg.Lazy
	s.restorer.cfg.Lazy = false // there is no snapshot before all is loaded
	got, err := s.restorer.Restore(s.t.Context(), taskID(0))
	s.restorer.cfg.Lazy = lazy
	require.NoError(s.t, err)
	snap, err := got.Task.Stores().Snapshot()
	require.NoError(s.t, err)
	var file bytes.Buffer
	index, err := store.WriteIndexedEntries(&file, snap.Full(s.t.Context()))
	require.NoError(s.t, err)
	part := store.SnapshotFile{
		Name: "mem/chk/0_0.snap", Index: index, ReadRange: func(_ context.Context, offset int64, p []byte) error {
			_, err := bytes.NewReader(file.Bytes()).ReadAt(p, offset)
			return err
		},
	}
	c := Candidate{
		ID: id, Location: "mem/chk", Checkpoint: snap.Checkpoint(), Bytes: int64(file.Len()), Entries: index.Entries,
		Files: func(context.Context) ([]store.SnapshotFile, error) { return []store.SnapshotFile{part}, nil },
		Open: func(context.Context) iter.Seq2[store.Entry, error] {
			return store.MergeFull(store.ReadEntries(bytes.NewReader(file.Bytes())))
		},
	}
	snap.Release()
	require.NoError(s.t, got.Task.Close(true))
	s.wipe()
	s.shelf.candidates = append([]Candidate{c}, s.shelf.candidates...)
}

func (s *snapshotting) wipe() { require.NoError(s.t, s.dir.Remove(taskID(0))) }

// left returns what is in the state directory.
func (s *snapshotting) left() (names []string) {
	entries, err := os.ReadDir(s.dir.root)
	require.NoError(s.t, err)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestRestoreFromASnapshot(t *testing.T) {
	s := newSnapshotting(t)
	s.count("a", 20, 20)
	s.snapshot(6)
	s.count("b", 20, 20)
	s.snapshot(7)
	s.count("a", 2, 22)
	s.progress = nil
	from, base := s.restore(map[string]int64{"a": 22, "b": 20})
	require.Equal(t, int64(40), from)
	require.Equal(t, "snapshot 7", base)
	require.Equal(t, "snapshot 7", s.ends[0].Base)
	require.Equal(t, int64(2), s.ends[0].Records)
	require.Zero(t, s.starts[0].FailedSnapshots)
	first := s.progress[0]
	require.Equal(t, "snapshot 7", first.Base)
	require.Empty(t, first.Store)
	require.Equal(t, int64(3), first.At, "two rows and the table of names")
	require.Equal(t, int64(3), first.To)
	require.NotZero(t, first.Bytes)
	require.Equal(t, "counts", s.progress[len(s.progress)-1].Store)
	require.Equal(t, []string{"0_0"}, s.left())
	asked := s.shelf.asked
	from, base = s.restore(map[string]int64{"a": 22, "b": 20})
	require.Equal(t, int64(42), from)
	require.Equal(t, "local", base)
	require.Equal(t, asked, s.shelf.asked, "local state is near: nobody is asked")
}

// Whatever is wrong with a snapshot: it is not used, loudly, and the next one is; in the end the changelog.
func TestSnapshotsThatCannotBeUsed(t *testing.T) {
	broken := func(edit func(file []byte) []byte) func(c *Candidate) {
		return func(c *Candidate) {
			open := c.Open
			c.Open = func(ctx context.Context) iter.Seq2[store.Entry, error] {
				var file bytes.Buffer
				_, err := store.WriteEntries(&file, open(ctx))
				require.NoError(t, err)
				return store.ReadEntries(bytes.NewReader(edit(file.Bytes())))
			}
		}
	}
	failing := func(after int) func(c *Candidate) {
		return func(c *Candidate) {
			open := c.Open
			c.Open = func(ctx context.Context) iter.Seq2[store.Entry, error] {
				return func(yield func(store.Entry, error) bool) {
					n := 0
					for at, err := range open(ctx) {
						require.NoError(t, err)
						if n == after {
							yield(store.Entry{}, errors.New("checksum of counts-17.snap differs"))
							return
						}
						if n++; !yield(at, nil) {
							return
						}
					}
					yield(store.Entry{}, errors.New("checksum of counts-17.snap differs"))
				}
			}
		}
	}
	for name, c := range map[string]struct {
		spoil func(c *Candidate)
		says  string
	}{
		"fails at once":       {failing(0), "counts-17.snap"},
		"fails in the middle": {failing(2), "counts-17.snap"},
		"fails at the end":    {failing(1 << 30), "counts-17.snap"},
		"cut off":             {broken(func(f []byte) []byte { return f[:len(f)-3] }), "damaged"},
		"flipped bit":         {broken(func(f []byte) []byte { f[len(f)/2] ^= 4; return f }), "damaged"},
		"newer file":          {broken(func(f []byte) []byte { f[7]++; return f }), "newer than this program"},
		"missing file": {func(c *Candidate) {
			c.Open = func(context.Context) iter.Seq2[store.Entry, error] {
				return func(yield func(store.Entry, error) bool) { yield(store.Entry{}, os.ErrNotExist) }
			}
		}, "does not exist"},
		"foreign":      {func(c *Candidate) { c.Err = errors.New("of the application another") }, "another"},
		"newer format": {func(c *Candidate) { c.Err = store.ErrNewerFormat; c.Open = nil }, "newer than this program"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSnapshotting(t)
			s.count("a", 20, 20)
			s.snapshot(16)
			s.count("b", 20, 20)
			s.snapshot(17)
			s.log.Reset()
			c.spoil(&s.shelf.candidates[0])
			from, base := s.restore(map[string]int64{"a": 20, "b": 20})
			require.Equal(t, "snapshot 16", base)
			require.Equal(t, int64(20), from)
			require.Equal(t, 1, s.starts[0].FailedSnapshots)
			require.Equal(t, 1, s.ends[0].FailedSnapshots)
			require.Contains(t, s.log.String(), "level=ERROR")
			require.Contains(t, s.log.String(), c.says)
			require.Contains(t, s.log.String(), "snapshot=17")
			s.wipe()
			c.spoil(&s.shelf.candidates[1])
			from, base = s.restore(map[string]int64{"a": 20, "b": 20})
			require.Equal(t, "none", base)
			require.Zero(t, from)
			require.Equal(t, 2, s.starts[0].FailedSnapshots)
			require.Equal(t, []string{"0_0"}, s.left())
		})
	}
}

// What a changelog cannot catch up is no base, as with local state; that is no failure.
func TestSnapshotsThatAreTooOld(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(s *snapshotting)
		base  string
	}{
		"tombstones forgotten": {func(s *snapshotting) { s.now = s.now.Add(time.Minute) }, "none"},
		"of another log": {func(s *snapshotting) {
			cp := &s.shelf.candidates[0].Checkpoint
			cp.Changelog = map[string]int64{"counts@in": 3}
		}, "none"},
		"of other stores": {func(s *snapshotting) {
			s.shelf.candidates[0].Checkpoint.Changelog = map[string]int64{"others": 3}
		}, "none"},
		"behind the end": {func(s *snapshotting) { s.shelf.candidates[0].Checkpoint.Changelog["counts"] = 1000 }, "none"},
		"as it was":      {func(*snapshotting) {}, "snapshot 1"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSnapshotting(t)
			s.count("a", 20, 20)
			s.snapshot(1)
			s.count("b", 1, 1)
			c.spoil(s)
			_, base := s.restore(map[string]int64{"a": 20, "b": 1})
			require.Equal(t, c.base, base)
			require.Zero(t, s.starts[0].FailedSnapshots)
		})
	}
}

func TestTheNearestBaseWins(t *testing.T) {
	s := newSnapshotting(t)
	s.count("a", 2, 2)
	s.snapshot(1)
	s.count("a", 1, 3)
	_, base := s.restore(map[string]int64{"a": 3})
	require.Equal(t, "none", base, "a changelog that is shorter than the snapshot and its tail")
	s.shelf.candidates = nil

	// Far behind, local state is replaced by a snapshot, but not before that is there.
	s.count("a", askSnapshotsMin, askSnapshotsMin+3)
	local := filepath.Join(t.TempDir(), "local")
	require.NoError(t, os.CopyFS(local, os.DirFS(s.dir.TaskDir(taskID(0)))))
	s.snapshot(2)
	s.count("b", 2, 2)
	want := map[string]int64{"a": askSnapshotsMin + 3, "b": 2}
	require.NoError(t, os.CopyFS(s.dir.TaskDir(taskID(0)), os.DirFS(local)))
	open := s.shelf.candidates[0].Open
	s.shelf.candidates[0].Open = func(context.Context) iter.Seq2[store.Entry, error] {
		return func(yield func(store.Entry, error) bool) { yield(store.Entry{}, errors.New("gone")) }
	}
	from, base := s.restore(want)
	require.Equal(t, "local", base)
	require.Equal(t, int64(3), from)
	require.Equal(t, 1, s.starts[0].FailedSnapshots)

	s.wipe()
	require.NoError(t, os.CopyFS(s.dir.TaskDir(taskID(0)), os.DirFS(local)))
	s.shelf.candidates[0].Open = open
	_, base = s.restore(want)
	require.Equal(t, "snapshot 2", base)
	require.Equal(t, []string{"0_0"}, s.left())
}

func TestSnapshotsThatCannotBeListed(t *testing.T) {
	s := newSnapshotting(t)
	s.count("a", 20, 20)
	s.shelf.err = errors.New("bucket is away")
	_, base := s.restore(map[string]int64{"a": 20})
	require.Equal(t, "none", base)
	require.Contains(t, s.log.String(), "bucket is away")
}

// A restore that is cancelled while it loads leaves nothing, and nothing open.
func TestCancelledWhileASnapshotLoads(t *testing.T) {
	s := newSnapshotting(t)
	s.count("a", 20, 20)
	s.snapshot(1)
	open := s.shelf.candidates[0].Open
	ctx, cancel := context.WithCancel(t.Context())
	s.shelf.candidates[0].Open = func(ctx context.Context) iter.Seq2[store.Entry, error] {
		return func(yield func(store.Entry, error) bool) {
			for at, err := range open(ctx) {
				require.NoError(t, err)
				cancel()
				if !yield(at, nil) {
					return
				}
			}
			yield(store.Entry{}, ctx.Err())
		}
	}
	_, err := s.restorer.Restore(ctx, taskID(0))
	require.ErrorIs(t, err, context.Canceled)
	require.Empty(t, s.left())
	require.NotContains(t, s.log.String(), "level=ERROR")
	s.shelf.candidates[0].Open = open
	_, base := s.restore(map[string]int64{"a": 20})
	require.Equal(t, "snapshot 1", base)
}

// An unfinished snapshot of a process that died is removed.
func TestUnfinishedSnapshotsAreRemoved(t *testing.T) {
	s := newSnapshotting(t)
	require.NoError(t, os.MkdirAll(s.dir.TaskDir(taskID(0))+store.InstallSuffix, 0o700))
	s.count("a", 1, 1)
	_, base := s.restore(map[string]int64{"a": 1})
	require.Equal(t, "none", base)
	require.Equal(t, []string{"0_0"}, s.left())
}

// Stores in memory have no base: a task that has nothing else asks for none.
func TestStoresInMemoryNeedNoSnapshot(t *testing.T) {
	s := newSnapshotting(t)
	s.plan = countPlan(t, topology.InMemory())
	s.count("a", 20, 20)
	_, base := s.restore(map[string]int64{"a": 20})
	require.Equal(t, "none", base)
	require.Zero(t, s.shelf.asked)
}
