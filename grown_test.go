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
	got, err := prepareTopics(t.Context(), cfg, plan, admin, nil)
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

// TestHeldBackByWhichNumber: a number of partitions that is no multiple moves keys between those that are read.
func TestHeldBackByWhichNumber(t *testing.T) {
	b := joining(func(stream func(string) *testStream, _ func(string) *testTable) {
		topology.Count(stream("in").GroupByKey(), topology.As("counts")).ToStream().To("in")
	})
	for has, loud := range map[int32]bool{4: true, 5: true, 6: false, 9: false} {
		log, _, err := grownTo(t, b, &Config{IgnoreAddedPartitions: true},
			map[string]int32{"in": has, "app-counts-changelog": 3}, nil)
		require.NoError(t, err)
		require.Contains(t, log, "level=WARN")
		require.Equal(t, loud, strings.Contains(log, "level=ERROR") && strings.Contains(log, "keys change between"))
	}
}

// grownTo prepares topics of a topology that ran with the numbers of partitions before.
func grownTo(
	t *testing.T, b *topology.Builder, cfg *Config, partitions, before map[string]int32,
) (log string, got *topics, err error) {
	t.Helper()
	plan, err := b.Build()
	require.NoError(t, err)
	var out strings.Builder
	cfg.ApplicationID, cfg.Logger = "app", slog.New(slog.NewTextHandler(&out, nil))
	admin := &topicAdmin{partitions: partitions, created: make(map[string]int32)}
	got, err = prepareTopics(t.Context(), cfg, plan, admin, before)
	return out.String(), got, err
}

// TestInputGrowsUnderBoundRows: rows that are in the input topic itself, or in no topic at all, cannot follow their
// keys.
func TestInputGrowsUnderBoundRows(t *testing.T) {
	reused := func() *topology.Builder {
		b := topology.NewBuilder(topology.ReuseSourceTopics)
		topology.Table(b, "in", serde.String, serde.String, topology.As("rows"))
		return b
	}
	unlogged := func() *topology.Builder {
		b := topology.NewBuilder()
		g := topology.Stream(b, "in", serde.String, serde.String).GroupByKey()
		topology.Count(g, topology.As("rows"), topology.WithoutLogging())
		return b
	}
	stateless := func() *topology.Builder {
		b := topology.NewBuilder()
		topology.Stream(b, "in", serde.String, serde.String).To("in")
		return b
	}
	three, ignoring := map[string]int32{"in": 3}, Config{IgnoreAddedPartitions: true}
	for name, c := range map[string]struct {
		build  func() *topology.Builder
		cfg    Config
		before map[string]int32
		has    int32
		tasks  int32
		want   []string
	}{
		"a table of its topic": {build: reused, before: three, has: 4, want: []string{
			`topic "in" had 3 partitions when the application ran last and has 4`,
			`the table "rows" is restored from its topic "in"`,
			"new application id", "Config.IgnoreAddedPartitions", "Config.AllowStateLoss",
		}},
		"without changelog": {build: unlogged, before: three, has: 6, want: []string{
			`the store "rows" has no changelog`, "Config.AllowStateLoss", "Config.IgnoreAddedPartitions",
		}},
		"the same":               {build: reused, before: three, has: 3, tasks: 3},
		"never ran":              {build: reused, has: 6, tasks: 6},
		"no state":               {build: stateless, before: three, has: 6, tasks: 6},
		"meant, of its topic":    {build: reused, cfg: Config{AllowStateLoss: true}, before: three, has: 4, tasks: 4},
		"meant, no changelog":    {build: unlogged, cfg: Config{AllowStateLoss: true}, before: three, has: 4, tasks: 4},
		"held back":              {build: reused, cfg: ignoring, before: three, has: 6, tasks: 3},
		"held back, no topic":    {build: unlogged, cfg: ignoring, before: three, has: 6, tasks: 3},
		"nothing to hold back":   {build: unlogged, cfg: ignoring, has: 6, tasks: 6},
		"stateless, not held up": {build: stateless, cfg: ignoring, before: three, has: 6, tasks: 6},
	} {
		t.Run(name, func(t *testing.T) {
			_, got, err := grownTo(t, c.build(), &c.cfg, map[string]int32{"in": c.has}, c.before)
			if len(c.want) == 0 {
				require.NoError(t, err)
				require.Equal(t, c.tasks, got.taskCounts()[0])
				return
			}
			var topic *TopicError
			require.ErrorAs(t, err, &topic)
			require.False(t, restartable(err))
			for _, want := range c.want {
				require.ErrorContains(t, err, want)
			}
		})
	}
}

// TestInputsBefore: what is stored counts for more than what this process began with.
func TestInputsBefore(t *testing.T) {
	var f firstInputs
	require.Empty(t, f.before(nil))
	f.counts = map[string]int32{"in": 6, "more": 2}
	require.Equal(t, map[string]int32{"in": 6, "more": 2}, f.before(nil))
	stored := &topology.Description{Topics: []topology.TopicDescription{
		{Name: "in", Read: true, Partitions: 3},
		{Name: "out", Partitions: 9},
		{Name: "mid", Read: true, Repartition: true, Partitions: 7},
	}}
	require.Equal(t, map[string]int32{"in": 3, "more": 2}, f.before(stored))
}
