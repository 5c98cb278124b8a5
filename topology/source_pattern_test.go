package topology_test

import (
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/tidemarktest"
	"github.com/tidemarkio/tidemark/topology"
)

var orders = regexp.MustCompile(`orders-.*`)

// byPattern counts what two patterns bring, and joins one of them with a table.
func byPattern(b *topology.Builder) *topology.Builder {
	all := topology.StreamPattern(b, orders, serde.String, serde.String, topology.WithOffsetReset(processor.ResetLatest))
	topology.Count(all.GroupByKey(), topology.As("counts"), topology.WithoutCaching()).ToStream().To("counts")
	prices := topology.Table(b, "prices", serde.String, serde.String, topology.As("prices"))
	topology.JoinTable(topology.StreamPattern(b, regexp.MustCompile(`gifts|samples`), serde.String, serde.String,
		topology.Named("free")), prices, func(l, r string) string { return l + r }, nil, topology.Named("priced")).
		To("priced")
	return b
}

func TestStreamPatternPlan(t *testing.T) {
	b := byPattern(topology.NewBuilder())
	again := topology.StreamPattern(b, regexp.MustCompile(`orders-.*`), serde.String, serde.String,
		topology.WithOffsetReset(processor.ResetLatest))
	again.Foreach(func(string, string) {})
	plan := b.MustBuild()
	require.Equal(t, "KSTREAM-SOURCE-0000000000", plan.Nodes[0].Name)
	require.Equal(t, processor.ResetLatest, plan.Nodes[0].OffsetReset)
	require.Len(t, plan.Nodes[0].Children, 2, "patterns of the same text are one source")
	require.Empty(t, plan.Nodes[0].Topics)
	require.Equal(t, []string{"orders-.*"}, plan.Subtopologies[0].Patterns())
	require.Empty(t, plan.Subtopologies[0].SourceTopics)
	require.Equal(t, []string{"gifts|samples"}, plan.Subtopologies[1].Patterns())
	require.Equal(t, []string{"prices"}, plan.Subtopologies[1].SourceTopics)
	// The second use of the pattern has used a number up, as in Kafka Streams.
	require.Contains(t, topology.Describe(plan), "Processor: KSTREAM-FOREACH-0000000010")
}

// TestStreamPatternDescriptions: what is told of a topology has the patterns, and never what matches them.
func TestStreamPatternDescriptions(t *testing.T) {
	plan := byPattern(topology.NewBuilder()).MustBuild()
	resolved, err := plan.Resolve([]string{"orders-eu", "gifts"})
	require.NoError(t, err)
	for _, p := range []*processor.Plan{plan, resolved} {
		text, err := topology.NewDescription(p).JSON()
		require.NoError(t, err)
		golden(t, "description-pattern.json", string(text))
		golden(t, "description-pattern.txt", topology.Describe(p))
		golden(t, "description-pattern.dot", topology.DOT(p))
		golden(t, "description-pattern.mmd", topology.Mermaid(p))
	}
}

func TestStreamPatternMistakes(t *testing.T) {
	var none *regexp.Regexp
	for want, declare := range map[string]func(b *topology.Builder){
		`StreamPattern: a pattern is needed`: func(b *topology.Builder) {
			topology.StreamPattern(b, none, serde.String, serde.String)
		},
		`StreamPattern: the pattern "orders-.*" matches the topic "orders-eu", which is read at`: func(b *topology.Builder) {
			topology.StreamPattern(b, orders, serde.String, serde.String)
			topology.Stream(b, "orders-eu", serde.String, serde.String)
		},
		`the pattern "orders-.*" matches the topic "orders-global"`: func(b *topology.Builder) {
			topology.GlobalTable(b, "orders-global", serde.String, serde.String, topology.As("g"))
			topology.StreamPattern(b, orders, serde.String, serde.String)
		},
		`the pattern "orders-.*" is already read at`: func(b *topology.Builder) {
			topology.StreamPattern(b, orders, serde.String, serde.String)
			topology.StreamPattern(b, orders, serde.String, serde.Int64)
		},
		`with other options`: func(b *topology.Builder) {
			topology.StreamPattern(b, orders, serde.String, serde.String)
			topology.StreamPattern(b, orders, serde.String, serde.String, topology.WithOffsetReset(processor.ResetLatest))
		},
		`reading topics that match "orders-.*"`: func(b *topology.Builder) {
			topology.StreamPattern[string, string](b, orders, nil, serde.String)
		},
	} {
		b := topology.NewBuilder()
		declare(b)
		_, err := b.Build()
		require.ErrorContains(t, err, want)
	}
	// A repartition topic has another name on the broker.
	b := topology.NewBuilder()
	topology.StreamPattern(b, regexp.MustCompile(`.*`), serde.String, serde.String).Repartition(topology.Named("r"))
	_, err := b.Build()
	require.NoError(t, err)
}

func TestStreamPatternDriver(t *testing.T) {
	b := topology.NewBuilder()
	s := topology.StreamPattern(b, orders, serde.String, serde.String, topology.WithTimestampExtractor(
		func(r *record.Raw, at processor.Extraction) (int64, error) {
			return r.Timestamp + int64(len(at.TopicPartition.Topic)), nil
		}))
	topology.Count(s.GroupByKey(), topology.As("counts"), topology.WithoutCaching()).ToStream().To("counts")
	d := tidemarktest.New(t, b)
	counts := tidemarktest.Output(d, "counts", serde.String, serde.Int64)
	eu := tidemarktest.Input(d, "orders-eu", serde.String, serde.String)
	eu.Pipe("ann", "tea", 1)
	d.Commit()
	us := tidemarktest.Input(d, "orders-us", serde.String, serde.String)
	us.Pipe("ann", "tea", 2)
	d.Crash()
	eu.Pipe("bob", "tea", 3)
	d.AdvanceWallClock(time.Second)
	d.Commit()
	var got []int64
	var at []int64
	for _, r := range counts.ReadAll() {
		got, at = append(got, r.Value), append(at, r.Timestamp)
	}
	require.Equal(t, []int64{1, 2, 1}, got)
	require.Equal(t, []int64{10, 11, 12}, at)
	require.Equal(t, []string{"counts", "orders-eu", "orders-us"}, d.Topics())
}

// TestStreamPatternFed: what a topology writes to a matching topic is read as well, once there is one.
func TestStreamPatternFed(t *testing.T) {
	for _, opts := range [][]tidemarktest.Option{nil, {tidemarktest.SingleTask()}} {
		b := topology.NewBuilder()
		topology.StreamPattern(b, regexp.MustCompile(`to-.*`), serde.String, serde.String).To("all")
		topology.Stream(b, "in", serde.String, serde.String).ToEach(
			func(r record.Record[string, string], _ processor.RecordMetadata) string { return r.Key })
		d, err := tidemarktest.Open(b, opts...)
		require.NoError(t, err)
		in := tidemarktest.Input(d, "in", serde.String, serde.String)
		in.Pipe("to-x", "1", 1)
		in.Pipe("elsewhere", "2", 2)
		in.Pipe("to-y", "3", 3)
		all := tidemarktest.Output(d, "all", serde.String, serde.String).ReadAll()
		require.Len(t, all, 2)
		require.Equal(t, "3", all[1].Value)
		require.NoError(t, d.Close())
	}
}

func TestStreamPatternDriverConflict(t *testing.T) {
	b := topology.NewBuilder()
	topology.StreamPattern(b, orders, serde.String, serde.String).To("all")
	topology.StreamPattern(b, regexp.MustCompile(`.*-eu`), serde.String, serde.String).To("all")
	d, err := tidemarktest.Open(b)
	require.NoError(t, err)
	tidemarktest.Input(d, "orders-us", serde.String, serde.String).Pipe("k", "v", 1)
	require.Panics(t, func() { tidemarktest.Input(d, "orders-eu", serde.String, serde.String) })
	require.ErrorContains(t, d.TryCommit(), `topic "orders-eu" matches the pattern of`)
	require.NoError(t, d.Close())
}

func TestStreamPatternDiff(t *testing.T) {
	describe := func(declare func(b *topology.Builder)) *topology.Description {
		b := topology.NewBuilder()
		declare(b)
		return topology.NewDescription(b.MustBuild())
	}
	pattern := describe(func(b *topology.Builder) {
		topology.Count(topology.StreamPattern(b, orders, serde.String, serde.String).GroupByKey(), topology.As("counts"))
	})
	named := describe(func(b *topology.Builder) {
		topology.Count(topology.Stream(b, "orders-eu", serde.String, serde.String).GroupByKey(), topology.As("counts"))
	})
	require.Equal(t, `keeps  store counts: it goes on with its rows
keeps  input pattern orders-.*: its topics go on at the group's positions
`, topology.Diff(pattern, pattern).String())
	require.Equal(t, `adds   input pattern orders-.*: topics that match it are read from the group's positions, if it `+
		`has some there, else as the offset reset says
keeps  store counts: it goes on with its rows
keeps  input topic orders-eu: it goes on at the group's position: the pattern orders-.* matches it
`, topology.Diff(named, pattern).String())
	require.Equal(t, `drops  input pattern orders-.*: topics that match it are not read any more, unless something else `+
		`reads them; the group's positions in them stay until they expire
keeps  store counts: it goes on with its rows
keeps  input topic orders-eu: it goes on at the group's position: it was read by the pattern orders-.*
`, topology.Diff(pattern, named).String())
}
