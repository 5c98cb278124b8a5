package checkpointing_test

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/checkpointing"
	"github.com/tidemarkio/tidemark/checkpointing/storage"
	"github.com/tidemarkio/tidemark/checkpointing/storage/dir"
	"github.com/tidemarkio/tidemark/checkpointing/storage/storagetest"
	"github.com/tidemarkio/tidemark/internal/clock"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/store"
)

// realTask is a task with stores on disk, whose snapshots are stored.
type realTask struct {
	*store.Set
	t     *testing.T
	id    record.TaskID
	epoch record.Epoch
}

func realSpecs() []store.Spec {
	return []store.Spec{
		store.KeyValueSpec("counts", serde.String, serde.Int64),
		store.WindowSpec("per-minute", serde.String, serde.Int64, store.WindowConfig{
			Retention: 24 * time.Hour, Grid: time.Minute,
		}),
	}
}

func newRealTask(t *testing.T, partition int32, dir string) *realTask {
	t.Helper()
	id := record.TaskID{Partition: partition}
	set, err := store.OpenSet(t.Context(), store.SetConfig{Dir: dir, TaskID: id, Specs: realSpecs(), TrackChanges: true})
	require.NoError(t, err)
	t.Cleanup(func() { _ = set.Close(false) })
	return &realTask{Set: set, t: t, id: id}
}

func (r *realTask) counts() *store.KeyValue[string, int64] {
	s, _ := r.Store("counts")
	typed, ok := s.(*store.KeyValue[string, int64])
	require.True(r.t, ok)
	return typed
}

func (r *realTask) put(key string, n int64) {
	r.t.Helper()
	require.NoError(r.t, r.counts().PutWithTimestamp(key, n, n*10))
	s, _ := r.Store("per-minute")
	windows, ok := s.(*store.Window[string, int64])
	require.True(r.t, ok)
	require.NoError(r.t, windows.PutWithTimestamp(key, n, n*60_000, n*60_000+5))
}

func (r *realTask) commit() {
	r.t.Helper()
	r.epoch++
	require.NoError(r.t, r.Seal(r.epoch, func(string) *record.Batch { return &record.Batch{} }))
	require.NoError(r.t, r.Commit(store.Checkpoint{
		Epoch: r.epoch, WallTimeMs: 77, Changelog: map[string]int64{"counts": int64(r.epoch), "per-minute": int64(r.epoch)},
	}))
}

// export stores the task's part of a checkpoint.
func (r *realTask) export(e *checkpointing.Exporter, tr checkpointing.Trigger) checkpointing.TaskSnapshot {
	r.t.Helper()
	snapshot, err := r.Snapshot()
	require.NoError(r.t, err)
	done := make(chan checkpointing.TaskSnapshot, 1)
	e.Export(tr, checkpointing.Cut{
		Task: r.id, Epoch: r.epoch, Snapshot: snapshot,
		Inputs: []checkpointing.InputPosition{{Topic: "in", Partition: r.id.Partition, Offset: 5, StreamTimeMs: 6}},
	}, func(s checkpointing.TaskSnapshot, err error) {
		if err != nil {
			r.t.Error(err)
		}
		done <- s
	})
	return <-done
}

func realTrigger(id, base int64) checkpointing.Trigger {
	return checkpointing.Trigger{
		ID: id, Base: base, Incremental: base > 0, Location: checkpointing.CheckpointFolder("app", id), TimeoutMs: 60_000,
		TriggeredMs: clock.System().NowMs(),
	}
}

func publishReal(t *testing.T, s storage.Storage, tr checkpointing.Trigger, tasks ...checkpointing.TaskSnapshot) {
	t.Helper()
	p := checkpointing.Publish{Trigger: tr, Tasks: tasks, CompletedMs: tr.TriggeredMs + 1}
	app := checkpointing.Application{ID: "app"}
	for _, spec := range realSpecs() {
		app.Stores = append(app.Stores, checkpointing.StoreInfo{Name: spec.Name, Type: spec.Type})
	}
	require.NoError(t, checkpointing.PublishManifest(t.Context(), s, p.Manifest(app)))
}

// realCheckpoints makes two tasks and two checkpoints of them, the second one incremental.
func realCheckpoints(t *testing.T, s storage.Storage, key []byte) {
	t.Helper()
	e, err := checkpointing.NewExporter(checkpointing.ExporterConfig{
		Config: checkpointing.Config{Storage: s, EncryptionKey: key}.WithDefaults(), Clock: clock.System(),
	})
	require.NoError(t, err)
	defer e.Close()
	tasks := []*realTask{newRealTask(t, 0, t.TempDir()), newRealTask(t, 1, t.TempDir())}
	for id := int64(1); id <= 2; id++ {
		var parts []checkpointing.TaskSnapshot
		tr := realTrigger(id, id-1)
		for _, r := range tasks {
			for i := range int64(100) {
				if id == 1 || i%10 == 0 {
					r.put(fmt.Sprintf("key-%d-%03d", r.id.Partition, i), i+id)
				}
			}
			if id == 2 {
				require.NoError(t, r.counts().Delete(fmt.Sprintf("key-%d-%03d", r.id.Partition, 7)))
			}
			r.commit()
			parts = append(parts, r.export(e, tr))
		}
		publishReal(t, s, tr, parts...)
		e.Completed(id)
	}
}

func TestReader(t *testing.T) {
	t.Parallel()
	s := dir.New(t.TempDir())
	key := bytes.Repeat([]byte{3}, storage.KeyBytes)
	realCheckpoints(t, s, key)
	_, err := checkpointing.OpenReader(t.Context(), s, "app/chk-9", nil)
	require.ErrorIs(t, err, checkpointing.ErrNoManifest)
	cipher, err := storage.NewCipher(key)
	require.NoError(t, err)
	r, err := checkpointing.OpenReader(t.Context(), s, "app/chk-2", cipher)
	require.NoError(t, err)
	require.Equal(t, "counts", r.Stores()[0].Name)
	require.Len(t, r.Manifest().Tasks[0].Files, 2, "an increment")
	read := 0
	r.OnRead(func(n int) { read += n })
	got := map[string]int64{}
	for row, err := range r.Rows(t.Context(), "counts") {
		require.NoError(t, err)
		n, err := serde.Int64.Decode(row.Value)
		require.NoError(t, err)
		require.Equal(t, n*10, row.Timestamp)
		require.Equal(t, fmt.Sprintf("key-%d", row.Task.Partition), string(row.Key[:5]))
		got[string(row.Key)] = n
	}
	require.Len(t, got, 2*99)
	require.Equal(t, int64(12), got["key-1-010"], "written again")
	require.Equal(t, int64(12), got["key-0-011"], "once")
	require.NotContains(t, got, "key-0-007")
	require.Equal(t, r.StateBytes("counts"), int64(read))

	rows := 0
	require.NoError(t, r.Each(t.Context(), "per-minute", func(key, _ []byte, _ int64) error {
		if key[0] == 1 { // a row, not a clock
			rows++
		}
		return nil
	}))
	require.Equal(t, 2*110, rows)
	rows = 0
	for row, err := range r.Rows(t.Context(), "counts", record.TaskID{Partition: 1}) {
		require.NoError(t, err)
		require.Equal(t, int32(1), row.Task.Partition)
		if rows++; rows == 5 {
			break
		}
	}
	require.Equal(t, 5, rows)
	stop := errors.New("enough")
	require.ErrorIs(t, r.Each(t.Context(), "counts", func([]byte, []byte, int64) error { return stop }), stop)
	require.ErrorContains(t, r.Each(t.Context(), "missing", nil), `no store "missing"`)
	without, err := checkpointing.OpenReader(t.Context(), s, "app/chk-2", nil)
	require.NoError(t, err)
	require.ErrorIs(t, without.Each(t.Context(), "counts", nil), storage.ErrKey)
}

// The rows of a store end before the damage of a later one: it is reported all the same.
func TestReaderReportsDamageBehindTheRows(t *testing.T) {
	t.Parallel()
	s := storagetest.NewFaulty(dir.New(t.TempDir()))
	realCheckpoints(t, s, nil)
	m, err := checkpointing.Load(t.Context(), s, "app/chk-1")
	require.NoError(t, err)
	name := m.Tasks[0].Files[0].Name
	data, err := storage.Get(t.Context(), s, name, 1<<30)
	require.NoError(t, err)
	require.NoError(t, storage.Put(t.Context(), s, name, append(data, 'x'), storage.CreateOptions{}))
	r, err := checkpointing.OpenReader(t.Context(), s, "app/chk-1", nil)
	require.NoError(t, err)
	rows := 0
	err = r.Each(t.Context(), "counts", func([]byte, []byte, int64) error { rows++; return nil })
	require.ErrorIs(t, err, checkpointing.ErrDamaged)
	require.Equal(t, 100, rows, "of the first task; the second one is not read")
}

// A task directory made of a candidate has the state of the cut, and its positions.
func TestCandidateIsInstalled(t *testing.T) {
	t.Parallel()
	s := dir.New(t.TempDir())
	realCheckpoints(t, s, nil)
	l := &checkpointing.Loader{Storages: []storage.Storage{s}, ApplicationID: "app"}
	all, err := l.Candidates(t.Context(), record.TaskID{Partition: 1})
	require.NoError(t, err)
	require.Len(t, all, 2)
	for i, want := range []int64{12, 11} {
		folder := filepath.Join(t.TempDir(), "0_1")
		require.NoError(t, store.Install(t.Context(), folder, all[i].Open(t.Context()), all[i].Checkpoint, nil, nil))
		r := newRealTask(t, 1, folder)
		n, found, err := r.counts().Get("key-1-010")
		require.NoError(t, err)
		require.True(t, found)
		require.Equal(t, want, n)
		c, ok := r.Checkpoint()
		require.True(t, ok)
		require.Equal(t, int64(2-i), c.Changelog["counts"])
		require.Equal(t, int64(77), c.WallTimeMs)
	}
}
