package store_test

import (
	"bytes"
	"fmt"
	"iter"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/store"
)

// zoo is a set with a store of each kind, on disk or in memory, and what they looked like at the last commit.
type zoo struct {
	*bench

	rng     *rand.Rand
	now     int64
	animals []animal
	image   []string // of the committed state
	imageAt int64
}

// animal is a kind of store: how to change it at random, and all that can be read of it.
type animal struct {
	spec  store.Spec
	write func(z *zoo) error
	show  func(t *testing.T, b *bench, now int64) []string
}

func newZoo(t *testing.T, seed uint64) *zoo {
	t.Helper()
	z := &zoo{rng: rand.New(rand.NewPCG(seed, 5)), now: 1_000_000}
	z.animals = zooAnimals()
	for i := range z.animals {
		z.animals[i].spec.InMemory = z.rng.IntN(3) == 0
	}
	z.bench = newBench(t, z.specs()...)
	z.advance(z.now)
	z.image = z.show(z.bench)
	return z
}

func (z *zoo) specs() []store.Spec {
	specs := make([]store.Spec, len(z.animals))
	for i, a := range z.animals {
		specs[i] = a.spec
	}
	return specs
}

// show returns all that can be read. What is not committed is dropped on the way.
func (z *zoo) show(b *bench) (all []string) {
	b.times.Stream, b.times.Wall = z.now, z.now
	for _, a := range z.animals {
		for _, row := range a.show(z.t, b, z.now) {
			all = append(all, a.spec.Name+" "+row)
		}
	}
	b.rollback() // showing a buffer takes it apart
	return all
}

func (z *zoo) key() string {
	keys := []string{"", "a", "ab", "a\x00", "b", "a\x00\x00\x00\x00\x00\x01\x86\xa0", "longer than sixteen bytes"}
	return keys[z.rng.IntN(len(keys))]
}

// when draws a time near now, mostly before it.
func (z *zoo) when() int64 { return max(0, z.now-z.rng.Int64N(400_000)) }

func (z *zoo) value() string {
	z.context.Timestamp = z.when()
	return strconv.Itoa(z.rng.IntN(1000))
}

// write changes some stores.
func (z *zoo) write(changes int) {
	z.t.Helper()
	for range changes {
		if z.rng.IntN(8) == 0 {
			z.now += z.rng.Int64N(60_000)
			if z.rng.IntN(10) == 0 {
				z.now += 1_000_000 // everything expires
			}
			z.advance(z.now)
		}
		require.NoError(z.t, z.animals[z.rng.IntN(len(z.animals))].write(z))
	}
}

func drain[E any](t *testing.T, all iter.Seq2[E, error], row func(e E) string) (rows []string) {
	t.Helper()
	for e, err := range all {
		require.NoError(t, err)
		rows = append(rows, row(e))
	}
	return rows
}

func shown(e any) string { return fmt.Sprintf("%+v", e) }

func zooAnimals() []animal {
	all := []animal{keyValueAnimal("kv", store.TTL{}), keyValueAnimal("ttl", store.TTL{After: 50 * time.Second})}
	for name, c := range map[string]store.WindowConfig{
		"grid": {Grid: 10 * time.Second}, "segments": {}, "indexed": {TimeIndex: true},
		"duplicates": {RetainDuplicates: true},
	} {
		c.Retention = 5 * time.Minute
		all = append(all, windowAnimal(name, c))
	}
	all = append(all, sessionAnimal(), versionedAnimal(), unjoinedAnimal(), timeBufferAnimal(), timersAnimal(),
		timeOrderedAnimal("placed", false), timeOrderedAnimal("keyed", true))
	slices.SortFunc(all, func(a, b animal) int { return bytes.Compare([]byte(a.spec.Name), []byte(b.spec.Name)) })
	return all
}

func keyValueAnimal(name string, ttl store.TTL) animal {
	spec := store.KeyValueSpec(name, serde.String, serde.String)
	spec.TTL = ttl
	return animal{
		spec: spec,
		write: func(z *zoo) error {
			s := kv[string, string](z.t, z.bench, name)
			if z.rng.IntN(4) == 0 {
				return s.Delete(z.key())
			}
			return s.Put(z.key(), z.value())
		},
		show: func(t *testing.T, b *bench, _ int64) []string {
			t.Helper()
			return drain(t, kv[string, string](t, b, name).All(),
				func(e store.KeyValueEntry[string, string]) string { return shown(e) })
		},
	}
}

func windowAnimal(name string, c store.WindowConfig) animal {
	type window = store.Window[string, string]
	return animal{
		spec: store.WindowSpec(name, serde.String, serde.String, c),
		write: func(z *zoo) error {
			s, at := ofStore[*window](z.t, z.bench, name), z.when()
			if grid := c.Grid.Milliseconds(); grid > 0 {
				at = at / grid * grid
			}
			if z.rng.IntN(4) == 0 {
				return s.Delete(z.key(), at)
			}
			return s.Put(z.key(), z.value(), at)
		},
		show: func(t *testing.T, b *bench, _ int64) []string {
			t.Helper()
			s := ofStore[*window](t, b, name)
			row := func(e store.WindowEntry[string, string]) string { return shown(e) }
			rows := append(drain(t, s.All(), row), fmt.Sprint("observed ", s.ObservedTime()))
			if c.TimeIndex {
				rows = append(rows, drain(t, s.FetchByStart(0, 1<<60), row)...)
			}
			return rows
		},
	}
}

func sessionAnimal() animal {
	type session = store.Session[string, string]
	return animal{
		spec: store.SessionSpec("sessions", serde.String, serde.String,
			store.SessionConfig{Retention: 5 * time.Minute, TimeIndex: true}),
		write: func(z *zoo) error {
			s, w := ofStore[*session](z.t, z.bench, "sessions"), record.Window{End: z.when()}
			w.Start = max(0, w.End-1000*z.rng.Int64N(3))
			if z.rng.IntN(4) == 0 {
				return s.Remove(z.key(), w)
			}
			return s.Put(z.key(), w, z.value())
		},
		show: func(t *testing.T, b *bench, _ int64) []string {
			t.Helper()
			s := ofStore[*session](t, b, "sessions")
			row := func(e store.SessionEntry[string, string]) string { return shown(e) }
			return slices.Concat(drain(t, s.All(), row), drain(t, s.FetchByEnd(0, 1<<60), row),
				[]string{fmt.Sprint("observed ", s.ObservedTime())})
		},
	}
}

func versionedAnimal() animal {
	type versionedStore = store.Versioned[string, string]
	return animal{
		spec: store.VersionedSpec("versions", serde.String, serde.String, 5*time.Minute),
		write: func(z *zoo) (err error) {
			s, at := ofStore[*versionedStore](z.t, z.bench, "versions"), z.when()/50_000*50_000
			if z.rng.IntN(4) == 0 {
				_, err = s.Delete(z.key(), at)
			} else {
				_, err = s.Put(z.key(), z.value(), at)
			}
			return err
		},
		show: func(t *testing.T, b *bench, now int64) []string {
			t.Helper()
			s := ofStore[*versionedStore](t, b, "versions")
			rows := drain(t, s.All(), func(e store.KeyValueEntry[string, string]) string { return shown(e) })
			for _, key := range []string{"", "a", "ab", "a\x00", "b"} {
				for at := now / 50_000 * 50_000; at > now-600_000; at -= 25_000 {
					v, found, err := s.GetAsOf(key, at)
					require.NoError(t, err)
					rows = append(rows, fmt.Sprintf("%q at %d: %+v %t", key, at, v, found))
				}
			}
			return append(rows, fmt.Sprint("observed ", s.ObservedTime()))
		},
	}
}

func unjoinedAnimal() animal {
	type unjoined = store.Unjoined[string, string, string]
	return animal{
		spec: store.UnjoinedSpec("unjoined", serde.String, serde.String, serde.String),
		write: func(z *zoo) error {
			s, at := ofStore[*unjoined](z.t, z.bench, "unjoined"), z.when()/10_000
			c, err := s.Clock("observed")
			if err != nil {
				return err
			}
			c.Advance(at)
			switch z.rng.IntN(4) {
			case 0:
				return s.Remove(z.key(), at, store.LeftSide)
			case 1:
				return s.PutLeft(z.key(), at, z.value())
			}
			return s.PutRight(z.key(), at, z.value())
		},
		show: func(t *testing.T, b *bench, _ int64) []string {
			t.Helper()
			s := ofStore[*unjoined](t, b, "unjoined")
			c, err := s.Clock("observed")
			require.NoError(t, err)
			return append(drain(t, s.All(), func(e store.UnjoinedEntry[string, string, string]) string {
				row := []string{fmt.Sprint(e.Key, e.Time, e.Side)}
				for i := range e.Len() {
					left, right := e.Value(i)
					row = append(row, left+","+right)
				}
				return strings.Join(row, " ")
			}), fmt.Sprint("observed ", c.Now()))
		},
	}
}

func timeBufferAnimal() animal {
	return animal{
		spec: timeBufferSpec(),
		write: func(z *zoo) error {
			s := timeBuffer(z.t, z.bench)
			if z.rng.IntN(10) == 0 {
				for _, err := range s.Take(z.when()) {
					require.NoError(z.t, err)
					break
				}
			}
			return s.Put(waiting{
				Key: z.key(), Value: []byte(z.value()), Timestamp: z.when(),
				Headers: []record.Header{{Key: "h", Value: []byte("v")}},
			})
		},
		show: func(t *testing.T, b *bench, _ int64) []string {
			t.Helper()
			s := timeBuffer(t, b)
			return append(drain(t, s.All(), func(r waiting) string { return shown(r) }),
				fmt.Sprint("observed ", s.ObservedTime()))
		},
	}
}

func timersAnimal() animal {
	type timers = store.Timers[string]
	return animal{
		spec: store.TimerSpec("timers", serde.String),
		write: func(z *zoo) error {
			s := ofStore[*timers](z.t, z.bench, "timers")
			at := timer{Key: z.key(), At: z.when() / 50_000, Name: []string{"", "name"}[z.rng.IntN(2)]}
			if z.rng.IntN(3) == 0 {
				return s.Delete(at)
			}
			return s.Put(at)
		},
		show: func(t *testing.T, b *bench, _ int64) []string {
			t.Helper()
			return drain(t, ofStore[*timers](t, b, "timers").From(store.EventTimer, 0),
				func(e timer) string { return shown(e) })
		},
	}
}

func timeOrderedAnimal(name string, fromKey bool) animal {
	return animal{
		spec: store.TimeOrderedSpec(name, serde.String, serde.String,
			store.TimeOrderedConfig{TimeFromKey: fromKey, CountBytes: true}),
		write: func(z *zoo) error {
			s, k, at := ofStore[*textBuffer](z.t, z.bench, name), z.key(), z.when()
			if fromKey {
				at = int64(len(k))
			}
			if z.rng.IntN(5) == 0 {
				evict(z.t, s, 1<<60, 2)
			}
			return s.Put(k, at, z.value(), at)
		},
		show: func(t *testing.T, b *bench, _ int64) []string {
			t.Helper()
			s := ofStore[*textBuffer](t, b, name)
			rows := []string{fmt.Sprint(s.Len(), " entries of bytes ", s.Bytes())}
			return append(rows, evict(t, s, 1<<60, 1<<30)...)
		},
	}
}

func cloned(t *testing.T, all iter.Seq2[store.Entry, error]) (entries []store.Entry) {
	t.Helper()
	for at, err := range all {
		require.NoError(t, err)
		entries = append(entries, store.Entry{Key: bytes.Clone(at.Key), Value: bytes.Clone(at.Value)})
	}
	return entries
}

func sequence(entries []store.Entry) iter.Seq2[store.Entry, error] {
	return func(yield func(store.Entry, error) bool) {
		for _, at := range entries {
			if !yield(at, nil) {
				return
			}
		}
	}
}

// throughFile writes entries to a file and reads them again.
func throughFile(t *testing.T, entries []store.Entry) []store.Entry {
	t.Helper()
	var file bytes.Buffer
	n, err := store.WriteEntries(&file, sequence(entries))
	require.NoError(t, err)
	require.Equal(t, int64(len(entries)), n)
	return cloned(t, store.ReadEntries(&file))
}

// taken is a snapshot and what the stores looked like when it was made.
type takenSnapshot struct {
	*store.Snapshot

	image []string
	now   int64
}

// On each snapshot, also on one that is read when the set has long gone on: its full content, the base and all changes
// since, and what Install and the changelog's records make of it are the state at its commit.
func TestSnapshotModel(t *testing.T) {
	t.Parallel()
	for seed := range uint64(6) {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			t.Parallel()
			z := newZoo(t, seed)
			var waiting []takenSnapshot
			var base uint64
			var content []store.Entry // of the base
			for round := range 40 {
				z.write(30)
				if z.rng.IntN(5) == 0 {
					z.rollback()
				}
				z.commit()
				z.image, z.imageAt = z.show(z.bench), z.now
				switch z.rng.IntN(3) {
				case 0:
					require.NoError(t, z.Flush(t.Context()))
				case 1:
					z.HoldFlushes(z.rng.IntN(2) == 0)
				}
				if z.rng.IntN(2) == 0 { // the next epochs are under way when the snapshot is taken
					z.write(10)
					z.seal()
					z.write(10)
				}
				snap, err := z.Snapshot()
				require.NoError(t, err)
				require.GreaterOrEqual(t, snap.Version(), base)
				waiting = append(waiting, takenSnapshot{snap, z.image, z.imageAt})
				z.rollback()
				for len(waiting) > 0 && z.rng.IntN(3) > 0 {
					s := waiting[0]
					waiting = waiting[1:]
					full := cloned(t, s.Full(t.Context()))
					if content != nil {
						changes, ok := s.Since(base)
						require.True(t, ok, "round %d", round)
						merged := store.MergeFull(sequence(throughFile(t, cloned(t, changes))), sequence(content))
						require.Equal(t, full, cloned(t, merged), "round %d", round)
					}
					switch z.rng.IntN(6) { // opening databases is what takes the time
					case 0:
						z.installed(s, throughFile(t, full))
					case 1:
						z.replayed(s, full)
					}
					base, content = s.Version(), full
					s.Release()
					s.Release()
					z.ForgetChanges(base)
				}
			}
			require.NoError(t, z.Close(true))
			for _, s := range waiting {
				s.Release()
			}
			require.NoDirExists(t, filepath.Join(z.dir, "changes"))
		})
	}
}

// installed compares a snapshot with the set that Install makes of it. What was in memory comes from the changelog.
func (z *zoo) installed(s takenSnapshot, full []store.Entry) {
	z.t.Helper()
	dir := filepath.Join(z.t.TempDir(), "task")
	require.NoError(z.t, store.Install(z.t.Context(), dir, sequence(full), s.Checkpoint(), nil, nil))
	other := &bench{t: z.t, budget: z.budget, dir: dir}
	other.reopen(z.specs()...)
	cp, found := other.Checkpoint()
	require.True(z.t, found)
	require.Equal(z.t, s.Checkpoint().Epoch, cp.Epoch)
	for _, a := range z.animals {
		_, has := cp.Changelog[a.spec.Name]
		_, had := s.Checkpoint().Changelog[a.spec.Name]
		require.Equal(z.t, had && !a.spec.InMemory, has, a.spec.Name)
		if a.spec.InMemory {
			replayInto(z.t, other, a.spec.Name, other.ChangelogRecords(a.spec.Name, sequence(full)))
		}
	}
	require.NoError(z.t, other.Replayed(s.Checkpoint()))
	z.compare(other, s, "installed")
}

// replayed compares a snapshot with an empty set that replays its records.
func (z *zoo) replayed(s takenSnapshot, full []store.Entry) {
	z.t.Helper()
	other := newBench(z.t, z.specs()...)
	for _, a := range z.animals {
		replayInto(z.t, other, a.spec.Name, other.ChangelogRecords(a.spec.Name, sequence(full)))
	}
	require.NoError(z.t, other.Replayed(s.Checkpoint()))
	z.compare(other, s, "replayed")
}

func (z *zoo) compare(other *bench, s takenSnapshot, what string) {
	z.t.Helper()
	now := z.now
	z.now = s.now
	got := z.show(other)
	z.now = now
	for i := range min(len(got), len(s.image)) {
		require.Equal(z.t, s.image[i], got[i], what)
	}
	require.Len(z.t, got, len(s.image), what)
	require.NoError(z.t, other.Close(true))
}

func replayInto(t *testing.T, b *bench, name string, records iter.Seq2[record.Raw, error]) {
	t.Helper()
	for r, err := range records {
		require.NoError(t, err)
		require.NoError(t, b.Replay(name, []record.Raw{r}))
	}
}
