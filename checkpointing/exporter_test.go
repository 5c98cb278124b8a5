package checkpointing

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/checkpointing/storage"
	"github.com/tidemarkio/tidemark/checkpointing/storage/mem"
	"github.com/tidemarkio/tidemark/checkpointing/storage/storagetest"
	"github.com/tidemarkio/tidemark/record"
)

func TestExporterStoresEverything(t *testing.T) {
	t.Parallel()
	s := mem.New()
	e := newTestExporter(t, Config{Storage: s})
	f := newFakeTask(3)
	f.set("a", "1", "b", "2")
	tr := testTrigger(1, 0)
	got := exportCut(t, e, tr, f)
	require.Equal(t, "f", fileKinds(got))
	require.Equal(t, record.Epoch(1), got.Epoch)
	require.Equal(t, map[string]int64{"n": 100}, got.Changelog)
	require.Equal(t, int64(2), got.Files[0].Entries)
	require.Equal(t, got.Bytes, got.Files[0].Bytes)
	require.Equal(t, []InputPosition{{Topic: "in", Partition: 3, Offset: 10, StreamTimeMs: 7}}, got.Inputs)
	require.Equal(t, int64(3), got.Timings.SyncMs)
	require.Equal(t, []string{got.Files[0].Name}, objects(t, s))
	require.True(t, strings.HasPrefix(got.Files[0].Name, "app/chk-1/0_3-1-full-"), got.Files[0].Name)
	require.NoError(t, PublishManifest(t.Context(), s, testManifest(tr, got)))
	m, err := Load(t.Context(), s, "app/chk-1")
	require.NoError(t, err)
	require.NoError(t, Files{Storage: s}.Verify(t.Context(), m))
	state, err := stateOf(t, Files{Storage: s}, m, f.id)
	require.NoError(t, err)
	require.Equal(t, f.state, state)
	c := m.Tasks[0].Checkpoint()
	require.Equal(t, int64(10), c.Inputs[record.TopicPartition{Topic: "in", Partition: 3}])
	require.Equal(t, int64(7), c.StreamTimes[record.TopicPartition{Topic: "in", Partition: 3}])
	e.Close()
	require.Zero(t, f.held.Load())
}

func TestExporterOfATaskWithoutStores(t *testing.T) {
	t.Parallel()
	s := mem.New()
	e := newTestExporter(t, Config{Storage: s})
	tr := testTrigger(1, 0)
	done := make(chan exported, 1)
	e.Export(tr, Cut{Task: record.TaskID{}, Epoch: 4}, func(s TaskSnapshot, err error) { done <- exported{s, err} })
	got := <-done
	require.NoError(t, got.err)
	require.Empty(t, got.snapshot.Files)
	require.Equal(t, record.Epoch(4), got.snapshot.Epoch)
	require.NoError(t, PublishManifest(t.Context(), s, testManifest(tr, got.snapshot)))
}

// Increments follow a full snapshot, until they are too many; then one that was made beside them takes their place.
func TestExporterBuildsOnTheBase(t *testing.T) {
	t.Parallel()
	s := mem.New()
	var forgot uint64
	e := newTestExporter(t, Config{Storage: s, IncrementalChainMax: 4}, func(c *ExporterConfig) {
		c.ForgetChanges = func(_ record.TaskID, upTo uint64) { forgot = upTo }
	})
	f := newFakeTask(0)
	f.set("a", "1", "b", "1", "c", "1")
	var shapes []string
	cleaner := Cleaner{ApplicationID: "app", Checkpoints: s}
	for id := int64(1); id <= 12; id++ {
		f.set("a", strconv.FormatInt(id, 10), "b", strings.Repeat("x", int(id%2)))
		tr := testTrigger(id, id-1)
		got := exportCut(t, e, tr, f)
		shapes = append(shapes, fmt.Sprintf("%s %d", fileKinds(got), len(got.Beside)))
		m := testManifest(tr, got)
		require.NoError(t, PublishManifest(t.Context(), s, m))
		state, err := stateOf(t, Files{Storage: s}, m, f.id)
		require.NoError(t, err)
		require.Equal(t, f.state, state, "checkpoint %d", id)
		e.Completed(id)
		waitForBeside(t, e, f)
		_, err = cleaner.Clean(t.Context(), Clean{Retained: []int64{id}, Below: id + 1})
		require.NoError(t, err)
	}
	require.Equal(t, []string{
		"f 0", "fi 0", "fii 0", "fiii 1", "fi 0", "fii 0", "fiii 1", "fi 0", "fii 0", "fiii 1", "fi 0", "fii 0",
	}, shapes)
	require.Equal(t, uint64(12), forgot, "the versions of the last but one checkpoint")
	f.set("a", "")
	f.forgot = f.version // its changes have become too many
	require.Equal(t, "f", fileKinds(exportCut(t, e, testTrigger(13, 12), f)))
}

// waitForBeside returns when the full snapshot beside an increment, if any, is stored: then its cut is released.
func waitForBeside(t *testing.T, _ *Exporter, f *fakeTask) {
	t.Helper()
	require.Eventually(t, func() bool { return f.held.Load() == 0 }, time.Minute, time.Millisecond)
}

func TestExporterIsFullWhenItMustBe(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*Trigger, *fakeTask, *Exporter)
		want   string
	}{
		"as it was":        {func(*Trigger, *fakeTask, *Exporter) {}, "fi"},
		"another base":     {func(tr *Trigger, _ *fakeTask, _ *Exporter) { tr.Base = 7 }, "f"},
		"no base":          {func(tr *Trigger, _ *fakeTask, _ *Exporter) { tr.Base = 0 }, "f"},
		"not incremental":  {func(tr *Trigger, _ *fakeTask, _ *Exporter) { tr.Incremental = false }, "f"},
		"the base failed":  {func(_ *Trigger, _ *fakeTask, e *Exporter) { e.Aborted(1) }, "f"},
		"it was elsewhere": {func(_ *Trigger, f *fakeTask, e *Exporter) { e.Forget(f.id) }, "f"},
		"changes are lost": {func(_ *Trigger, f *fakeTask, _ *Exporter) { f.forgot = f.version }, "f"},
		"savepoint":        {func(tr *Trigger, _ *fakeTask, _ *Exporter) { tr.Savepoint = true }, "f"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newTestExporter(t, Config{Storage: mem.New()})
			f := newFakeTask(0)
			f.set("a", "1")
			exportCut(t, e, testTrigger(1, 0), f)
			f.set("b", "1")
			tr := testTrigger(2, 1)
			c.change(&tr, f, e)
			require.Equal(t, c.want, fileKinds(exportCut(t, e, tr, f)))
		})
	}
	e := newTestExporter(t, Config{Storage: mem.New()})
	f := newFakeTask(0)
	f.set("a", "1")
	first := exportCut(t, e, testTrigger(1, 0), f)
	second := exportCut(t, e, testTrigger(2, 1), f)
	require.Equal(t, first.Files, second.Files, "nothing was written")
	require.Zero(t, second.Bytes)
	f.set()
	require.Equal(t, first.Files, exportCut(t, e, testTrigger(3, 2), f).Files, "an epoch without changes")
}

// A file that is gone must not make all later checkpoints fail.
func TestExporterStartsAnewAfterFruitlessCheckpoints(t *testing.T) {
	t.Parallel()
	s := mem.New()
	e := newTestExporter(t, Config{Storage: s})
	f := newFakeTask(0)
	f.set("a", "1")
	first := exportCut(t, e, testTrigger(1, 0), f)
	require.NoError(t, PublishManifest(t.Context(), s, testManifest(testTrigger(1, 0), first)))
	e.Completed(1)
	require.NoError(t, s.Delete(t.Context(), first.Files[0].Name))
	for id := int64(2); ; id++ {
		require.Less(t, id, int64(5))
		f.set("a", strconv.FormatInt(id, 10))
		tr := testTrigger(id, 1)
		err := PublishManifest(t.Context(), s, testManifest(tr, exportCut(t, e, tr, f)))
		if err == nil {
			e.Completed(id)
			break
		}
		require.ErrorIs(t, err, ErrDamaged)
		e.Aborted(id)
	}
	f.set("b", "1")
	require.Equal(t, "fi", fileKinds(exportCut(t, e, testTrigger(5, 4), f)))
}

func TestExporterTriesAgain(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		op    storagetest.Op
		fault storagetest.Fault
	}{
		{storagetest.OnCreate, storagetest.Refuse},
		{storagetest.OnWrite, storagetest.Refuse},
		{storagetest.OnWrite, storagetest.DiskFull},
		{storagetest.OnCommit, storagetest.Refuse},
		{storagetest.OnCommit, storagetest.LostAnswer},
	} {
		s := storagetest.NewFaulty(mem.New())
		e := newTestExporter(t, Config{Storage: s})
		f := newFakeTask(0)
		f.set("a", "1")
		s.Arm(c.op, "", c.fault, 0, 2)
		tr := testTrigger(1, 0)
		got := exportCut(t, e, tr, f)
		require.Equal(t, 2, s.Hits())
		m := testManifest(tr, got)
		require.NoError(t, PublishManifest(t.Context(), s, m))
		require.NoError(t, Files{Storage: s}.Verify(t.Context(), m), "%v", c)
		_, err := (&Cleaner{ApplicationID: "app", Checkpoints: s}).Clean(t.Context(), Clean{Retained: []int64{1}, Below: 2})
		require.NoError(t, err)
		require.Len(t, objects(t, s), 2, "what attempts left is gone")
	}
	// What will not pass is not tried again.
	s := storagetest.NewFaulty(mem.New())
	e := newTestExporter(t, Config{Storage: s})
	f := newFakeTask(0)
	s.Arm(storagetest.OnCreate, "", storagetest.Deny, 0, -1)
	got := <-start(e, testTrigger(1, 0), f)
	require.ErrorIs(t, got.err, storagetest.ErrInjected)
	require.ErrorContains(t, got.err, "task 0_0 for checkpoint 1")
	require.Equal(t, 1, s.Hits())
	// An engine that fails.
	s.Disarm()
	f.set("a", "1")
	tr := testTrigger(2, 0)
	cut := f.cut(tr)
	broken, ok := cut.Snapshot.(*fakeSnapshot)
	require.True(t, ok)
	broken.broken = errors.New("the disk is gone")
	done := make(chan exported, 1)
	e.Export(tr, cut, func(s TaskSnapshot, err error) { done <- exported{s, err} })
	require.ErrorContains(t, (<-done).err, "the disk is gone")
	require.Empty(t, objects(t, s))
	e.Close()
	require.Zero(t, f.held.Load())
}

// However a store hangs, exports end when nobody waits for them any more, and let their snapshots go.
func TestExporterEndsWhatHangs(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		end  func(*Exporter, *fakeTask)
		want error
	}{
		"aborted": {func(e *Exporter, _ *fakeTask) { e.Aborted(1) }, errAborted},
		"moved":   {func(e *Exporter, f *fakeTask) { e.Forget(f.id) }, ErrMoved},
		"closed":  {func(e *Exporter, _ *fakeTask) { e.Close() }, errClosed},
		"timeout": {func(*Exporter, *fakeTask) { time.Sleep(2 * time.Minute) }, errTimedOut},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := storagetest.NewFaulty(mem.New())
				s.Arm(storagetest.OnWrite, "", storagetest.Hang, 0, -1)
				e := newTestExporter(t, Config{Storage: s, UploadParallel: 1})
				f, waits := newFakeTask(0), newFakeTask(1)
				f.set("a", "1")
				first, second := start(e, testTrigger(1, 0), f), start(e, testTrigger(1, 0), waits)
				synctest.Wait()
				c.end(e, f)
				got := <-first
				require.ErrorIs(t, got.err, c.want)
				if name == "moved" {
					require.Zero(t, f.held.Load(), "Forget waits")
					e.Aborted(1)
				}
				require.Error(t, (<-second).err, "and so does what waits for its turn")
				synctest.Wait()
				require.Zero(t, f.held.Load()+waits.held.Load())
				e.Close()
				require.ErrorIs(t, (<-start(e, testTrigger(2, 0), f)).err, errClosed)
				require.Zero(t, f.held.Load())
			})
		})
	}
}

func TestExporterIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := storagetest.NewFaulty(mem.New())
		s.Arm(storagetest.OnCommit, "", storagetest.Hang, 0, -1)
		e := newTestExporter(t, Config{Storage: s, UploadParallel: 3})
		var all []<-chan exported
		for p := range int32(10) {
			all = append(all, start(e, testTrigger(1, 0), newFakeTask(p)))
		}
		synctest.Wait()
		require.Equal(t, 3, s.Hits())
		e.Aborted(1)
		for _, done := range all {
			require.ErrorIs(t, (<-done).err, errAborted)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		e := newTestExporter(t, Config{Storage: mem.New(), UploadBytesPerSecond: 1 << 20})
		f := newFakeTask(0)
		f.set("a", string(storagetest.Bytes(10<<20, 1)))
		began := time.Now()
		got := exportCut(t, e, testTrigger(1, 0), f)
		require.InDelta(t, 10, time.Since(began).Seconds(), 0.5)
		require.InDelta(t, 10_000, got.Timings.AsyncMs, 500)
	})
}

func TestExporterEncrypts(t *testing.T) {
	t.Parallel()
	key := bytes.Repeat([]byte{7}, storage.KeyBytes)
	s := mem.New()
	e := newTestExporter(t, Config{Storage: s, EncryptionKey: key})
	f := newFakeTask(0)
	f.set("a", "very secret")
	tr := testTrigger(1, 0)
	got := exportCut(t, e, tr, f)
	c, err := storage.NewCipher(key)
	require.NoError(t, err)
	require.Equal(t, c.KeyID(), got.Files[0].KeyID)
	stored, err := storage.Get(t.Context(), s, got.Files[0].Name, 1<<20)
	require.NoError(t, err)
	require.NotContains(t, string(stored), "secret")
	m := testManifest(tr, got)
	require.NoError(t, Files{Storage: s, Cipher: c}.Verify(t.Context(), m))
	require.ErrorIs(t, Files{Storage: s}.Verify(t.Context(), m), storage.ErrKey)
	other, err := storage.NewCipher(bytes.Repeat([]byte{8}, storage.KeyBytes))
	require.NoError(t, err)
	require.ErrorIs(t, Files{Storage: s, Cipher: other}.Verify(t.Context(), m), storage.ErrKey)
}

// The key changes, and then encryption is given up: what is there can be read all the time.
func TestExporterChangesKeys(t *testing.T) {
	t.Parallel()
	first, second := bytes.Repeat([]byte{7}, storage.KeyBytes), bytes.Repeat([]byte{8}, storage.KeyBytes)
	s := mem.New()
	f := newFakeTask(0)
	f.set("a", "1")
	var made []*Manifest
	for id, c := range []Config{
		{EncryptionKey: first},
		{EncryptionKey: second, OldEncryptionKeys: [][]byte{first}},
		{OldEncryptionKeys: [][]byte{second, first}},
	} {
		c.Storage = s
		cipher, err := c.Cipher()
		require.NoError(t, err)
		tr := testTrigger(int64(id+1), 0)
		got := exportCut(t, newTestExporter(t, c), tr, f)
		switch {
		case len(c.EncryptionKey) == 0:
			require.Empty(t, got.Files[0].KeyID)
		default:
			require.Equal(t, cipher.KeyID(), got.Files[0].KeyID)
		}
		made = append(made, testManifest(tr, got))
		for _, m := range made {
			require.NoError(t, Files{Storage: s, Cipher: cipher}.Verify(t.Context(), m))
		}
	}
	require.NotEqual(t, made[0].Tasks[0].Files[0].KeyID, made[1].Tasks[0].Files[0].KeyID)
	only, err := (&Config{EncryptionKey: second}).Cipher()
	require.NoError(t, err)
	require.ErrorIs(t, Files{Storage: s, Cipher: only}.Verify(t.Context(), made[0]), storage.ErrKey)
	none, err := (&Config{}).Cipher()
	require.NoError(t, err)
	require.Nil(t, none)
}

// A savepoint has everything in its own folder, also what was in flight.
func TestExporterSavepoint(t *testing.T) {
	t.Parallel()
	checkpoints, savepoints := mem.New(), mem.New()
	log := func(_ context.Context, r Range) iter.Seq2[record.Raw, error] {
		return func(yield func(record.Raw, error) bool) {
			for at := r.Start - 1; at < r.End+1; at++ { // readers read whole batches
				if at%2 != int64(r.From.Partition) {
					continue
				}
				raw := record.Raw{
					Offset: at, Timestamp: at * 10, Key: []byte("k"),
					Headers: []record.Header{{Key: "h"}, {Key: "i", Value: []byte{}}},
				}
				if !yield(raw, nil) {
					return
				}
			}
		}
	}
	e := newTestExporter(t, Config{Storage: checkpoints, SavepointStorage: savepoints}, func(c *ExporterConfig) {
		c.InFlight = log
	})
	f := newFakeTask(1)
	f.set("a", "1")
	tr := testTrigger(5, 0)
	tr.Savepoint, tr.Location = true, SavepointFolder("app", 5, "c0ffee")
	cut := f.cut(tr)
	cut.InFlight = []Range{
		{Topic: "r", Partition: 1, From: record.TaskID{Partition: 1}, Start: 3, End: 8},
		{Topic: "r", Partition: 1, From: record.TaskID{Partition: 0}, Start: 4, End: 7},
		{Topic: "q", Partition: 1, From: record.TaskID{Partition: 0}, Start: 4, End: 4},
	}
	done := make(chan exported, 1)
	e.Export(tr, cut, func(s TaskSnapshot, err error) { done <- exported{s, err} })
	got := <-done
	require.NoError(t, got.err)
	require.Empty(t, objects(t, checkpoints))
	m := testManifest(tr, got.snapshot)
	require.NoError(t, PublishManifest(t.Context(), savepoints, m))
	require.Len(t, objects(t, savepoints), 3)
	r, err := OpenReader(t.Context(), savepoints, tr.Location, nil)
	require.NoError(t, err)
	var offsets []int64
	for rec, err := range r.InFlight(t.Context()) {
		require.NoError(t, err)
		require.Equal(t, "r", rec.Topic)
		require.Equal(t, int64(rec.From.Partition), rec.Offset%2)
		require.Equal(t, rec.Offset*10, rec.Timestamp)
		require.Equal(t, "k", string(rec.Key))
		require.Nil(t, rec.Value)
		require.Equal(t, []record.Header{{Key: "h"}, {Key: "i", Value: []byte{}}}, rec.Headers)
		offsets = append(offsets, rec.Offset)
	}
	require.Equal(t, []int64{3, 4, 5, 6, 7}, offsets)
	// Without somebody who can read them there is no savepoint.
	e = newTestExporter(t, Config{Storage: savepoints})
	cut = f.cut(tr)
	cut.InFlight = []Range{{Topic: "r", Start: 1, End: 2}}
	e.Export(tr, cut, func(s TaskSnapshot, err error) { done <- exported{s, err} })
	require.ErrorContains(t, (<-done).err, "records are in flight")
}
