package integration

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark"
	"github.com/tidemarkio/tidemark/checkpointing"
	"github.com/tidemarkio/tidemark/checkpointing/storage/mem"
	"github.com/tidemarkio/tidemark/integration/broker"
	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/topology"
)

// words is a topology whose tasks with state are in a number of partitions of their own: totals by word and by word and
// minute, behind a repartition topic.
func words(in string, partitions int32) *topology.Builder {
	b := topology.NewBuilder()
	by := topology.SelectKey(topology.Stream(b, in, serde.String, serde.String),
		func(_, word string) string { return word }, serde.String).
		Repartition(topology.Named("by-word"), topology.Partitions(partitions))
	topology.Count(by.GroupByKey(), topology.As("totals"))
	topology.Count(topology.WindowedBy(by.GroupByKey(), topology.Tumbling(time.Minute).Grace(time.Hour)),
		topology.As("minutes"), topology.Retention(24*time.Hour))
	return b
}

// fed is what the application was fed with.
type fed struct {
	*scenario

	r      *rand.Rand
	first  time.Time
	totals map[string]int64
	minute map[string]int64 // by word and minute
}

func newFed(t *testing.T) *fed {
	return &fed{
		scenario: newScenario(t, broker.Start(t)), r: rand.New(rand.NewPCG(1, 2)), first: time.Now().Truncate(time.Minute),
		totals: make(map[string]int64), minute: make(map[string]int64),
	}
}

// feed sends n words, of the next few minutes.
func (f *fed) feed(n int) {
	records := make([]broker.Record, n)
	for i := range records {
		word := fmt.Sprintf("word-%d", f.r.IntN(300))
		at := f.first.Add(time.Duration(f.r.IntN(180)) * time.Second)
		records[i] = broker.Record{
			Partition: -1, Key: fmt.Appendf(nil, "line-%d", f.sent), Value: []byte(word), Timestamp: at,
		}
		f.totals[word]++
		f.minute[word+at.Truncate(time.Minute).String()]++
		f.sent++
	}
	f.cluster.Produce(f.t, f.in, records...)
}

// at is the configuration of an application of this name.
func (f *fed) at(name string, to *mem.Storage) tidemark.Config {
	cfg := f.config()
	cfg.ApplicationID, cfg.StateDir = name, filepath.Join(f.t.TempDir(), name)
	cfg.Checkpointing = checkpointing.Config{Storage: to, Retained: 100}
	return cfg
}

// check waits until an application has processed everything, and compares its state, as its changelogs have it, with
// what it was fed with. Every row is where its key belongs.
func (f *fed) check(name string, partitions int32) {
	f.t.Helper()
	f.cluster.AwaitCommitted(f.t, name, f.in, badPatience)
	f.cluster.AwaitCommitted(f.t, name, name+"-by-word-repartition", badPatience)
	f.cluster.AwaitDecided(f.t, name+"-totals-changelog")
	f.cluster.AwaitDecided(f.t, name+"-minutes-changelog")
	totals := make(map[string]int64)
	for _, r := range f.cluster.ReadCommitted(f.t, name+"-totals-changelog") {
		totals[string(r.Key)] = int64(binary.BigEndian.Uint64(r.Value))
		require.Equal(f.t, processor.DefaultPartition(r.Key, partitions), r.Partition, "%q", r.Key)
	}
	require.Equal(f.t, f.totals, totals)
	const tag, timeBytes = 1, 8
	minutes := make(map[string]int64)
	for _, r := range f.cluster.ReadCommitted(f.t, name+"-minutes-changelog") {
		if len(r.Key) < tag+timeBytes || len(r.Key) < len("xword-1")+timeBytes {
			continue // a clock
		}
		word := r.Key[tag+timeBytes:]
		start := time.UnixMilli(int64(binary.BigEndian.Uint64(r.Key[tag:])))
		require.Equal(f.t, processor.DefaultPartition(word, partitions), r.Partition, "%q", word)
		minutes[string(word)+start.String()] = int64(binary.BigEndian.Uint64(r.Value))
	}
	require.Equal(f.t, f.minute, minutes)
}

// TestRescale stops an application with a savepoint under load and goes on with seven partitions instead of four, then
// with three, each time as another application, and at last as the same one.
func TestRescale(t *testing.T) {
	f := newFed(t)
	to := mem.New()
	name, partitions := f.app, int32(4)
	a := f.run(words(f.in, partitions), f.at(name, to))
	a.awaitRunning()
	f.feed(4000)
	for i, next := range []int32{7, 3, 5} {
		f.feed(3000) // being processed while the savepoint is made
		made, err := a.app.StopWithSavepoint(t.Context(), tidemark.SavepointOptions{})
		require.NoError(t, err)
		<-a.done
		require.NoError(t, a.err)
		f.feed(500)
		options := tidemark.StartOptions{}
		if i < 2 {
			name = fmt.Sprintf("%s-%d", f.app, next)
		} else {
			_, err = tidemark.StartFrom(t.Context(), words(f.in, next), f.at(name, to), made.Location, options)
			require.ErrorContains(t, err, "has state already")
			options.Replace = true
		}
		report, err := tidemark.StartFrom(t.Context(), words(f.in, next), f.at(name, to), made.Location, options)
		require.NoError(t, err)
		require.Positive(t, report.Rows["totals"])
		require.Positive(t, report.Rows["minutes"])
		a = f.run(words(f.in, next), f.at(name, to))
		a.awaitRunning()
		f.feed(1000)
		f.check(name, next)
	}
	a.close()
}

// TestCloneFromCheckpoints clones a running application from each of its unaligned checkpoints, with records in flight
// and other numbers of partitions: time travel. All clones end where the application does.
func TestCloneFromCheckpoints(t *testing.T) {
	f := newFed(t)
	to := mem.New()
	cfg := f.at(f.app, to)
	cfg.Checkpointing.Unaligned, cfg.Checkpointing.Interval = true, 50*time.Millisecond
	cfg.Workers = 4 // each with transactions, and so with barriers, of its own
	a := f.run(words(f.in, 4), cfg)
	a.awaitRunning()
	for range 20 {
		f.feed(1000)
	}
	a.awaitCheckpoints(1)
	f.check(f.app, 4)
	stored, err := checkpointing.ScanStored(t.Context(), f.app, to, nil)
	require.NoError(t, err)
	inFlight, clones := int64(0), 0
	for _, id := range f.worthCloning(to, stored.Checkpoints) {
		partitions := []int32{4, 7, 3}[clones%3]
		name := fmt.Sprintf("%s-clone-%d", f.app, id)
		report, err := tidemark.StartFrom(t.Context(), words(f.in, partitions), f.at(name, to),
			checkpointing.CheckpointFolder(f.app, id), tidemark.StartOptions{})
		require.NoError(t, err)
		inFlight += report.InFlight
		clone := f.run(words(f.in, partitions), f.at(name, to))
		clone.awaitRunning()
		f.check(name, partitions)
		clone.close()
		clones++
	}
	t.Logf("%d of %d checkpoints cloned, with %d records in flight", clones, len(stored.Checkpoints), inFlight)
	require.Positive(t, clones)
	a.close()
}

// worthCloning picks a few checkpoints, those first with records in flight.
func (f *fed) worthCloning(to *mem.Storage, ids []int64) []int64 {
	f.t.Helper()
	const few = 6
	var moving, still []int64
	for _, id := range ids {
		m, err := checkpointing.Load(f.t.Context(), to, checkpointing.CheckpointFolder(f.app, id))
		require.NoError(f.t, err)
		at := &still
		for _, task := range m.Tasks {
			for _, r := range task.InFlight {
				if r.Start < r.End {
					at = &moving
				}
			}
		}
		*at = append(*at, id)
	}
	all := slices.Concat(moving, still)
	return all[:min(few, len(all))]
}

// TestStartFromRefusals are starts that would lose something.
func TestStartFromRefusals(t *testing.T) {
	f := newFed(t)
	to := mem.New()
	a := f.run(words(f.in, 2), f.at(f.app, to))
	a.awaitRunning()
	f.feed(200)
	f.check(f.app, 2)
	made, err := a.app.Savepoint(t.Context(), tidemark.SavepointOptions{})
	require.NoError(t, err)
	start := func(b *topology.Builder, name string, o tidemark.StartOptions) error {
		_, err := tidemark.StartFrom(t.Context(), b, f.at(name, to), made.Location, o)
		return err
	}
	require.ErrorContains(t, start(words(f.in, 2), f.app, tidemark.StartOptions{Replace: true}), "has 1 members")
	renamed := func() *topology.Builder {
		b := topology.NewBuilder()
		topology.Count(topology.SelectKey(topology.Stream(b, f.in, serde.String, serde.String),
			func(_, word string) string { return word }, serde.String).
			Repartition(topology.Named("by-word"), topology.Partitions(2)).GroupByKey(), topology.As("counts"))
		return b
	}
	require.ErrorContains(t, start(renamed(), f.app+"-b", tidemark.StartOptions{}), `store "totals" has no place`)
	require.ErrorContains(t, start(renamed(), f.app+"-b", tidemark.StartOptions{
		StoreNames: map[string]string{"totals": "counts"},
	}), `store "minutes" has no place`)
	require.ErrorContains(t, start(renamed(), f.app+"-b", tidemark.StartOptions{
		StoreNames: map[string]string{"minutes": "counts"}, AllowNonRestoredState: true,
	}), "is a window store")
	require.NoError(t, start(renamed(), f.app+"-b", tidemark.StartOptions{
		StoreNames: map[string]string{"totals": "counts"}, AllowNonRestoredState: true,
	}))
	a.close()
	require.ErrorContains(t, start(words(f.in, 2), f.app+"-c", tidemark.StartOptions{
		Migrate: map[string]tidemark.Migration{"totals": func([]byte, []byte) ([]byte, []byte, error) {
			return nil, nil, errors.New("a row of another kind")
		}},
	}), "a row of another kind")
	counts := make(map[string]bool)
	for _, r := range f.cluster.ReadCommitted(t, f.app+"-c-totals-changelog") {
		counts[string(r.Key)] = true
	}
	require.Empty(t, counts, "nothing is written if a migration fails")
}
