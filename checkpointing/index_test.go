package checkpointing

import (
	"bytes"
	"errors"
	"iter"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/checkpointing/storage"
	"github.com/tidemarkio/tidemark/checkpointing/storage/mem"
	"github.com/tidemarkio/tidemark/checkpointing/storage/storagetest"
	"github.com/tidemarkio/tidemark/store"
)

// partsOf reads the state of a task by parts of its files.
func partsOf(t *testing.T, files Files, m *Manifest, f *fakeTask) (map[string]string, error) {
	t.Helper()
	task, ok := m.Task(f.id)
	require.True(t, ok)
	parts, err := files.Parts(t.Context(), m, task)
	if err != nil {
		return nil, err
	}
	var all []iter.Seq2[store.Entry, error]
	for i := range parts {
		all = append(all, parts[i].Entries(t.Context()))
	}
	got := make(map[string]string)
	for at, err := range store.MergeFull(all...) {
		if err != nil {
			return nil, err
		}
		got[string(at.Key)] = string(at.Value)
	}
	return got, nil
}

func indexes(t *testing.T, s storage.Storage) (names []string) {
	t.Helper()
	for _, name := range objects(t, s) {
		if strings.HasSuffix(name, indexSuffix) {
			names = append(names, name)
		}
	}
	return names
}

// Each file has an index as long as it is needed, also those that later checkpoints build on.
func TestIndexes(t *testing.T) {
	t.Parallel()
	for name, key := range map[string][]byte{"plain": nil, "encrypted": bytes.Repeat([]byte{7}, 32)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := mem.New()
			e := newTestExporter(t, Config{Storage: s, IncrementalChainMax: 4, LazyRestore: true, EncryptionKey: key})
			f, files := newFakeTask(0), Files{Storage: s}
			if key != nil {
				var err error
				files.Cipher, err = storage.NewCipher(key)
				require.NoError(t, err)
			}
			for i := range 3000 {
				f.set("k"+strconv.Itoa(i), strconv.Itoa(i)+strings.Repeat("x", i%100))
			}
			cleaner := Cleaner{ApplicationID: "app", Checkpoints: s}
			for id := int64(1); id <= 9; id++ {
				f.set("k7", strconv.FormatInt(id, 10), "k8", strings.Repeat("x", int(id%2)))
				tr := testTrigger(id, id-1)
				got := exportCut(t, e, tr, f)
				require.NoError(t, PublishManifest(t.Context(), s, testManifest(tr, got)))
				e.Completed(id)
				waitForBeside(t, e, f)
				_, err := cleaner.Clean(t.Context(), Clean{Retained: []int64{id}, Below: id + 1})
				require.NoError(t, err)
				m, err := Load(t.Context(), s, testManifest(tr, got).Location)
				require.NoError(t, err)
				state, err := partsOf(t, files, m, f)
				require.NoError(t, err, "checkpoint %d: %s", id, fileKinds(got))
				require.Equal(t, f.state, state)
				require.LessOrEqual(t, len(indexes(t, s)), len(got.Files)+1, "with that of the full one beside")
				if key != nil {
					_, err = partsOf(t, Files{Storage: s}, m, f)
					require.ErrorIs(t, err, storage.ErrKey)
				}
			}
			tr := testTrigger(10, 0)
			tr.Savepoint, tr.Location = true, "app/savepoint-10-ab"
			got := exportCut(t, e, tr, f)
			m := testManifest(tr, got)
			require.NoError(t, PublishManifest(t.Context(), s, m))
			state, err := partsOf(t, files, m, f)
			require.NoError(t, err)
			require.Equal(t, f.state, state)
		})
	}
}

// wholeOnly hides that a storage can read parts.
type wholeOnly struct{ storage.Storage }

// A file that cannot be read in parts says why.
func TestPartsThatCannotBeRead(t *testing.T) {
	t.Parallel()
	set := func(s *storagetest.Faulty, name string, data []byte) error {
		return errors.Join(s.Delete(t.Context(), name), storage.Put(t.Context(), s, name, data, storage.CreateOptions{}))
	}
	for name, c := range map[string]struct {
		spoil func(t *testing.T, s *storagetest.Faulty, index string) storage.Storage
		want  error
		text  string
	}{
		"whole objects": {func(_ *testing.T, s *storagetest.Faulty, _ string) storage.Storage {
			return wholeOnly{s}
		}, nil, "reads whole objects only"},
		"index is gone": {func(t *testing.T, s *storagetest.Faulty, index string) storage.Storage {
			t.Helper()
			require.NoError(t, s.Delete(t.Context(), index))
			return s
		}, storage.ErrNotFound, ""},
		"index is damaged": {func(_ *testing.T, s *storagetest.Faulty, index string) storage.Storage {
			s.Arm(storagetest.OnOpen, index, storagetest.FlipBit, 0, -1)
			return s
		}, ErrDamaged, "its index"},
		"index is newer": {func(t *testing.T, s *storagetest.Faulty, index string) storage.Storage {
			t.Helper()
			data, err := storage.Get(t.Context(), s, index, 1<<20)
			require.NoError(t, err)
			data[7]++
			require.NoError(t, set(s, index, data))
			return s
		}, ErrNewerFormat, ""},
		"index of another file": {func(t *testing.T, s *storagetest.Faulty, index string) storage.Storage {
			t.Helper()
			var out bytes.Buffer
			other, err := store.WriteIndexedEntries(&out, store.MergeFull())
			require.NoError(t, err)
			require.NoError(t, set(s, index, other.Append(nil)))
			return s
		}, ErrDamaged, "of another file"},
		"file is gone": {func(t *testing.T, s *storagetest.Faulty, index string) storage.Storage {
			t.Helper()
			require.NoError(t, s.Delete(t.Context(), strings.TrimSuffix(index, indexSuffix)+snapshotSuffix))
			return s
		}, storage.ErrNotFound, ""},
		"file is damaged": {func(_ *testing.T, s *storagetest.Faulty, _ string) storage.Storage {
			s.Arm(storagetest.OnRange, "", storagetest.FlipBit, 0, -1)
			return s
		}, nil, "damaged"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := storagetest.NewFaulty(mem.New())
			e := newTestExporter(t, Config{Storage: s, LazyRestore: true})
			f := newFakeTask(0)
			f.set("a", "1", "b", strings.Repeat("2", 100))
			tr := testTrigger(1, 0)
			m := testManifest(tr, exportCut(t, e, tr, f))
			require.NoError(t, PublishManifest(t.Context(), s, m))
			_, err := partsOf(t, Files{Storage: s}, m, f)
			require.NoError(t, err)
			require.NoError(t, Files{Storage: s}.Verify(t.Context(), m))
			spoilt := Files{Storage: c.spoil(t, s, indexes(t, s)[0])}
			require.Equal(t, strings.HasPrefix(name, "index"), len(spoilt.verifyIndexes(t.Context(), m)) > 0)
			_, err = partsOf(t, spoilt, m, f)
			require.Error(t, err)
			if c.want != nil {
				require.ErrorIs(t, err, c.want)
			}
			require.ErrorContains(t, err, c.text)
		})
	}
}

// An index that cannot be stored is no failure of the checkpoint, and one of which none was made is not looked for.
func TestIndexThatIsNotStored(t *testing.T) {
	t.Parallel()
	f := newFakeTask(0)
	f.set("a", "1")
	for id, c := range []struct {
		lazy  bool
		op    storagetest.Op
		fault storagetest.Fault
	}{
		{true, storagetest.OnCreate, storagetest.Deny},
		{true, storagetest.OnCommit, storagetest.Partial},
		{false, storagetest.OnCreate, storagetest.Deny},
	} {
		s := storagetest.NewFaulty(mem.New())
		e := newTestExporter(t, Config{Storage: s, LazyRestore: c.lazy})
		s.Arm(c.op, indexSuffix, c.fault, 0, -1)
		tr := testTrigger(int64(id+1), 0)
		got := exportCut(t, e, tr, f)
		require.Empty(t, got.Beside)
		m := testManifest(tr, got)
		require.NoError(t, PublishManifest(t.Context(), s, m))
		_, err := partsOf(t, Files{Storage: s}, m, f)
		require.ErrorContains(t, err, "it has no index")
		state, err := stateOf(t, Files{Storage: s}, m, f.id)
		require.NoError(t, err)
		require.Equal(t, f.state, state)
	}
}
