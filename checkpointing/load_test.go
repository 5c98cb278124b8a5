package checkpointing

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/checkpointing/storage"
	"github.com/tidemarkio/tidemark/checkpointing/storage/mem"
	"github.com/tidemarkio/tidemark/checkpointing/storage/storagetest"
	"github.com/tidemarkio/tidemark/record"
)

// threeCheckpoints makes a full checkpoint and two that build on it.
func threeCheckpoints(t *testing.T, s storage.Storage) (f *fakeTask, states []map[string]string) {
	t.Helper()
	e := newTestExporter(t, Config{Storage: s})
	f = newFakeTask(0)
	for id := int64(1); id <= 3; id++ {
		f.set("a", strconv.FormatInt(id, 10), fmt.Sprintf("b%d", id), "x")
		if id == 3 {
			f.set("b1", "")
		}
		tr := testTrigger(id, id-1)
		got := exportCut(t, e, tr, f)
		require.NoError(t, PublishManifest(t.Context(), s, testManifest(tr, got)))
		states = append(states, f.snapshot().state)
	}
	return f, states
}

func TestCandidates(t *testing.T) {
	t.Parallel()
	s := storagetest.NewFaulty(mem.New())
	f, states := threeCheckpoints(t, s)
	unfinished := "app/chk-4/0_0-9-full-1.snap"
	require.NoError(t, storage.Put(t.Context(), s, unfinished, []byte("in progress"), storage.CreateOptions{}))
	read := 0
	l := &Loader{
		Storages: []storage.Storage{s, nil, s}, ApplicationID: "app", Read: func(_ record.TaskID, n int) { read += n },
	}
	all, err := l.Candidates(t.Context(), f.id)
	require.NoError(t, err)
	require.Len(t, all, 3)
	for i, c := range all {
		require.NoError(t, c.Err)
		require.Equal(t, int64(3-i), c.ID)
		got := map[string]string{}
		read = 0
		for e, err := range c.Open(t.Context()) {
			require.NoError(t, err)
			got[string(e.Key)] = string(e.Value)
		}
		require.Equal(t, states[2-i], got)
		require.Equal(t, c.Bytes, int64(read))
	}
	require.Equal(t, record.Epoch(4), all[0].Checkpoint.Epoch)
	all, err = l.Candidates(t.Context(), record.TaskID{Partition: 9})
	require.NoError(t, err)
	require.Empty(t, all)

	l.Fits = func(m *Manifest) error {
		if m.ID == 2 {
			return errors.New("it has other partitions")
		}
		return nil
	}
	all, err = l.Candidates(t.Context(), f.id)
	require.NoError(t, err)
	require.ErrorContains(t, all[1].Err, "app/chk-2")
	require.ErrorContains(t, all[1].Err, "other partitions")

	s.Arm(storagetest.OnList, "", storagetest.Refuse, 0, 1)
	_, err = l.Candidates(t.Context(), f.id)
	require.ErrorIs(t, err, storagetest.ErrInjected)
}

// Whatever is wrong is found before the end of the stream, and the next older one can be used.
func TestCandidatesWithDamage(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		do   func(t *testing.T, s *storagetest.Faulty, names []string)
		bad  map[int64]error // by id: in Err or in the stream
		text string
	}{
		"flipped bit": {
			func(_ *testing.T, s *storagetest.Faulty, _ []string) {
				s.Arm(storagetest.OnOpen, "chk-3/0_0", storagetest.FlipBit, 0, -1)
			},
			map[int64]error{3: ErrDamaged},
			"chk-3, file 0_0-4-inc-",
		},
		"flipped bit in what two share": {
			func(_ *testing.T, s *storagetest.Faulty, _ []string) {
				s.Arm(storagetest.OnOpen, "chk-2/0_0", storagetest.FlipBit, 0, -1)
			},
			map[int64]error{3: ErrDamaged, 2: ErrDamaged},
			"0_0-2-inc-",
		},
		"cut short": {
			func(_ *testing.T, s *storagetest.Faulty, _ []string) {
				s.Arm(storagetest.OnOpen, "chk-3/0_0", storagetest.CutShort, 0, -1)
			},
			map[int64]error{3: ErrDamaged},
			"",
		},
		"missing file": {
			func(t *testing.T, s *storagetest.Faulty, names []string) {
				t.Helper()
				require.NoError(t, s.Delete(t.Context(), names[4]))
			},
			map[int64]error{3: ErrDamaged},
			"missing",
		},
		"exchanged files": {
			func(t *testing.T, s *storagetest.Faulty, names []string) {
				t.Helper()
				data, err := storage.Get(t.Context(), s, names[2], 1<<20)
				require.NoError(t, err)
				require.NoError(t, storage.Put(t.Context(), s, names[4], data, storage.CreateOptions{}))
			},
			map[int64]error{3: ErrDamaged},
			"",
		},
		"manifest damaged": {
			func(_ *testing.T, s *storagetest.Faulty, _ []string) {
				s.Arm(storagetest.OnOpen, "chk-3/MANIFEST", storagetest.FlipBit, 0, -1)
			},
			map[int64]error{3: ErrDamaged},
			"chk-3, file MANIFEST.json",
		},
		"another application's": {
			func(t *testing.T, s *storagetest.Faulty, _ []string) {
				t.Helper()
				m := goldenManifest()
				m.Location, m.Tasks = "app/chk-9", nil
				require.NoError(t, PublishManifest(t.Context(), s, m))
			},
			map[int64]error{9: ErrForeign},
			`"word-count", not "app"`,
		},
		"newer": {
			func(t *testing.T, s *storagetest.Faulty, _ []string) {
				t.Helper()
				newer := []byte(`{"formatVersion": 99}`)
				require.NoError(t, storage.Put(t.Context(), s, "app/chk-9/MANIFEST.json", newer, storage.CreateOptions{}))
			},
			map[int64]error{9: ErrNewerFormat},
			"use the release that wrote it",
		},
		"it does not answer": {
			func(_ *testing.T, s *storagetest.Faulty, _ []string) {
				s.Arm(storagetest.OnOpen, "chk-3/0_0", storagetest.Refuse, 0, -1)
			},
			map[int64]error{3: storagetest.ErrInjected},
			"",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := storagetest.NewFaulty(mem.New())
			f, states := threeCheckpoints(t, s)
			names := objects(t, s)
			require.Len(t, names, 6)
			c.do(t, s, names)
			all, err := (&Loader{Storages: []storage.Storage{s}, ApplicationID: "app"}).Candidates(t.Context(), f.id)
			require.NoError(t, err)
			usable := 0
			for _, at := range all {
				err, got := at.Err, map[string]string{}
				if err == nil {
					for e, streamErr := range at.Open(t.Context()) {
						if streamErr != nil {
							err = streamErr
							break
						}
						got[string(e.Key)] = string(e.Value)
					}
				}
				want := c.bad[at.ID]
				require.ErrorIs(t, err, want, "checkpoint %d", at.ID)
				if want == nil {
					require.Equal(t, states[at.ID-1], got)
					usable++
					continue
				}
				require.ErrorContains(t, err, c.text)
				_, ok := errors.AsType[*SnapshotError](err)
				require.True(t, ok)
			}
			require.Positive(t, usable)
		})
	}
}

// A storage that hangs is passed over, and waited for once: not for each manifest, and not for each task.
func TestCandidatesOfAStorageThatHangs(t *testing.T) {
	for name, op := range map[string]storagetest.Op{"list": storagetest.OnList, "open": storagetest.OnOpen} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := storagetest.NewFaulty(mem.New())
				f, _ := threeCheckpoints(t, s)
				l := &Loader{Storages: []storage.Storage{s, s}, ApplicationID: "app", StallMax: time.Minute}
				s.Arm(op, "", storagetest.Hang, 0, -1)
				began := time.Now()
				for range 3 {
					all, err := l.Candidates(t.Context(), f.id)
					for _, c := range all {
						require.ErrorIs(t, c.Err, storage.ErrStalled)
						err = c.Err
					}
					require.ErrorIs(t, err, storage.ErrStalled)
				}
				require.Equal(t, time.Minute, time.Since(began))
				s.Disarm()
				<-time.After(time.Minute)
				all, err := l.Candidates(t.Context(), f.id)
				require.NoError(t, err)
				require.Len(t, all, 3)
				for _, c := range all {
					require.NoError(t, c.Err)
				}
			})
		})
	}
}

// A manifest whose checksums, sizes or counts are wrong is as bad as a damaged file.
func TestVerifyBelievesNothing(t *testing.T) {
	t.Parallel()
	s := mem.New()
	threeCheckpoints(t, s)
	for name, change := range map[string]func(*File){
		"checksum": func(f *File) { f.SHA256 = sum },
		"bytes":    func(f *File) { f.Bytes++ },
		"entries":  func(f *File) { f.Entries-- },
		"key":      func(f *File) { f.KeyID = "0123456789abcdef" },
	} {
		m, err := Load(t.Context(), s, "app/chk-3")
		require.NoError(t, err)
		require.NoError(t, Files{Storage: s}.Verify(t.Context(), m))
		change(&m.Tasks[0].Files[1])
		err = Files{Storage: s}.Verify(t.Context(), m)
		require.ErrorContains(t, err, "../chk-2/0_0-2-inc-", name)
	}
	m, err := Load(t.Context(), s, "app/chk-3")
	require.NoError(t, err)
	name := m.Tasks[0].Files[2].Name
	data, err := storage.Get(t.Context(), s, name, 1<<20)
	require.NoError(t, err)
	require.NoError(t, storage.Put(t.Context(), s, name, append(data, 0), storage.CreateOptions{}))
	require.ErrorIs(t, Files{Storage: s}.Verify(t.Context(), m), ErrDamaged)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, Files{Storage: s}.Verify(ended, m), context.Canceled)
}

func TestListAndApplications(t *testing.T) {
	t.Parallel()
	s := mem.New()
	threeCheckpoints(t, s)
	require.NoError(t, storage.Put(t.Context(), s, "app/chk-4/0_0-9-full-1.snap", []byte("1234"), storage.CreateOptions{}))
	require.NoError(t, storage.Put(t.Context(), s, "other/savepoint-1-x/MANIFEST.json", nil, storage.CreateOptions{}))
	require.NoError(t, storage.Put(t.Context(), s, "junk/x/y", nil, storage.CreateOptions{}))
	found, err := List(t.Context(), s, "app")
	require.NoError(t, err)
	require.Len(t, found, 4)
	require.Equal(t, "app/chk-4", found[0].Location)
	require.ErrorIs(t, found[0].Err, ErrNoManifest)
	require.Equal(t, int64(4), found[0].Bytes)
	require.Equal(t, int64(2), found[2].Manifest.ID)
	require.Equal(t, 2, found[2].Objects)
	ids, err := Applications(t.Context(), s)
	require.NoError(t, err)
	require.Equal(t, []string{"app", "other"}, ids)
}
