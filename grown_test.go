package tidemark

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/topology"
)

// TestRepartitionTopicsKeep: behind a repartition topic that exists nothing changes when inputs grow.
func TestRepartitionTopicsKeep(t *testing.T) {
	b := topology.NewBuilder()
	topology.Count(rekeyed(topology.Stream(b, "in", serde.String, serde.String)).GroupByKey(topology.Named("by-value")),
		topology.As("counts"))
	const repartition = "app-by-value-repartition"
	got, admin, _, err := prepared(t, b, map[string]int32{"in": 6, repartition: 3, "app-counts-changelog": 3})
	require.NoError(t, err)
	require.Empty(t, admin.created)
	require.Equal(t, map[int32]int32{0: 6, 1: 3}, got.taskCounts())
	_, _, _, err = prepared(t, b, map[string]int32{"in": 3, repartition: 6})
	require.ErrorContains(t, err, "has 6 partitions, and the topology needs 3")

	// What is joined with a topic of the user's follows that.
	joined := joining(func(stream func(string) *testStream, table func(string) *testTable) {
		topology.JoinTable(rekeyed(stream("in")), table("4"), pair, nil, topology.Named("j")).To("4")
	})
	_, _, _, err = prepared(t, joined, map[string]int32{"in": 6, "4": 4, "app-j-repartition": 3})
	require.ErrorContains(t, err, "has 3 partitions, and the topology needs 4")

	// Nothing matches a pattern any more, and the rest of what did is processed.
	got, _, _, err = prepared(t, byPattern(), map[string]int32{"lone": 1, repartition: 3, "app-counts-changelog": 3})
	require.NoError(t, err)
	require.Equal(t, map[int32]int32{1: 3, 2: 1}, got.taskCounts())
}

// TestIgnoreAddedPartitions: tasks go on with what they have state for.
func TestIgnoreAddedPartitions(t *testing.T) {
	b := joining(func(stream func(string) *testStream, table func(string) *testTable) {
		topology.Count(stream("in").GroupByKey(), topology.As("counts")).ToStream().To("in")
		stream("lone").To("lone")
	})
	plan, err := b.Build()
	require.NoError(t, err)
	partitions := map[string]int32{"in": 6, "lone": 6, "app-counts-changelog": 3}
	_, _, _, err = prepared(t, b, partitions)
	require.ErrorContains(t, err, `the input topic "in" has 6: the keys of its rows`)

	var log strings.Builder
	cfg := &Config{
		ApplicationID: "app", IgnoreAddedPartitions: true, Logger: slog.New(slog.NewTextHandler(&log, nil)),
	}
	admin := &topicAdmin{partitions: partitions, created: make(map[string]int32)}
	got, err := prepareTopics(t.Context(), cfg, plan, admin)
	require.NoError(t, err)
	require.Equal(t, map[int32]int32{0: 3, 1: 6}, got.taskCounts())
	require.Contains(t, log.String(), "topic=in partitions=6 read=3")
	require.Equal(t, []record.TopicPartition{{Topic: "in", Partition: 2}}, got.inputs[record.TaskID{Partition: 2}])
	n, err := got.partitionsOf(t.Context(), "in")
	require.NoError(t, err)
	require.Equal(t, int32(6), n, "all are written")
	changed, err := got.changedInputs(t.Context())
	require.NoError(t, err)
	require.Nil(t, changed)
	require.Equal(t, int32(3), (&checkpoints{cfg: cfg, in: &incarnation{topics: got}}).application().Partitions["in"])
}
