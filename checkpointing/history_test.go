package checkpointing

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/checkpointing/storage"
	"github.com/tidemarkio/tidemark/checkpointing/storage/dir"
	"github.com/tidemarkio/tidemark/checkpointing/storage/mem"
	"github.com/tidemarkio/tidemark/checkpointing/storage/storagetest"
	"github.com/tidemarkio/tidemark/record"
)

// history drives exporters, manifests and retention through random histories: checkpoints overlap, are aborted, tasks
// and the coordinator's owner die, the storage fails at every step. Whatever happened, each checkpoint that is
// retained must be whole, with the state as of its cut; and when all is quiet nothing else may be there.
type history struct {
	t        *testing.T
	rng      *rand.Rand
	s        *storagetest.Faulty
	e        *Exporter
	tasks    []*fakeTask
	nextID   int64
	retained []int64
	keep     int
	pending  []*pendingCheckpoint
	proofs   map[int64]map[record.TaskID]map[string]string // state by checkpoint and task
	seen     map[string]int
}

type pendingCheckpoint struct {
	trigger Trigger
	parts   map[record.TaskID]<-chan exported
	states  map[record.TaskID]map[string]string
}

func newHistory(t *testing.T, seed uint64) *history {
	t.Helper()
	h := &history{
		t: t, rng: rand.New(rand.NewPCG(seed, 1)), s: storagetest.NewFaulty(mem.New()), nextID: 1,
		proofs: make(map[int64]map[record.TaskID]map[string]string), seen: make(map[string]int),
	}
	h.keep = 1 + h.rng.IntN(3)
	for p := range int32(1 + h.rng.IntN(3)) {
		h.tasks = append(h.tasks, newFakeTask(p))
	}
	h.restart()
	return h
}

// restart is a process that died and begins anew: it knows no files.
func (h *history) restart() {
	if h.e != nil {
		h.e.Close()
	}
	h.e = newTestExporter(h.t, Config{Storage: h.s, IncrementalChainMax: 3 + h.rng.IntN(3)})
	h.pending = nil
}

func (h *history) write() {
	f := h.tasks[h.rng.IntN(len(h.tasks))]
	var pairs []string
	for range h.rng.IntN(6) {
		pairs = append(pairs, fmt.Sprintf("k%02d", h.rng.IntN(20)), strings.Repeat("v", h.rng.IntN(3)))
	}
	f.set(pairs...)
	if h.rng.IntN(15) == 0 {
		f.forgot = f.version
	}
}

func (h *history) trigger() {
	if len(h.pending) == 3 {
		return
	}
	base := int64(0)
	if n := len(h.retained); n > 0 {
		base = h.retained[n-1]
	}
	p := &pendingCheckpoint{
		trigger: testTrigger(h.nextID, base), parts: make(map[record.TaskID]<-chan exported),
		states: make(map[record.TaskID]map[string]string),
	}
	p.trigger.TimeoutMs = 200
	h.nextID++
	h.pending = append(h.pending, p)
}

// part lets a task cut for a checkpoint in progress.
func (h *history) part() {
	if len(h.pending) == 0 {
		return
	}
	p := h.pending[h.rng.IntN(len(h.pending))]
	f := h.tasks[h.rng.IntN(len(h.tasks))]
	if p.parts[f.id] != nil {
		return
	}
	p.states[f.id] = maps.Clone(f.state)
	p.parts[f.id] = start(h.e, p.trigger, f)
}

// finish ends a checkpoint: well if all parts are here.
func (h *history) finish() {
	if len(h.pending) == 0 {
		return
	}
	i := h.rng.IntN(len(h.pending))
	p := h.pending[i]
	whole := len(p.parts) == len(h.tasks)
	if !whole && h.rng.IntN(4) > 0 {
		return
	}
	h.pending = slices.Delete(h.pending, i, i+1)
	var parts []TaskSnapshot
	for _, f := range h.tasks {
		if done := p.parts[f.id]; whole && done != nil {
			got := <-done
			whole = got.err == nil
			parts = append(parts, got.snapshot)
		}
	}
	if !whole || PublishManifest(h.t.Context(), h.s, testManifest(p.trigger, parts...)) != nil {
		h.seen["aborted"]++
		h.e.Aborted(p.trigger.ID)
		return
	}
	for _, s := range parts {
		h.seen[fileKinds(s)]++
	}
	h.seen["completed"]++
	h.proofs[p.trigger.ID] = p.states
	h.retained = append(h.retained, p.trigger.ID)
	slices.Sort(h.retained)
	h.retained = h.retained[max(0, len(h.retained)-h.keep):]
	h.e.Completed(p.trigger.ID)
	h.pending = slices.DeleteFunc(h.pending, func(other *pendingCheckpoint) bool {
		older := other.trigger.ID < p.trigger.ID
		if older {
			h.e.Aborted(other.trigger.ID)
		}
		return older
	})
}

func (h *history) clean() error {
	action := Clean{Retained: h.retained, Below: h.nextID}
	for _, p := range h.pending {
		action.InProgress = append(action.InProgress, p.trigger.ID)
		if p.trigger.Base != 0 {
			action.Bases = append(action.Bases, p.trigger.Base)
		}
	}
	_, err := (&Cleaner{ApplicationID: "app", Checkpoints: h.s}).Clean(h.t.Context(), action)
	return err
}

// arm lets one of the next calls fail.
func (h *history) arm() {
	faults := []struct {
		op    storagetest.Op
		fault storagetest.Fault
	}{
		{storagetest.OnDelete, storagetest.Refuse},
		{storagetest.OnDelete, storagetest.LostAnswer},
		{storagetest.OnList, storagetest.Deny},
		{storagetest.OnOpen, storagetest.Refuse},
		{storagetest.OnCreate, storagetest.Deny},
		{storagetest.OnCommit, storagetest.Deny},
		{storagetest.OnCommit, storagetest.Partial},
		{storagetest.OnWrite, storagetest.DiskFull},
		{storagetest.OnCommit, storagetest.LostAnswer},
	}
	f := faults[h.rng.IntN(len(faults))]
	h.s.Arm(f.op, "", f.fault, h.rng.IntN(4), 1)
}

// check reads every checkpoint that somebody could want to restore.
func (h *history) check() {
	for _, id := range h.retained {
		m, err := Load(h.t.Context(), h.s.Storage, CheckpointFolder("app", id))
		require.NoError(h.t, err)
		for _, f := range h.tasks {
			state, err := stateOf(h.t, Files{Storage: h.s.Storage}, m, f.id)
			require.NoError(h.t, err, "checkpoint %d of %v", id, h.retained)
			require.Equal(h.t, h.proofs[id][f.id], state, "checkpoint %d, task %s", id, f.id)
		}
	}
}

func (h *history) run(steps int) {
	for range steps {
		switch h.rng.IntN(20) {
		case 0, 1, 2, 3, 4, 5:
			h.write()
		case 6, 7:
			h.trigger()
		case 8, 9, 10, 11, 12, 13, 14:
			h.part()
		case 15, 16:
			h.finish()
		case 17, 18:
			_ = h.clean() // it may fail
		default:
			switch h.rng.IntN(6) {
			case 0:
				h.restart()
			case 1:
				h.e.Forget(h.tasks[0].id)
			default:
				h.arm()
			}
		}
		if h.rng.IntN(4) == 0 {
			h.check()
		}
	}
}

// settle ends everything and compares what is left with what is needed.
func (h *history) settle() {
	h.s.Disarm()
	for _, p := range h.pending {
		h.e.Aborted(p.trigger.ID)
	}
	h.pending = nil
	h.e.Close()
	for _, f := range h.tasks {
		require.Zero(h.t, f.held.Load(), "snapshots of task %s are not released", f.id)
	}
	require.NoError(h.t, h.clean())
	h.check()
	want, allowed := map[string]bool{}, map[string]bool{}
	for _, id := range h.retained {
		m, err := Load(h.t.Context(), h.s.Storage, CheckpointFolder("app", id))
		require.NoError(h.t, err)
		want[ManifestName(m.Location)] = true
		for _, f := range m.Files() {
			want[f.Name] = true
		}
		m.refers(func(name string) bool {
			allowed[name] = true
			return true
		})
	}
	for _, name := range objects(h.t, h.s.Storage) {
		require.True(h.t, want[name] || allowed[name], "%s is left: retained are %v", name, h.retained)
		delete(want, name)
	}
	require.Empty(h.t, want)
}

func TestHistories(t *testing.T) {
	t.Parallel()
	seeds := uint64(40)
	if testing.Short() {
		seeds = 20
	}
	seen := make(map[string]int)
	for seed := range seeds {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHistory(t, seed)
				h.run(150)
				h.settle()
				for what, n := range h.seen {
					seen[what] += n
				}
			})
		})
	}
	t.Logf("%v", seen)
	for _, what := range []string{"completed", "aborted", "f", "fi", "fii", "fiii"} {
		require.Positive(t, seen[what], what)
	}
}

// A clean-up that stops at any of its steps leaves every retained checkpoint whole, and the next one does the rest.
func TestCleanStopsAnywhere(t *testing.T) {
	t.Parallel()
	for step := 0; ; step++ {
		s := storagetest.NewFaulty(mem.New())
		f, states := threeCheckpoints(t, s)
		require.NoError(t, storage.Put(t.Context(), s, "app/chk-2/orphan.snap", nil, storage.CreateOptions{}))
		require.NoError(t, storage.Put(t.Context(), s, "app/chk-4/0_0-1-full-1.snap", nil, storage.CreateOptions{}))
		require.NoError(t, storage.Put(t.Context(), s, "app/savepoint-1-x/MANIFEST.json", nil, storage.CreateOptions{}))
		s.Arm(storagetest.OnDelete, "", storagetest.Refuse, step, 1)
		c := Cleaner{ApplicationID: "app", Checkpoints: s, Savepoints: s}
		action := Clean{Retained: []int64{3}, Below: 4}
		_, err := c.Clean(t.Context(), action)
		check := func() {
			m, err := Load(t.Context(), s, "app/chk-3")
			require.NoError(t, err)
			state, err := stateOf(t, Files{Storage: s}, m, f.id)
			require.NoError(t, err)
			require.Equal(t, states[2], state)
		}
		check()
		stopped := err != nil
		_, err = c.Clean(t.Context(), action)
		require.NoError(t, err)
		check()
		require.Len(t, objects(t, s), 6, "three files, a manifest, the next checkpoint, the savepoint: %v", objects(t, s))
		if !stopped {
			require.Greater(t, step, 2)
			return
		}
	}
}

func TestCleanKeepsWhatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	s := storagetest.NewFaulty(mem.New())
	threeCheckpoints(t, s)
	c := Cleaner{ApplicationID: "app", Checkpoints: s}
	s.Arm(storagetest.OnOpen, "chk-3/MANIFEST", storagetest.FlipBit, 0, 1)
	_, err := c.Clean(t.Context(), Clean{Retained: []int64{3}, Below: 4})
	require.ErrorIs(t, err, ErrDamaged)
	require.ErrorContains(t, err, "what checkpoint 3 needs is not known")
	_, err = c.Clean(t.Context(), Clean{Retained: []int64{3, 7}, Below: 8})
	require.ErrorIs(t, err, ErrNoManifest)
	require.Len(t, objects(t, s), 6)
	_, err = c.Clean(t.Context(), Clean{Below: 2})
	require.NoError(t, err)
	require.Len(t, objects(t, s), 4, "a deposed coordinator does not touch what it does not know")
	_, err = c.Clean(t.Context(), Clean{Below: 4})
	require.NoError(t, err)
	require.Empty(t, objects(t, s), "nothing is retained")
}

// Writers that died leave something beside what another has published, too. What is still to come stays.
func TestCleanSweepsBesideWhatIsNeeded(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	s := dir.New(root)
	threeCheckpoints(t, s)
	beside := "app/chk-3/0_0-9-full-00000001.snap"
	m, err := Load(t.Context(), s, "app/chk-3")
	require.NoError(t, err)
	m.Tasks[0].Beside = []string{beside}
	require.NoError(t, s.Delete(t.Context(), ManifestName(m.Location)))
	require.NoError(t, PublishManifest(t.Context(), s, m))
	begin := func(name string) storage.Writer {
		w, err := s.Create(t.Context(), name, storage.CreateOptions{})
		require.NoError(t, err)
		_, err = w.Write([]byte("half of it"))
		require.NoError(t, err)
		return w
	}
	begin("app/chk-3/MANIFEST.json")
	begin(m.Tasks[0].Files[0].Name)
	begin("app/chk-4/MANIFEST.json") // in progress
	waited := begin(beside)
	c := Cleaner{ApplicationID: "app", Checkpoints: s}
	done, err := c.Clean(t.Context(), Clean{Retained: []int64{3}, InProgress: []int64{4}, Below: 5})
	require.NoError(t, err)
	require.Equal(t, 2, done.Remains)
	require.NoError(t, waited.Commit(t.Context()))
	left, err := filepath.Glob(filepath.Join(root, "app", "*", "*~*"))
	require.NoError(t, err)
	require.Len(t, left, 1, "that of the checkpoint in progress: %v", left)
	require.NoError(t, (Files{Storage: s}).Verify(t.Context(), m))
}

func TestCleanFoldersOfSavepoints(t *testing.T) {
	t.Parallel()
	s := mem.New()
	for _, name := range []string{
		"app/savepoint-3-a/x", "app/savepoint-3-ab/x", "app/savepoint-4-b/MANIFEST.json", "app/chk-1/x",
	} {
		require.NoError(t, storage.Put(t.Context(), s, name, nil, storage.CreateOptions{}))
	}
	c := Cleaner{ApplicationID: "app", Savepoints: s}
	_, err := c.Clean(t.Context(), Clean{Folders: []string{"app/savepoint-3-a"}, Below: 9})
	require.NoError(t, err)
	require.Equal(t, []string{"app/chk-1/x", "app/savepoint-3-ab/x", "app/savepoint-4-b/MANIFEST.json"}, objects(t, s))
	for _, folder := range []string{"app", "app/chk-1", "other/savepoint-1-x", ""} {
		_, err = c.Clean(t.Context(), Clean{Folders: []string{folder}})
		require.ErrorContains(t, err, "no folder of a savepoint", folder)
	}
	require.Len(t, objects(t, s), 3)
}

func TestDispose(t *testing.T) {
	t.Parallel()
	s := mem.New()
	threeCheckpoints(t, s)
	_, err := Dispose(t.Context(), s, "app/chk-1")
	require.ErrorContains(t, err, "not a savepoint")
	_, err = Dispose(t.Context(), s, "app/savepoint-1-x")
	require.ErrorIs(t, err, ErrNoManifest)
	tr := testTrigger(9, 0)
	tr.Savepoint, tr.Location = true, "app/savepoint-9-x"
	e := newTestExporter(t, Config{Storage: s})
	require.NoError(t, PublishManifest(t.Context(), s, testManifest(tr, exportCut(t, e, tr, newFakeTask(0)))))
	require.Len(t, objects(t, s), 8)
	done, err := Dispose(t.Context(), s, "app/savepoint-9-x/")
	require.NoError(t, err)
	require.Equal(t, 1, done.Objects)
	require.Len(t, objects(t, s), 6)
}
