package checkpointing

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"maps"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/checkpointing/storage"
	"github.com/tidemarkio/tidemark/internal/clock"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/store"
)

// fakeTask is the state of a task, with all its versions.
type fakeTask struct {
	id      record.TaskID
	state   map[string]string
	version uint64
	changed map[string]uint64 // key to version of the last change
	forgot  uint64            // changes since an older version are not known
	held    atomic.Int64      // snapshots that are not released
}

func newFakeTask(partition int32) *fakeTask {
	return &fakeTask{
		id: record.TaskID{Partition: partition}, state: make(map[string]string), changed: make(map[string]uint64),
	}
}

// set changes keys in one committed epoch; "" deletes.
func (f *fakeTask) set(pairs ...string) {
	f.version++
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] == "" {
			delete(f.state, pairs[i])
		} else {
			f.state[pairs[i]] = pairs[i+1]
		}
		f.changed[pairs[i]] = f.version
	}
}

func (f *fakeTask) snapshot() *fakeSnapshot {
	f.held.Add(1)
	return &fakeSnapshot{
		f: f, version: f.version, state: maps.Clone(f.state), changed: maps.Clone(f.changed), forgot: f.forgot,
	}
}

func (f *fakeTask) cut(t Trigger) Cut {
	return Cut{
		Barrier: Barrier{ID: t.ID}, Task: f.id, Epoch: record.Epoch(f.version), WallTimeMs: 5, Snapshot: f.snapshot(),
		Inputs:  []InputPosition{{Topic: "in", Partition: f.id.Partition, Offset: int64(f.version) * 10, StreamTimeMs: 7}},
		Timings: Timings{StartDelayMs: 1, AlignmentMs: 2, SyncMs: 3},
	}
}

type fakeSnapshot struct {
	f        *fakeTask
	version  uint64
	state    map[string]string
	changed  map[string]uint64
	forgot   uint64
	released atomic.Bool
	broken   error // of the engine
}

func (s *fakeSnapshot) Checkpoint() store.Checkpoint {
	return store.Checkpoint{
		Epoch: record.Epoch(s.version), WallTimeMs: 5, Changelog: map[string]int64{"n": int64(s.version) * 100},
	}
}

func (s *fakeSnapshot) Version() uint64 { return s.version }

func (s *fakeSnapshot) Full(ctx context.Context) iter.Seq2[store.Entry, error] {
	return func(yield func(store.Entry, error) bool) {
		for _, key := range slices.Sorted(maps.Keys(s.state)) {
			if err := cmp.Or(s.broken, ctx.Err()); err != nil {
				yield(store.Entry{}, fmt.Errorf("read: %w", err))
				return
			}
			if !yield(store.Entry{Key: []byte(key), Value: []byte(s.state[key])}, nil) {
				return
			}
		}
	}
}

func (s *fakeSnapshot) Since(base uint64) (iter.Seq2[store.Entry, error], bool) {
	if base < s.forgot || base > s.version {
		return nil, false
	}
	return func(yield func(store.Entry, error) bool) {
		for _, key := range slices.Sorted(maps.Keys(s.changed)) {
			if s.changed[key] <= base {
				continue
			}
			e := store.Entry{Key: []byte(key)}
			if v, ok := s.state[key]; ok {
				e.Value = []byte(v)
			}
			if !yield(e, nil) {
				return
			}
		}
	}, true
}

func (s *fakeSnapshot) Release() {
	if !s.released.Swap(true) {
		s.f.held.Add(-1)
	}
}

// newTestExporter makes an exporter that ends with the test.
func newTestExporter(t *testing.T, c Config, change ...func(*ExporterConfig)) *Exporter {
	t.Helper()
	ec := ExporterConfig{Config: c.WithDefaults(), Clock: clock.System(), Logger: slog.New(slog.NewTextHandler(io.Discard, nil))}
	for _, f := range change {
		f(&ec)
	}
	e, err := NewExporter(ec)
	require.NoError(t, err)
	t.Cleanup(e.Close)
	return e
}

func testTrigger(id, base int64) Trigger {
	return Trigger{
		ID: id, Base: base, Incremental: true, Location: CheckpointFolder("app", id), Fingerprint: "f",
		TriggeredMs: clock.System().NowMs(), TimeoutMs: 60_000,
	}
}

type exported struct {
	snapshot TaskSnapshot
	err      error
}

// start exports a cut of a task; the channel gets what comes of it.
func start(e *Exporter, t Trigger, f *fakeTask) <-chan exported {
	done := make(chan exported, 1)
	e.Export(t, f.cut(t), func(s TaskSnapshot, err error) { done <- exported{s, err} })
	return done
}

// export waits for it.
func exportCut(t *testing.T, e *Exporter, tr Trigger, f *fakeTask) TaskSnapshot {
	t.Helper()
	got := <-start(e, tr, f)
	require.NoError(t, got.err)
	return got.snapshot
}

// testManifest is the manifest of a checkpoint with these parts.
func testManifest(tr Trigger, tasks ...TaskSnapshot) *Manifest {
	p := Publish{Trigger: tr, Tasks: tasks, CompletedMs: tr.TriggeredMs + 10}
	return p.Manifest(Application{ID: "app", Partitions: map[string]int32{"in": 2}, Stores: []StoreInfo{
		{Name: "n", Type: store.TypeKeyValue, Changelog: "app-n-changelog"},
	}})
}

// stateOf reads the state of a task from a storage.
func stateOf(t *testing.T, files Files, m *Manifest, id record.TaskID) (map[string]string, error) {
	t.Helper()
	ts, ok := m.Task(id)
	require.True(t, ok)
	state := make(map[string]string)
	for e, err := range files.Task(t.Context(), m, ts) {
		if err != nil {
			return nil, err
		}
		state[string(e.Key)] = string(e.Value)
	}
	return state, nil
}

// objects are the names in a storage.
func objects(t *testing.T, s storage.Storage) (names []string) {
	t.Helper()
	for o, err := range s.List(t.Context(), "") {
		require.NoError(t, err)
		names = append(names, o.Name)
	}
	slices.Sort(names)
	return names
}

// fileKinds tells full files from increments: "f", "fii", …
func fileKinds(s TaskSnapshot) (kinds string) {
	for _, f := range s.Files {
		kinds += string(f.Kind[0])
	}
	return kinds
}
