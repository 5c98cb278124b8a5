package tidemark

import (
	"log/slog"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/changelog"
	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/processor/assign"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/topology"
)

func streamPattern(b *topology.Builder, pattern string) *testStream {
	return topology.StreamPattern(b, regexp.MustCompile(pattern), serde.String, serde.String)
}

// byPattern counts by value, behind a repartition topic, what matches in-.*; beside it runs the topic "lone".
func byPattern() *topology.Builder {
	b := topology.NewBuilder()
	topology.Count(rekeyed(streamPattern(b, `in-.*`)).GroupByKey(topology.Named("by-value")), topology.As("counts"))
	topology.Stream(b, "lone", serde.String, serde.String).To("lone")
	return b
}

// prepared prepares the topics of a topology on a cluster with these.
func prepared(
	t *testing.T, b *topology.Builder, partitions map[string]int32,
) (got *topics, admin *topicAdmin, log string, err error) {
	t.Helper()
	plan, err := b.Build()
	require.NoError(t, err)
	var out strings.Builder
	cfg := &Config{ApplicationID: "app", Logger: slog.New(slog.NewTextHandler(&out, nil))}
	admin = &topicAdmin{partitions: partitions, created: make(map[string]int32)}
	got, err = prepareTopics(t.Context(), cfg, plan, admin, nil)
	return got, admin, out.String(), err
}

func TestPatternTopics(t *testing.T) {
	got, admin, log, err := prepared(t, byPattern(), map[string]int32{
		"lone": 2, "in-eu": 3, "in-us": 5, "other": 9, "in-": 1, "xin-x": 7,
	})
	require.NoError(t, err)
	require.Empty(t, log)
	require.Equal(t, map[string]int32{"app-by-value-repartition": 5, "app-counts-changelog": 5}, admin.created)
	require.Equal(t, map[int32]int32{0: 5, 1: 5, 2: 2}, got.taskCounts())
	require.ElementsMatch(t, []string{"in-", "in-eu", "in-us", "app-by-value-repartition", "lone"}, got.sources())
	require.Equal(t, []record.TopicPartition{{Topic: "in-us", Partition: 4}}, got.inputs[record.TaskID{Partition: 4}])
	require.Len(t, got.inputs[record.TaskID{}], 3)
	require.Equal(t, "KSTREAM-SOURCE-0000000000", got.sourceOf("in-eu").Name)
	require.Nil(t, got.sourceOf("other"))
	require.True(t, got.sourceOf("app-by-value-repartition").Internal)
}

// TestPatternMatchesNothing: nothing is made for what has nothing to read; the rest runs.
func TestPatternMatchesNothing(t *testing.T) {
	// Left from a time when something matched.
	got, admin, log, err := prepared(t, byPattern(), map[string]int32{"lone": 2, "app-counts-changelog": 3})
	require.NoError(t, err)
	require.Equal(t, 1, strings.Count(log, "no topic matches the pattern of a source yet"))
	require.Contains(t, log, "pattern=in-.*")
	require.Empty(t, admin.created)
	require.Equal(t, map[int32]int32{2: 2}, got.taskCounts())

	// Without any task.
	b := topology.NewBuilder()
	streamPattern(b, `in-.*`).To("lone")
	got, _, _, err = prepared(t, b, map[string]int32{"lone": 1})
	require.NoError(t, err)
	require.Empty(t, got.tasks)
	require.False(t, (&checkpoints{in: &incarnation{topics: got}}).ownsFirstTask())

	// A table decides, and the stream is not there.
	b = topology.NewBuilder()
	table := topology.Table(b, "4", serde.String, serde.String, topology.As("t"))
	topology.JoinTable(rekeyed(streamPattern(b, `in-.*`)), table, pair, nil, topology.Named("j")).To("4")
	got, admin, _, err = prepared(t, b, map[string]int32{"4": 4})
	require.NoError(t, err)
	require.Equal(t, int32(4), admin.created["app-j-repartition"])
	require.Equal(t, map[int32]int32{0: 4}, got.taskCounts())
}

func TestPatternsThatCannotBe(t *testing.T) {
	counted := func() *topology.Builder {
		b := topology.NewBuilder()
		topology.Count(streamPattern(b, `in-.*`).GroupByKey(), topology.As("counts"))
		return b
	}
	// One source is joined with nothing: as in Kafka Streams its topics may differ.
	got, _, log, err := prepared(t, counted(), map[string]int32{"in-a": 2, "in-b": 3})
	require.NoError(t, err)
	require.Equal(t, map[int32]int32{0: 3}, got.taskCounts())
	require.Contains(t, log, "have different numbers of partitions")
	joined := topology.NewBuilder()
	topology.JoinTable(streamPattern(joined, `in-.*`), topology.Table(joined, "3", serde.String, serde.String), pair,
		nil).To("3")
	_, _, _, err = prepared(t, joined, map[string]int32{"in-a": 2, "in-b": 3, "3": 3})
	require.ErrorContains(t, err, `topic "in-a" has 2 partitions, and "3" has 3, but both are joined or feed the same`)
	require.False(t, restartable(err))

	_, _, _, err = prepared(t, counted(), map[string]int32{"in-a": 3, "in-b": 4, "app-counts-changelog": 3})
	var grown *changelog.TopicError
	require.ErrorAs(t, err, &grown)
	require.ErrorContains(t, err, `"app-counts-changelog" has 3 partitions, and the topology needs 4: `+
		`the input topic "in-b" has 4: `)
	require.ErrorContains(t, err, "tidemark savepoint rescale")
	require.False(t, restartable(err))

	b := counted()
	streamPattern(b, `.*-a`).To("out")
	_, _, _, err = prepared(t, b, map[string]int32{"in-b": 2, "out": 1})
	require.NoError(t, err)
	_, _, _, err = prepared(t, b, map[string]int32{"in-a": 2, "out": 1})
	var failed *processor.PatternError
	require.ErrorAs(t, err, &failed)
	require.Equal(t, "in-a", failed.Topic)
	require.False(t, restartable(err))
}

// TestInternalNames: what is internal to the application is matched by no pattern.
func TestInternalNames(t *testing.T) {
	b := topology.NewBuilder()
	streamPattern(b, `.*`).Repartition(topology.Named("r"), topology.Partitions(2))
	for name, internal := range map[string]bool{
		"app-plan": true, "app-checkpoints": true, "app-was-changelog": true, "app-was-repartition": true,
		"app-j-subscription-registration-topic": true, "app-j-subscription-response-topic": true,
		"app-KTABLE-FK-JOIN-SUBSCRIPTION-REGISTRATION-0000000001-topic": true,
		"app-eu": false, "app": false, "app-topic": false, "application-x-changelog": false, "changelog": false,
		"app-plans": false, "other-plan": false,
	} {
		require.Equal(t, internal, internalName("app", name), name)
		got, _, _, err := prepared(t, b, map[string]int32{name: 1})
		require.NoError(t, err)
		want := []string{name}
		if internal {
			want = nil
		}
		require.Equal(t, want, got.plan.Matched(), name)
	}
}

func TestChangedInputs(t *testing.T) {
	got, admin, _, err := prepared(t, byPattern(), map[string]int32{"lone": 2, "in-eu": 3})
	require.NoError(t, err)
	admin.partitions["app-by-value-repartition"], admin.partitions["app-counts-changelog"] = 3, 3
	look := func() string {
		changed, err := got.changedInputs(t.Context())
		require.NoError(t, err)
		if changed == nil {
			return ""
		}
		require.True(t, restartable(changed))
		return changed.Error()
	}
	require.Empty(t, look())
	admin.partitions["other"] = 1
	require.Empty(t, look())
	admin.partitions["in-us"] = 1
	require.Equal(t, `tidemark: topic "in-us" matches a pattern now`, look())
	delete(admin.partitions, "in-eu")
	require.Equal(t, `tidemark: topic "in-us" matches a pattern now; topic "in-eu", which matched a pattern, is gone`,
		look())
	delete(admin.partitions, "in-us")
	admin.partitions["in-eu"], admin.partitions["lone"] = 4, 3
	require.Equal(t, `tidemark: input topic "in-eu" had 3 partitions and has 4; input topic "lone" had 2 partitions and `+
		`has 3`, look())

	b := byPattern()
	streamPattern(b, `.*-us`).To("lone")
	got, admin, _, err = prepared(t, b, map[string]int32{"lone": 2, "in-eu": 3})
	require.NoError(t, err)
	admin.partitions["in-us"] = 1
	require.Contains(t, look(), "a topic is read by one source")
}

func TestFirstInputs(t *testing.T) {
	got, _, _, err := prepared(t, byPattern(), map[string]int32{"lone": 2, "in-eu": 3})
	require.NoError(t, err)
	var first firstInputs
	at := func(topic string, p int32) record.TopicPartition {
		return record.TopicPartition{Topic: topic, Partition: p}
	}
	require.False(t, first.added(at("in-us", 0)))
	first.start(got)
	later, _, _, err := prepared(t, byPattern(), map[string]int32{"lone": 4, "in-eu": 3, "in-us": 1})
	require.NoError(t, err)
	first.start(later)
	for tp, added := range map[record.TopicPartition]bool{
		at("in-us", 0): true, at("lone", 1): false, at("lone", 2): true, at("in-eu", 2): false,
	} {
		require.Equal(t, added, first.added(tp), tp)
	}
}

// TestPatternManifest: a manifest names what was read and the patterns; a restore matches again.
func TestPatternManifest(t *testing.T) {
	b := topology.NewBuilder()
	topology.Count(streamPattern(b, `in-.*|by-.*`).Merge(topology.Stream(b, "lone", serde.String, serde.String)).
		GroupByKey(), topology.As("counts"))
	streamPattern(b, `none`).Repartition(topology.Named("by-value"), topology.Partitions(3)).To("lone")
	got, _, _, err := prepared(t, b, map[string]int32{"lone": 2, "in-eu": 2})
	require.NoError(t, err)
	m := manifestOf(got.plan)
	require.Equal(t, []string{"lone", "in-eu"}, m.Topology.Subtopologies[0].Sources)
	require.Equal(t, []string{`in-.*|by-.*`}, m.Topology.Subtopologies[0].Patterns)
	require.Empty(t, m.Topology.Subtopologies[1].Sources)
	plan, err := planOf(m)
	require.NoError(t, err)
	require.Equal(t, []string{"in-eu"}, plan.Matched())
	now, err := plan.Resolve([]string{"in-us", "none"})
	require.NoError(t, err)
	require.Equal(t, []string{"lone", "in-us"}, now.Subtopologies[0].SourceTopics)
	require.Equal(t, []string{"none"}, now.Subtopologies[1].SourceTopics)
	require.Equal(t, []string{"by-value-repartition"}, now.Subtopologies[2].SourceTopics)

	for _, bad := range []string{"", "("} {
		m.Topology.Subtopologies[0].Patterns = []string{bad}
		_, err = planOf(m)
		require.Error(t, err)
	}
}

func TestTaskOfAbsentTopics(t *testing.T) {
	tasks, err := assign.Tasks([]assign.Subtopology{{ID: 0}, {ID: 1, Topics: map[string]int32{"a": 1}}})
	require.NoError(t, err)
	require.Len(t, tasks, 1)
}
