package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/dgraph-io/badger/v4/options"
	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/record"
)

// openTestBadger opens a badger engine and closes it if the test does not.
func openTestBadger(t *testing.T, dir string) *badgerEngine {
	t.Helper()
	e, err := openBadger(dir, NewBudget(64<<20), slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	t.Cleanup(func() {
		if !e.mu.closed {
			require.NoError(t, e.Close())
		}
	})
	return e
}

// numbered yields n entries with keys in order and values of some length that tell the epoch.
func numbered(n, valueBytes int, epoch uint64) func(yield func(Entry) bool) {
	return func(yield func(Entry) bool) {
		for i := range n {
			value := make([]byte, valueBytes)
			for j := 0; j+8 <= valueBytes; j += 8 { // does not compress to nothing
				binary.LittleEndian.PutUint64(value[j:], goldenTimes(uint64(i)+epoch)+uint64(j))
			}
			if !yield(Entry{Key: fmt.Appendf(nil, "\x00\x01key-%07d", i), Value: value}) {
				return
			}
		}
	}
}

// requireNumbered checks that the engine holds what numbered made with values of 100 bytes.
func requireNumbered(t *testing.T, e *badgerEngine, n int, epoch uint64) {
	t.Helper()
	var want []Entry
	numbered(n, 100, epoch)(func(at Entry) bool { want = append(want, at); return true })
	i := 0
	for at, err := range e.Scan([]byte{0, 1}, nil, false) {
		require.NoError(t, err)
		require.Equal(t, want[i], at)
		i++
	}
	require.Equal(t, n, i)
}

func goldenTimes(n uint64) uint64 { return n * 0x9e3779b97f4a7c15 }

// crashed returns a copy of the directory as a killed process would leave it. Badger compacts beside us, so the copy is
// repeated until nothing changed meanwhile.
func crashed(t *testing.T, dir string) string {
	t.Helper()
	state := func() string {
		manifest, err := os.ReadFile(filepath.Join(dir, "MANIFEST"))
		require.NoError(t, err)
		entries, err := os.ReadDir(dir)
		require.NoError(t, err)
		return fmt.Sprint(entries, string(manifest))
	}
	for i := 0; ; i++ {
		before := state()
		to := filepath.Join(t.TempDir(), "crashed")
		err := copyDir(to, dir)
		if err == nil && state() == before {
			require.NoError(t, os.RemoveAll(filepath.Join(to, "LOCK")))
			return to
		}
		require.Less(t, i, 1000)
	}
}

// copyDir is os.CopyFS that leaves zeros out: Badger's logs are mostly holes, of tens of megabytes.
func copyDir(to, from string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.MkdirAll(filepath.Join(to, name), 0o700)
		}
		return copySparse(filepath.Join(to, name), path)
	})
}

func copySparse(to, from string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	var zeros, block [256 << 10]byte
	for at := int64(0); ; {
		n, err := io.ReadFull(in, block[:])
		if n > 0 && !bytes.Equal(block[:n], zeros[:n]) {
			if _, err := out.WriteAt(block[:n], at); err != nil {
				return err
			}
		}
		at += int64(n)
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return out.Truncate(at)
		}
		if err != nil {
			return err
		}
	}
}

func dirBytes(t *testing.T, dir string) int64 {
	t.Helper()
	var n int64
	require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // Badger compacts beside us
		}
		if err != nil || d.IsDir() || strings.HasSuffix(path, ".mem") || strings.HasSuffix(path, ".vlog") {
			return err // logs are sparse: their sizes say nothing
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil {
			n += info.Size()
		}
		return err
	}))
	return n
}

func TestBadgerSurvivesCrash(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	e := openTestBadger(t, dir)
	for epoch := uint64(1); epoch <= 5; epoch++ {
		require.NoError(t, e.Flush(numbered(6000, 100, epoch), Checkpoint{Epoch: record.Epoch(epoch)}))
		e2 := openTestBadger(t, crashed(t, dir))
		cp, found, err := e2.Checkpoint()
		require.NoError(t, err)
		require.True(t, found)
		require.Equal(t, record.Epoch(epoch), cp.Epoch)
		requireNumbered(t, e2, 6000, epoch)
		require.NoError(t, e2.Close())
	}
}

// TestBadgerDropsDataWithoutCheckpoint is the crash in the middle of the first flush.
func TestBadgerDropsDataWithoutCheckpoint(t *testing.T) {
	t.Parallel()
	for _, n := range []int{10, 6000} {
		dir := t.TempDir()
		e := openTestBadger(t, dir)
		left := ""
		entries := func(yield func(Entry) bool) {
			numbered(n, 100, 1)(yield)
			left = crashed(t, dir)
		}
		require.NoError(t, e.Flush(entries, Checkpoint{Epoch: 1}))
		e2 := openTestBadger(t, left)
		require.True(t, e2.Empty())
		for at, err := range e2.Scan([]byte{0, 1}, nil, false) {
			require.NoError(t, err)
			t.Fatalf("%q without a checkpoint", at.Key)
		}
	}
}

// TestBadgerBudgetShrinks reopens a log that was written with a larger memtable than the present budget allows, for
// which Badger would end the process.
func TestBadgerBudgetShrinks(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	e, err := openBadger(dir, NewBudget(512<<20), slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	defer func() { require.NoError(t, e.Close()) }()
	require.NoError(t, e.Flush(numbered(1, 8, 1), Checkpoint{Epoch: 1}))
	require.NoError(t, e.Flush(numbered(20_000, 400, 2), Checkpoint{Epoch: 2}))
	e2, err := openBadger(crashed(t, dir), NewBudget(8<<20), slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	cp, _, err := e2.Checkpoint()
	require.NoError(t, err)
	require.Equal(t, record.Epoch(2), cp.Epoch)
	require.NoError(t, e2.Close())
}

func TestBadgerDamage(t *testing.T) {
	t.Parallel()
	closed, killed := t.TempDir(), ""
	e := openTestBadger(t, closed)
	for epoch := uint64(1); epoch <= 3; epoch++ {
		require.NoError(t, e.Flush(numbered(8000, 100, epoch), Checkpoint{Epoch: record.Epoch(epoch)}))
	}
	killed = crashed(t, closed)
	require.NoError(t, e.Close())

	flip := func(at float64) func([]byte) []byte {
		return func(b []byte) []byte {
			b[int(float64(len(b)-1)*at)] ^= 0x10
			return b
		}
	}
	cut := func(at float64) func([]byte) []byte {
		return func(b []byte) []byte { return b[:int(float64(len(b))*at)] }
	}
	always := []struct {
		name, file string
		damage     func([]byte) []byte
	}{
		{"manifest empty", "MANIFEST", cut(0)},
		{"manifest truncated", "MANIFEST", func(b []byte) []byte { return b[:len(b)-3] }},
		{"manifest magic", "MANIFEST", flip(0)},
		{"manifest flipped", "MANIFEST", flip(0.5)},
		{"manifest end flipped", "MANIFEST", flip(1)},
		{"manifest missing", "MANIFEST", nil},
		{"table empty", ".sst", cut(0)},
		{"table truncated", ".sst", cut(0.5)},
		{"table truncated a little", ".sst", cut(0.999)},
		{"table footer", ".sst", flip(1)},
		{"table garbage", ".sst", func(b []byte) []byte {
			for i := range b {
				b[i] = 0xff
			}
			return b
		}},
		{"table zeros", ".sst", func(b []byte) []byte { clear(b); return b }},
		{"table missing", ".sst", nil},
	}
	inside := slices.Clone(always[:0])
	for _, at := range []float64{0, 0.1, 0.5, 0.9, 0.97, 0.99} {
		inside = append(inside, struct {
			name, file string
			damage     func([]byte) []byte
		}{fmt.Sprintf("table flipped at %v", at), ".sst", flip(at)})
	}
	for name, c := range map[string]struct {
		dir   string
		cases []struct {
			name, file string
			damage     func([]byte) []byte
		}
	}{
		// Both are read in full: to Badger a block that it cannot read has no keys.
		"closed": {closed, append(slices.Clone(always), inside...)},
		"killed": {killed, append(slices.Clone(always), inside...)},
	} {
		for _, d := range c.cases {
			t.Run(name+"/"+d.name, func(t *testing.T) {
				t.Parallel()
				dir := crashed(t, c.dir)
				names, err := filepath.Glob(filepath.Join(dir, "*"+d.file))
				require.NoError(t, err)
				require.NotEmpty(t, names)
				file := names[len(names)/2]
				if d.damage == nil {
					require.NoError(t, os.Remove(file))
				} else {
					data, err := os.ReadFile(file)
					require.NoError(t, err)
					require.NoError(t, os.WriteFile(file, d.damage(data), 0o600))
				}
				e, err := openBadger(dir, NewBudget(64<<20), slog.New(slog.DiscardHandler))
				if err == nil && strings.Contains(d.name, "flipped at") {
					// A flip in a compressed block may leave what it decompresses to as it was.
					requireNumbered(t, e, 8000, 3)
					require.NoError(t, e.Close())
					return
				}
				var corrupt *CorruptError
				require.ErrorAs(t, err, &corrupt)
				require.NotEmpty(t, corrupt.Hint)
				require.Equal(t, dir, corrupt.Dir)
				require.ErrorContains(t, err, filepath.Base(file))
			})
		}
	}
}

// TestDamagedTableIsUnmappedOnce looks for the sign of a second time, which may hit what others have mapped there
// meanwhile: the file is closed twice.
func TestDamagedTableIsUnmappedOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	e := openTestBadger(t, dir)
	require.NoError(t, e.Flush(numbered(8000, 100, 1), Checkpoint{Epoch: 1}))
	require.NoError(t, e.Close())
	tables, err := filepath.Glob(filepath.Join(dir, "*.sst"))
	require.NoError(t, err)
	require.NotEmpty(t, tables)
	data, err := os.ReadFile(tables[0])
	require.NoError(t, err)
	data[100] ^= 1
	require.NoError(t, os.WriteFile(tables[0], data, 0o600))
	err = verifyTable(tables[0], options.None)
	require.ErrorContains(t, err, "checksum mismatch")
	require.NotErrorIs(t, err, os.ErrClosed)
}

// TestBadgerDamagedLog flips bits in Badger's logs: the newest may lose its end, with the checkpoint; an older one must
// be reported.
func TestBadgerDamagedLog(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	e := openTestBadger(t, dir)
	require.NoError(t, e.Flush(numbered(10, 100, 1), Checkpoint{Epoch: 1}))
	require.NoError(t, e.Flush(numbered(1000, 100, 2), Checkpoint{Epoch: 2}))
	killed := crashed(t, dir)
	logs, err := filepath.Glob(filepath.Join(killed, "*.mem"))
	require.NoError(t, err)
	require.Len(t, logs, 1)
	data, err := os.ReadFile(logs[0])
	require.NoError(t, err)
	data[60_000] ^= 1
	require.NoError(t, os.WriteFile(logs[0], data, 0o600))

	older := crashed(t, killed)
	require.NoError(t, os.WriteFile(filepath.Join(older, "00099.mem"), make([]byte, 100), 0o600))
	_, err = openBadger(older, NewBudget(64<<20), slog.New(slog.DiscardHandler))
	var corrupt *CorruptError
	require.ErrorAs(t, err, &corrupt)
	require.Equal(t, filepath.Base(logs[0]), corrupt.File)

	e2 := openTestBadger(t, killed)
	cp, found, err := e2.Checkpoint()
	require.NoError(t, err)
	require.True(t, found)
	require.Equal(t, record.Epoch(1), cp.Epoch, "what follows the damage is replayed from the changelog")
}

// TestLogsEndInZeros: behind the last entry of a log is nothing, to the end of the file.
func TestLogsEndInZeros(t *testing.T) {
	t.Parallel()
	data := make([]byte, 10_000)
	_, err := verifyLog(data)
	require.NoError(t, err)
	for _, at := range []int{4115, 4116, 5000, len(data) - 1} {
		data[at] = 7
		_, err := verifyLog(data)
		require.ErrorContains(t, err, fmt.Sprintf("garbage at offset %d", at))
		data[at] = 0
	}
}

// TestBadgerDiskGrowth overwrites the same keys again and again: the directory must stay near the live data.
func TestBadgerDiskGrowth(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	e, err := openBadger(dir, NewBudget(8<<20), slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	const keys, valueBytes = 100_000, 100
	var largest int64
	for epoch := uint64(1); epoch <= 10; epoch++ {
		require.NoError(t, e.Flush(numbered(keys, valueBytes, epoch), Checkpoint{Epoch: record.Epoch(epoch)}))
		largest = max(largest, dirBytes(t, dir))
	}
	require.NoError(t, e.Close())
	live := int64(keys * (valueBytes + 20))
	after := dirBytes(t, dir)
	t.Logf("live %d MB, largest %d MB, after close %d MB", live>>20, largest>>20, after>>20)
	require.Less(t, after, 3*live)
	require.Less(t, largest, 8*live, "compactions run behind; ten times would be all that was written")
	vlogs, err := filepath.Glob(filepath.Join(dir, "*.vlog"))
	require.NoError(t, err)
	require.LessOrEqual(t, len(vlogs), 2, "values are inline")
}

// TestBadgerLargeValues are inline up to Badger's limits, and readable beyond.
func TestBadgerLargeValues(t *testing.T) {
	t.Parallel()
	for _, size := range []int{1_000_000, 1_150_000, 3_000_000, 10_000_000} {
		e := openTestBadger(t, t.TempDir())
		require.NoError(t, e.Flush(numbered(2, size, 1), Checkpoint{Epoch: 1}))
		require.NoError(t, e.Flush(numbered(2, size, 2), Checkpoint{Epoch: 2}))
		require.NoError(t, e.Close())
		e = openTestBadger(t, e.dir)
		v, found, err := e.Get([]byte("\x00\x01key-0000001"), nil)
		require.NoError(t, err)
		require.True(t, found)
		require.Len(t, v, size)
		require.Equal(t, goldenTimes(3), binary.LittleEndian.Uint64(v))
	}
}

// BenchmarkBadgerOpen opens four closed databases of 60 MB each.
func BenchmarkBadgerOpen(b *testing.B) {
	var dirs []string
	budget := NewBudget(256 << 20)
	for range 4 {
		dir := b.TempDir()
		e, err := openBadger(dir, budget, slog.New(slog.DiscardHandler))
		require.NoError(b, err)
		require.NoError(b, e.Flush(numbered(500_000, 100, 1), Checkpoint{Epoch: 1}))
		require.NoError(b, e.Close())
		dirs = append(dirs, dir)
	}
	for b.Loop() {
		var engines []*badgerEngine
		for _, dir := range dirs {
			e, err := openBadger(dir, budget, slog.New(slog.DiscardHandler))
			require.NoError(b, err)
			engines = append(engines, e)
		}
		b.StopTimer()
		for _, e := range engines {
			require.NoError(b, e.Close())
		}
		b.StartTimer()
	}
}

// TestBadgerIngest stacks several ingests with overwrites and deletions, normal flushes between them, and crashes.
func TestBadgerIngest(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	e := openTestBadger(t, dir)
	model := map[string]string{}
	for round := uint64(1); round <= 9; round++ {
		var entries []Entry
		for i := range 3000 {
			k := (uint64(i)*7 + round*1000) % 9973
			at := Entry{Key: fmt.Appendf(nil, "\x00\x01key-%07d", k)}
			if goldenTimes(k+round)>>60 > 2 {
				at.Value = fmt.Appendf(nil, "value-%d-%d", k, round)
				model[string(at.Key)] = string(at.Value)
			} else {
				delete(model, string(at.Key))
			}
			entries = append(entries, at)
		}
		slices.SortFunc(entries, func(a, b Entry) int { return strings.Compare(string(a.Key), string(b.Key)) })
		entries = slices.CompactFunc(entries, func(a, b Entry) bool { return string(a.Key) == string(b.Key) })
		cp := Checkpoint{Epoch: 1, Changelog: map[string]int64{"s": int64(round)}} // restoring: the epoch stands still
		if round == 7 {
			require.NoError(t, e.Flush(slices.Values(entries), cp))
		} else {
			e.beginIngest()
			require.NoError(t, e.ingest(slices.Values(entries), cp))
		}
		at := e
		switch round {
		case 2, 8:
			at = openTestBadger(t, crashed(t, dir))
		case 5:
			require.NoError(t, e.Close()) // without having been opened since the ingest
			e = openTestBadger(t, dir)
			at = e
		case 1, 3:
			continue // leave it closed
		}
		got, found, err := at.Checkpoint()
		require.NoError(t, err)
		require.True(t, found)
		require.Equal(t, int64(round), got.Changelog["s"])
		n := 0
		for kv, err := range at.Scan([]byte{0, 1}, nil, false) {
			require.NoError(t, err)
			require.Equal(t, model[string(kv.Key)], string(kv.Value))
			n++
		}
		require.Len(t, model, n)
		for i := range 50 {
			k := fmt.Sprintf("\x00\x01key-%07d", i*199)
			v, found, err := at.Get([]byte(k), nil)
			require.NoError(t, err)
			want, ok := model[k]
			require.Equal(t, ok, found)
			require.Equal(t, want, string(v))
		}
	}
}

// compactForTest merges all levels into one.
func compactForTest(t *testing.T, e Engine) {
	t.Helper()
	b, ok := e.(*badgerEngine)
	require.True(t, ok)
	require.NoError(t, b.mu.db.Flatten(1))
}
