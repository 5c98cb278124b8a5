package integration

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark"
	"github.com/tidemarkio/tidemark/checkpointing"
	"github.com/tidemarkio/tidemark/checkpointing/storage/mem"
	"github.com/tidemarkio/tidemark/integration/broker"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/topology"
)

// rescaled is an application that is stopped with savepoints and goes on with other numbers of partitions.
type rescaled struct {
	*scenario

	storage *mem.Storage
	name    string
	running *app
}

func newRescaled(t *testing.T) *rescaled {
	s := newScenario(t, broker.Start(t))
	return &rescaled{scenario: s, storage: mem.New(), name: s.app}
}

func (r *rescaled) configOf(name string) tidemark.Config {
	cfg := r.config()
	cfg.ApplicationID, cfg.StateDir = name, filepath.Join(r.t.TempDir(), name)
	cfg.Checkpointing = checkpointing.Config{Storage: r.storage}
	return cfg
}

// up runs the application, with an empty state directory.
func (r *rescaled) up(b *topology.Builder) {
	r.t.Helper()
	r.running = r.run(b, r.configOf(r.name))
	r.running.awaitRunning()
}

// move stops the application with a savepoint and starts another one from it.
func (r *rescaled) move(name string, b func() *topology.Builder) tidemark.StartReport {
	r.t.Helper()
	made, err := r.running.app.StopWithSavepoint(r.t.Context(), tidemark.SavepointOptions{})
	require.NoError(r.t, err)
	<-r.running.done
	require.NoError(r.t, r.running.err)
	r.name = name
	report, err := tidemark.StartFrom(r.t.Context(), b(), r.configOf(name), made.Location, tidemark.StartOptions{})
	require.NoError(r.t, err)
	r.up(b())
	return report
}

// settle waits until everything is processed, from topic to topic downstream.
func (r *rescaled) settle(topics ...string) {
	r.t.Helper()
	for _, topic := range topics {
		if internal, ok := strings.CutPrefix(topic, "+"); ok {
			topic = r.name + "-" + internal
		}
		r.cluster.AwaitCommitted(r.t, r.name, topic, badPatience)
	}
}

// finals counts words by minute and by session: final results by EmitOnClose and by Suppress, and a table whose keys
// have windows in them.
func finals(in, out string, partitions int32) *topology.Builder {
	b := topology.NewBuilder()
	words := topology.SelectKey(topology.Stream(b, in, serde.String, serde.String),
		func(_, word string) string { return word }, serde.String).
		Repartition(topology.Named("by-word"), topology.Partitions(partitions)).GroupByKey()
	minutes := topology.Tumbling(time.Minute).Grace(time.Minute)
	topology.Count(topology.WindowedBy(words, minutes).EmitOnClose(), topology.As("closing"),
		topology.Retention(24*time.Hour)).ToStream().To(out + "-closing")
	topology.Count(topology.SessionWindowedBy(words, topology.Session(15*time.Second)).EmitOnClose(),
		topology.As("sessions"), topology.Retention(24*time.Hour)).ToStream().To(out + "-sessions")
	topology.Count(topology.WindowedBy(words, topology.Sliding(10*time.Second)).EmitOnClose(), topology.As("sliding"),
		topology.Retention(24*time.Hour)).ToStream().To(out + "-sliding")
	counts := topology.Count(topology.WindowedBy(words, minutes), topology.As("minutes"))
	topology.MapTableValues(counts, func(n int64) int64 { return 10 * n }, serde.Int64, topology.As("tenfold"))
	topology.Suppress(counts, topology.UntilWindowCloses(), topology.As("waiting")).ToStream().To(out + "-waiting")
	return b
}

// said is a word at a time.
type said struct {
	word string
	at   time.Time
}

// say sends words in the order of their times, by one input partition, which keeps the order.
func (r *rescaled) say(all []said) {
	r.t.Helper()
	slices.SortStableFunc(all, func(a, b said) int { return a.at.Compare(b.at) })
	records := make([]broker.Record, len(all))
	for i, s := range all {
		records[i] = broker.Record{Key: []byte("line"), Value: []byte(s.word), Timestamp: s.at}
	}
	r.cluster.Produce(r.t, r.in, records...)
}

// TestRescaleFinalWindows: the tasks have come to different times when their number changes, so that some have emitted
// windows that others have not. Each window is emitted once all the same, and what was late stays late.
func TestRescaleFinalWindows(t *testing.T) {
	r := newRescaled(t)
	for _, suffix := range []string{"-closing", "-sessions", "-sliding", "-waiting"} {
		r.cluster.CreateTopic(t, r.out+suffix, 2, nil)
	}
	topologyOf := func(partitions int32) func() *topology.Builder {
		return func() *topology.Builder { return finals(r.in, r.out, partitions) }
	}
	// A full minute, of today: what is older than a store remembers, a broker deletes from its changelog.
	const end = 20 * 60
	base := time.Now().Truncate(time.Minute).Add(-end * time.Minute)
	reached := make(map[string]int) // minutes, by word
	for i := range 40 {
		reached[fmt.Sprintf("word-%d", i)] = 0
	}
	// until lets each word be said twice in each minute up to one.
	until := func(minute func(word string) int) (all []said) {
		for word, from := range reached {
			to := max(from, minute(word))
			for m := from; m < to; m++ {
				at := base.Add(time.Duration(m) * time.Minute)
				all = append(all, said{word, at.Add(10 * time.Second)}, said{word, at.Add(20 * time.Second)})
			}
			reached[word] = to
		}
		return all
	}
	// late are the words of a task of before, in a minute that has closed there and nowhere else. It is not later than
	// what all tasks have reached, so that it moves no time.
	late := func(partitions, partition int32, minute int) (all []said) {
		for word := range reached {
			if record.PartitionOf([]byte(word), partitions) == partition {
				all = append(all, said{word, base.Add(time.Duration(minute)*time.Minute + 15*time.Second)})
			}
		}
		return all
	}
	in := func(partitions int32) func(word string) int {
		return func(word string) int { return int(record.PartitionOf([]byte(word), partitions)) }
	}
	r.up(topologyOf(4)())
	in4, in7 := in(4), in(7)
	r.say(until(func(word string) int { return 5 + 5*in4(word) }))
	r.settle(r.in, "+by-word-repartition")

	r.move(r.app+"-7", topologyOf(7))
	r.say(slices.Concat(late(4, 1, 4), late(4, 2, 4), late(4, 3, 4)))
	r.settle(r.in, "+by-word-repartition")
	r.say(until(func(word string) int { return 12 + in7(word) }))
	r.settle(r.in, "+by-word-repartition")
	r.running.close()
	r.up(topologyOf(7)()) // what is remembered is in the changelogs
	r.say(late(4, 3, 11))
	r.say(until(func(word string) int { return 14 + 4*in7(word) }))
	r.settle(r.in, "+by-word-repartition")

	r.move(r.app+"-3", topologyOf(3))
	r.say(slices.Concat(late(7, 6, 13), late(4, 3, 13)))
	r.say(until(func(string) int { return 45 }))
	r.settle(r.in, "+by-word-repartition")
	require.Positive(t, r.checkTenfold(3, base))
	var last []said
	for i := range 40 { // some in each partition
		last = append(last, said{fmt.Sprintf("end-%d", i), base.Add(end * time.Minute)})
	}
	r.say(last)
	r.settle(r.in, "+by-word-repartition")
	r.running.close()
	for suffix, want := range map[string]int{"-closing": 1, "-sessions": 1, "-waiting": 1, "-sliding": 3} {
		r.checkOnce(r.out+suffix, 40*45*want)
	}
}

// checkOnce checks that each key of a topic came once.
func (r *rescaled) checkOnce(topic string, want int) {
	r.t.Helper()
	seen := make(map[string]int64)
	r.cluster.AwaitDecided(r.t, topic)
	for _, rec := range r.cluster.ReadCommitted(r.t, topic) {
		if strings.HasPrefix(string(rec.Key), "end-") {
			continue
		}
		_, twice := seen[string(rec.Key)]
		require.False(r.t, twice, "%s: %q came twice", topic, rec.Key)
		require.NotNil(r.t, rec.Value)
		n := int64(binary.BigEndian.Uint64(rec.Value))
		seen[string(rec.Key)] = n
		if !strings.HasSuffix(topic, "-sliding") {
			require.Equal(r.t, int64(2), n, "%s: %q", topic, rec.Key)
		}
	}
	if len(seen) != want { // which minutes of which words are missing
		minutes := make(map[string][]int64)
		for key := range seen {
			word := key[:strings.IndexByte(key, 0)]
			minutes[word] = append(minutes[word], int64(binary.BigEndian.Uint64([]byte(key[len(key)-8:])))/60_000%1000)
		}
		for word, all := range minutes {
			slices.Sort(all)
			r.t.Log(word, record.PartitionOf([]byte(word), 4), record.PartitionOf([]byte(word), 7),
				record.PartitionOf([]byte(word), 3), len(all), all)
		}
	}
	require.Equal(r.t, want, len(seen), topic) //nolint:testifylint // Len would print them all
}

// checkTenfold checks that the rows of the table whose keys have windows are where the words belong.
func (r *rescaled) checkTenfold(partitions int32, base time.Time) (rows int) {
	r.t.Helper()
	last := make(map[string]int64)
	r.cluster.AwaitDecided(r.t, r.name+"-tenfold-changelog")
	for _, rec := range r.cluster.ReadCommitted(r.t, r.name+"-tenfold-changelog") {
		const timeBytes = 8
		word := rec.Key[:len(rec.Key)-timeBytes]
		require.Equal(r.t, record.PartitionOf(word, partitions), rec.Partition, "%q", word)
		start := int64(binary.BigEndian.Uint64(rec.Key[len(word):]))
		require.GreaterOrEqual(r.t, start, base.UnixMilli())
		last[string(rec.Key)] = int64(binary.BigEndian.Uint64(rec.Value))
	}
	for key, n := range last {
		require.Equal(r.t, int64(20), n, "%q", key)
	}
	return len(last)
}

// orders joins orders with products by foreign key, behind repartition topics of so many partitions.
func orders(in, products, out string, left, right int32) *topology.Builder {
	b := topology.NewBuilder()
	table := func(topic, name string, partitions int32) *topology.KTable[string, string] {
		return topology.Stream(b, topic, serde.String, serde.String).
			Repartition(topology.Named(name), topology.Partitions(partitions)).ToTable(topology.As(name))
	}
	topology.LeftForeignKeyJoin(table(in, "orders", left), table(products, "products", right),
		func(order string) string { product, _, _ := strings.Cut(order, ":"); return product },
		func(order string, product topology.Optional[string]) string { return order + "+" + product.Or("none") },
		serde.String, topology.Named("join"), topology.As("joined")).ToStream().To(out)
	return b
}

// TestRescaleForeignKeyJoin: subscriptions, and messages between the two sides, name partitions of the left table.
func TestRescaleForeignKeyJoin(t *testing.T) {
	r := newRescaled(t)
	products := broker.Name(t, "products")
	r.cluster.CreateTopic(t, products, 4, nil)
	topologyOf := func(left, right int32) func() *topology.Builder {
		return func() *topology.Builder { return orders(r.in, products, r.out, left, right) }
	}
	rng := rand.New(rand.NewPCG(3, 4))
	now := make(map[string]string)
	product := make(map[string]string)
	write := func(n int) {
		var left, right []broker.Record
		for range n {
			r.sent++
			id := fmt.Sprintf("order-%d", rng.IntN(200))
			row := fmt.Sprintf("p%d:%d", rng.IntN(30), r.sent)
			now[id] = row
			left = append(left, broker.Record{Partition: -1, Key: []byte(id), Value: []byte(row)})
			if r.sent%5 == 0 {
				id, name := fmt.Sprintf("p%d", rng.IntN(30)), fmt.Sprintf("name-%d", r.sent)
				product[id] = name
				right = append(right, broker.Record{Partition: -1, Key: []byte(id), Value: []byte(name)})
			}
		}
		r.cluster.Produce(t, r.in, left...)
		r.cluster.Produce(t, products, right...)
	}
	check := func(left int32) {
		r.settle(r.in, products, "+orders-repartition", "+products-repartition",
			"+join-subscription-registration-topic", "+join-subscription-response-topic")
		want := make(map[string]string)
		for id, row := range now {
			of, _, _ := strings.Cut(row, ":")
			want[id] = row + "+" + cmp.Or(product[of], "none")
		}
		got := make(map[string]string)
		r.cluster.AwaitDecided(t, r.name+"-joined-changelog")
		for _, rec := range r.cluster.ReadCommitted(t, r.name+"-joined-changelog") {
			got[string(rec.Key)] = string(rec.Value)
			require.Equal(t, record.PartitionOf(rec.Key, left), rec.Partition)
		}
		require.Equal(t, want, got)
	}
	r.up(topologyOf(4, 4)())
	write(500)
	check(4)
	inFlight := int64(0)
	for i, counts := range [][2]int32{{7, 5}, {3, 5}, {3, 2}} {
		write(2000) // being processed while the savepoint is made
		report := r.move(fmt.Sprintf("%s-%d", r.app, i), topologyOf(counts[0], counts[1]))
		require.Positive(t, report.Rows["join-subscription-store"])
		inFlight += report.InFlight
		write(300)
		check(counts[0])
	}
	t.Logf("%d records were in flight", inFlight)
	r.running.close()
}
