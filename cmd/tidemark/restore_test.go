package main

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tidemarkio/tidemark"
	"github.com/tidemarkio/tidemark/checkpointing"
	"github.com/tidemarkio/tidemark/checkpointing/storage/dir"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/topology"
)

// counted counts words behind a repartition topic.
func counted(partitions int32) *topology.Builder {
	b := topology.NewBuilder()
	words := topology.SelectKey(topology.Stream(b, "in", serde.String, serde.String),
		func(_, word string) string { return word }, serde.String).
		Repartition(topology.Named("by-word"), topology.Partitions(partitions)).GroupByKey()
	topology.Count(words, topology.As("counts"))
	topology.Count(topology.WindowedBy(words, topology.Tumbling(time.Minute)), topology.As("minutes"))
	return b
}

// service is an application on an embedded broker.
type service struct {
	t       *testing.T
	brokers []string
	root    string
}

// run runs it until it ends, or until the result is called.
func (s *service) run(id string, b *topology.Builder) (stop func() error) {
	s.t.Helper()
	app, err := tidemark.New(b, tidemark.Config{
		ApplicationID: id, Brokers: s.brokers, StateDir: s.t.TempDir(),
		Checkpointing: checkpointing.Config{Storage: dir.New(s.root)},
	})
	require.NoError(s.t, err)
	ctx, cancel := context.WithCancel(s.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- app.Run(ctx) }()
	require.Eventually(s.t, func() bool {
		select {
		case err := <-ended:
			ended <- err
			return true
		default:
		}
		st, err := app.Status(s.t.Context())
		return err == nil && st.Running > 0
	}, time.Minute, 20*time.Millisecond)
	return func() error {
		cancel()
		return <-ended
	}
}

// rows returns the last values of a changelog, and checks where they are.
func (s *service) rows(topic string, partitions int32) map[string]int64 {
	s.t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(s.brokers...), kgo.ConsumeTopics(topic),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	require.NoError(s.t, err)
	defer client.Close()
	rows := make(map[string]int64)
	for len(rows) < 50 {
		ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
		fetches := client.PollFetches(ctx)
		cancel()
		require.NoError(s.t, fetches.Err())
		fetches.EachRecord(func(r *kgo.Record) {
			n, err := serde.Int64.Decode(r.Value)
			require.NoError(s.t, err)
			require.Equal(s.t, record.PartitionOf(r.Key, partitions), r.Partition)
			rows[string(r.Key)] = n
		})
	}
	return rows
}

// TestRestoreAndRescale lets the command start applications from a savepoint, without their program.
func TestRestoreAndRescale(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(2, "in"))
	require.NoError(t, err)
	t.Cleanup(cluster.Close)
	s := &service{t: t, brokers: cluster.ListenAddrs(), root: t.TempDir()}
	t.Setenv(storageVariable, s.root)
	producer, err := kgo.NewClient(kgo.SeedBrokers(s.brokers...))
	require.NoError(t, err)
	defer producer.Close()
	want := make(map[string]int64)
	for i := range 200 {
		word := fmt.Sprintf("word-%d", i%50)
		want[word]++
		require.NoError(t, producer.ProduceSync(t.Context(), &kgo.Record{
			Topic: "in", Key: fmt.Appendf(nil, "%d", i), Value: []byte(word), Timestamp: time.UnixMilli(1_700_000_000_000),
		}).FirstErr())
	}
	stop := s.run("orders", counted(2))
	at := []string{"--brokers", s.brokers[0], "--output", "json"}
	on := func(code int, args ...string) string {
		t.Helper()
		return command(t, code, append(args, at...)...)
	}
	require.Equal(t, want, s.rows("orders-counts-changelog", 2))
	var made struct{ Location string }
	text := on(0, "savepoint", "stop", "--application-id", "orders")
	require.NoError(t, json.Unmarshal([]byte(text), &made))
	require.NoError(t, stop())

	var done restored
	text = on(0, "savepoint", "restore", made.Location, "--application-id", "clone")
	require.NoError(t, json.Unmarshal([]byte(text), &done))
	require.Equal(t, "clone", done.ApplicationID)
	require.Equal(t, int64(50), done.Rows["counts"])
	require.Equal(t, int64(54), done.Rows["minutes"], "with two clocks of each task")
	require.Equal(t, want, s.rows("clone-counts-changelog", 2))
	require.NoError(t, s.run("clone", counted(2))())

	require.Contains(t, on(exitError, "savepoint", "rescale", made.Location, "--application-id", "orders", "--partitions",
		"by-word=5"), "has state already")
	text = on(0, "savepoint", "rescale", made.Location, "--application-id", "orders", "--replace", "--partitions",
		"by-word=5")
	require.Contains(t, text, `"counts": 50`)
	require.Equal(t, want, s.rows("orders-counts-changelog", 5))
	// A service that asks for another number is told so; the one that asks for this number goes on.
	require.ErrorContains(t, s.run("orders", counted(2))(), "has 5 partitions, and the topology needs 2")
	stop = s.run("orders", counted(5))
	word := "word-7"
	want[word]++
	require.NoError(t, producer.ProduceSync(t.Context(), &kgo.Record{Topic: "in", Value: []byte(word)}).FirstErr())
	require.Eventually(t, func() bool { return s.rows("orders-counts-changelog", 5)[word] == want[word] }, time.Minute,
		50*time.Millisecond)
	require.NoError(t, stop())
	text = command(t, 0, "savepoint", "rescale", made.Location, "--application-id", "by-number", "--brokers", s.brokers[0],
		"--partitions", "1=3")
	require.Contains(t, text, "by-number: restored from "+made.Location+", 100 rows of 2 stores")
	require.Equal(t, int64(4), s.rows("by-number-counts-changelog", 3)["word-9"])

	refused := func(want string, args ...string) {
		t.Helper()
		all := append([]string{"savepoint", "rescale", made.Location, "--application-id", "other"}, args...)
		require.Contains(t, on(exitError, all...), want)
	}
	refused("--partitions is missing")
	refused("want a positive number", "--partitions", "by-word=0")
	refused(`no repartition topic "x": it has by-word-repartition`, "--partitions", "x=3")
	refused("no sub-topology 9", "--partitions", "9=3")
	refused(`reads the topic "in" of yours`, "--partitions", "0=3")
	require.Contains(t, command(t, exitError, "savepoint", "restore", made.Location), "--application-id are needed")
	text = on(exitError, "savepoint", "restore", "orders/none", "--application-id", "x")
	require.Contains(t, text, "no checkpoint or savepoint")
	require.Contains(t, command(t, 0, "__complete", "savepoint", "restore", ""), made.Location)

	// Of an older release: nothing is known of the topology.
	m, err := checkpointing.Load(t.Context(), dir.New(s.root), made.Location)
	require.NoError(t, err)
	m.Topology = nil
	require.NoError(t, dir.New(s.root).Delete(t.Context(), checkpointing.ManifestName(made.Location)))
	require.NoError(t, checkpointing.PublishManifest(t.Context(), dir.New(s.root), m))
	refused("an older release made it", "--partitions", "by-word=3")
}
