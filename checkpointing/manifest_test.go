package checkpointing

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/checkpointing/storage"
	"github.com/tidemarkio/tidemark/checkpointing/storage/mem"
	"github.com/tidemarkio/tidemark/checkpointing/storage/storagetest"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/store"
)

const sum = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

// goldenManifest has a value in every field.
func goldenManifest() *Manifest {
	return &Manifest{
		Kind: KindCheckpoint, ID: 17, ApplicationID: "word-count", Fingerprint: "f3a1", TriggeredMs: 1_700_000_000_000,
		CompletedMs: 1_700_000_000_250, Base: 16, Partitions: map[string]int32{"lines": 2}, Location: "word-count/chk-17",
		Stores: []StoreInfo{{
			Name: "counts", Subtopology: 1, Type: "key-value", KeySerde: "string", ValueSerde: "int64", SchemaVersion: 1,
			Changelog: "word-count-counts-changelog", SourceTopic: "counts", RetentionMs: 60_000, HistoryRetentionMs: 30_000,
			ChangelogConfig: map[string]string{"segment.ms": "1000"}, Rows: store.GridRows, KeyWindows: []int{8},
			OwnPartitionKey: true,
		}},
		Topology: &Topology{
			Subtopologies: []Subtopology{
				{
					ID: 0, Sources: []string{"lines"}, Patterns: []string{"lines|verses-.*"},
					Sinks: []string{"by-word-repartition"},
				},
				{ID: 1, Sources: []string{"by-word-repartition"}},
			},
			Repartitions: []Repartition{{Name: "by-word-repartition", Partitions: 4}},
			ForeignKeyJoins: []ForeignKeyJoin{{
				Subscribers: "j-subscription-store", Requests: "j-subscription-registration-topic",
				Answers: "j-subscription-response-topic", LeftWindowBytes: 8, CustomPartitioner: true,
			}},
		},
		Tasks: []TaskSnapshot{
			{
				Task: record.TaskID{}, Epoch: 90, WallTimeMs: 1_700_000_000_100,
				Inputs:  []InputPosition{{Topic: "lines", Offset: 4711, StreamTimeMs: 1_699_999_999_000}},
				Timings: Timings{StartDelayMs: 12},
			},
			{
				Task: record.TaskID{Subtopology: 1}, Epoch: 52, WallTimeMs: 1_700_000_000_150,
				Changelog: map[string]int64{"counts": 8001},
				Inputs: []InputPosition{{
					Topic: "word-count-by-word-repartition", Offset: 900, StreamTimeMs: 1_699_999_999_000,
					Ahead: map[record.TaskID]int64{{Partition: 1}: 905},
				}},
				InFlight: []Range{{
					Topic: "word-count-by-word-repartition", From: record.TaskID{Partition: 1}, Start: 905, End: 917,
				}},
				Files: []File{
					{
						Name: "word-count/chk-16/1_0-40-full-0badcafe.snap", Kind: FileFull, Bytes: 52_100, SHA256: sum, Entries: 1201,
						Version: 40, KeyID: "0123456789abcdef",
					},
					{
						Name: "word-count/chk-17/1_0-52-inc-00c0ffee.snap", Kind: FileIncremental, Bytes: 800, SHA256: sum, Entries: 14,
						Version: 52, KeyID: "0123456789abcdef",
					},
				},
				Beside:  []string{"word-count/chk-17/1_0-52-full-5eaf00d5.snap"},
				Timings: Timings{StartDelayMs: 14, AlignmentMs: 40, SyncMs: 1, AsyncMs: 33}, Bytes: 800, Unaligned: true,
			},
		},
	}
}

// TestManifestGolden pins the example in docs/format/manifest.md.
func TestManifestGolden(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile("../docs/format/manifest.md")
	require.NoError(t, err)
	_, rest, ok := strings.Cut(string(doc), "```json\n")
	require.True(t, ok)
	golden, _, ok := strings.Cut(rest, "```")
	require.True(t, ok)
	got, err := encodeManifest(goldenManifest())
	require.NoError(t, err)
	require.Equal(t, golden, string(got))
	m, err := decodeManifest("word-count/chk-17", []byte(golden))
	require.NoError(t, err)
	require.Equal(t, goldenManifest(), m)
	// The folders may be copied somewhere else together.
	m, err = decodeManifest("backup/of/chk-17", []byte(golden))
	require.NoError(t, err)
	require.Equal(t, "backup/of/chk-16/1_0-40-full-0badcafe.snap", m.Tasks[1].Files[0].Name)
	require.Equal(t, "backup/of/chk-17/1_0-52-full-5eaf00d5.snap", m.Tasks[1].Beside[0])
	require.Equal(t, int64(52_900), m.StateBytes())
	require.Equal(t, int64(800), m.Bytes())
}

// Whatever happens to the bytes of a manifest is noticed.
func TestManifestDamage(t *testing.T) {
	t.Parallel()
	good, err := encodeManifest(goldenManifest())
	require.NoError(t, err)
	same, err := decodeManifest("word-count/chk-17", good)
	require.NoError(t, err)
	for at := range good {
		_, err := decodeManifest("word-count/chk-17", good[:at])
		if at < len(good)-2 { // without the last newline it is whole
			require.Error(t, err, "cut at %d", at)
		}
		for bit := range 8 {
			bad := bytes.Clone(good)
			bad[at] ^= 1 << bit
			m, err := decodeManifest("word-count/chk-17", bad)
			if err == nil {
				require.Equal(t, same, m, "bit %d of byte %d, %q", bit, at, good[max(0, at-10):at+1])
			}
		}
	}
}

func TestManifestIsStrict(t *testing.T) {
	t.Parallel()
	s := mem.New()
	for name, c := range map[string]struct {
		change func(*Manifest)
		raw    func([]byte) []byte
		want   error
		text   string
	}{
		"newer": {
			raw: func(b []byte) []byte {
				return bytes.Replace(b, []byte(`"formatVersion": 1`), []byte(`"formatVersion": 2, "new": {}`), 1)
			},
			want: ErrNewerFormat, text: "format 2",
		},
		"no format": {
			raw: func([]byte) []byte { return []byte(`{"manifest":{}}`) }, want: ErrDamaged, text: "format version",
		},
		"no JSON": {raw: func([]byte) []byte { return []byte("MANIFEST") }, want: ErrDamaged},
		"empty":   {raw: func([]byte) []byte { return nil }, want: ErrDamaged},
		"kind":    {change: func(m *Manifest) { m.Kind = "snapshot" }, want: ErrDamaged, text: `"snapshot"`},
		"no id":   {change: func(m *Manifest) { m.ID = 0 }, want: ErrDamaged},
		"twice":   {change: func(m *Manifest) { m.Tasks[0].Task = m.Tasks[1].Task }, want: ErrDamaged, text: "1_0"},
		"outside": {
			change: func(m *Manifest) { m.Tasks[1].Files[0].Name = "../../etc/passwd" }, want: ErrDamaged, text: "elsewhere",
		},
		"two full": {change: func(m *Manifest) { m.Tasks[1].Files[1].Kind = FileFull }, want: ErrDamaged, text: "file 1"},
		"no full": {
			change: func(m *Manifest) { m.Tasks[1].Files = m.Tasks[1].Files[1:] }, want: ErrDamaged, text: "file 0",
		},
		"no checksum":  {change: func(m *Manifest) { m.Tasks[1].Files[0].SHA256 = "12" }, want: ErrDamaged, text: "checksum"},
		"a savepoint ": {change: func(m *Manifest) { m.Kind = KindSavepoint }, want: ErrDamaged, text: "own folder"},
	} {
		m := goldenManifest()
		if c.change != nil {
			c.change(m)
		}
		data, err := encodeManifest(m)
		require.NoError(t, err)
		if c.raw != nil {
			data = c.raw(data)
		}
		require.NoError(t, storage.Put(t.Context(), s, ManifestName(m.Location), data, storage.CreateOptions{}))
		_, err = Load(t.Context(), s, m.Location)
		require.ErrorIs(t, err, c.want, name)
		require.ErrorContains(t, err, c.text, name)
		require.ErrorContains(t, err, "word-count/chk-17, file MANIFEST.json in memory", name)
		if c.change != nil {
			require.Error(t, PublishManifest(t.Context(), s, m), name)
		}
	}
	_, err := Load(t.Context(), s, "word-count/chk-18")
	require.ErrorIs(t, err, ErrNoManifest)
	flaky := storagetest.NewFaulty(s)
	flaky.Arm(storagetest.OnOpen, "", storagetest.Refuse, 0, 1)
	_, err = Load(t.Context(), flaky, "word-count/chk-17")
	require.True(t, storage.Transient(err), "%v", err)
}

func FuzzDecodeManifest(f *testing.F) {
	good, err := encodeManifest(goldenManifest())
	require.NoError(f, err)
	f.Add(good)
	f.Add([]byte(`{"formatVersion":1,"sha256":"","manifest":{}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := decodeManifest("word-count/chk-17", data)
		if err != nil {
			return
		}
		again, err := encodeManifest(m)
		require.NoError(t, err)
		same, err := decodeManifest("word-count/chk-17", again)
		require.NoError(t, err)
		require.Equal(t, m, same)
	})
}

func TestPublishChecksItsFiles(t *testing.T) {
	t.Parallel()
	s := storagetest.NewFaulty(mem.New())
	e := newTestExporter(t, Config{Storage: s})
	f := newFakeTask(0)
	f.set("a", "1")
	tr := testTrigger(1, 0)
	got := exportCut(t, e, tr, f)
	m := testManifest(tr, got)
	file := got.Files[0].Name
	data, err := storage.Get(t.Context(), s, file, 1<<20)
	require.NoError(t, err)

	require.NoError(t, s.Delete(t.Context(), file))
	err = PublishManifest(t.Context(), s, m)
	require.ErrorIs(t, err, ErrDamaged)
	require.ErrorContains(t, err, "missing")
	require.ErrorContains(t, err, relative(m.Location, file))

	s.Arm(storagetest.OnCommit, file, storagetest.Partial, 0, 1)
	require.NoError(t, storage.Put(t.Context(), s, file, data, storage.CreateOptions{}))
	require.ErrorContains(t, PublishManifest(t.Context(), s, m), "bytes, not")
	require.NoError(t, storage.Put(t.Context(), s, file, data, storage.CreateOptions{}))

	// Answers that are lost, and a coordinator that was there before.
	s.Arm(storagetest.OnList, "", storagetest.Refuse, 0, 1)
	s.Arm(storagetest.OnCommit, manifestName, storagetest.LostAnswer, 0, 1)
	require.NoError(t, PublishManifest(t.Context(), s, m))
	require.Equal(t, 3, s.Hits())
	other := *m
	other.CompletedMs++
	require.NoError(t, PublishManifest(t.Context(), s, &other))
	there, err := Load(t.Context(), s, m.Location)
	require.NoError(t, err)
	require.Equal(t, m.CompletedMs, there.CompletedMs, "the first one counts")
	other.ApplicationID = "other"
	require.ErrorContains(t, PublishManifest(t.Context(), s, &other), "holds checkpoint 1 of application")
}

// A coordinator that was stopped in the middle of publishing, was taken for dead, and goes on: whether its successor
// deletes the files before the manifest comes or just after it, no manifest is left without its files.
func TestPublishWhileItIsGivenUp(t *testing.T) {
	t.Parallel()
	begin := func() (*storagetest.Faulty, *Manifest) {
		s := storagetest.NewFaulty(mem.New())
		tr, f := testTrigger(1, 0), newFakeTask(0)
		f.set("a", "x")
		return s, testManifest(tr, exportCut(t, newTestExporter(t, Config{Storage: s}), tr, f))
	}
	giveUp := func(s storage.Storage) {
		_, err := (&Cleaner{ApplicationID: "app", Checkpoints: s}).Clean(t.Context(), Clean{Below: 2})
		require.NoError(t, err)
	}

	s, m := begin()
	s.Draw(func(op storagetest.Op, _ string) storagetest.Fault {
		if op == storagetest.OnCreate {
			giveUp(s.Storage)
		}
		return ""
	})
	require.ErrorIs(t, PublishManifest(t.Context(), s, m), ErrDamaged)
	require.Empty(t, objects(t, s.Storage))

	s, m = begin()
	s.Draw(func(op storagetest.Op, name string) storagetest.Fault {
		if op == storagetest.OnDelete && strings.HasSuffix(name, snapshotSuffix) {
			require.NoError(t, PublishManifest(t.Context(), s.Storage, m))
		}
		return ""
	})
	giveUp(s)
	require.Empty(t, objects(t, s.Storage))
}

func TestScanStored(t *testing.T) {
	t.Parallel()
	a, b := mem.New(), mem.New()
	found, err := ScanStored(t.Context(), "app", a, a)
	require.NoError(t, err)
	require.Equal(t, Stored{}, found)
	for _, name := range []string{
		"app/chk-10/MANIFEST.json", "app/chk-9/MANIFEST.json", "app/chk-11/0_0-1-full-0.snap", "app/chk-x/MANIFEST.json",
		"app/chk-012/MANIFEST.json", "app/savepoint-99-abc/MANIFEST.json", "app-2/chk-77/MANIFEST.json", "app/other",
	} {
		require.NoError(t, storage.Put(t.Context(), a, name, nil, storage.CreateOptions{}))
	}
	require.NoError(t, storage.Put(t.Context(), b, "app/savepoint-33-abc/x", nil, storage.CreateOptions{}))
	found, err = ScanStored(t.Context(), "app", a, b)
	require.NoError(t, err)
	require.Equal(t, Stored{Checkpoints: []int64{9, 10}, LastID: 33}, found)
	found, err = ScanStored(t.Context(), "app", a, a)
	require.NoError(t, err)
	require.Equal(t, int64(99), found.LastID)
	flaky := storagetest.NewFaulty(a)
	flaky.Arm(storagetest.OnList, "", storagetest.Refuse, 0, 1)
	_, err = ScanStored(t.Context(), "app", flaky, nil)
	require.ErrorIs(t, err, storagetest.ErrInjected)
}
