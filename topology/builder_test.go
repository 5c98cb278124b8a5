package topology_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/store"
	"github.com/tidemarkio/tidemark/topology"
)

func identity(v string) string { return v }

// TestMistakes declares one mistake per case. Each must be the only one that Build reports, at the line of the call.
func TestMistakes(t *testing.T) {
	long := func(v string) []string { return []string{v} }
	toInt := func(v string) int { return len(v) }
	for name, c := range map[string]struct {
		declare func(b *topology.Builder, s *topology.KStream[string, string])
		want    string
	}{
		"store twice": {
			func(_ *topology.Builder, s *topology.KStream[string, string]) {
				topology.Count(s.GroupByKey(), topology.As("x"))
				topology.Count(s.GroupByKey(), topology.As("x"))
			},
			`Count: store "x" was already declared at HERE-1: give each store its own name`,
		},
		"node name twice": {
			func(_ *topology.Builder, s *topology.KStream[string, string]) {
				s.Peek(func(string, string) {}, topology.Named("x"))
				topology.FlatMapValues(s, long, nil, topology.Named("x"))
			},
			`FlatMapValues: the name "x" is already taken by the node declared at HERE-1`,
		},
		"topic as other types": {
			func(b *topology.Builder, _ *topology.KStream[string, string]) {
				topology.Stream(b, "y", serde.String, serde.String)
				topology.Table(b, "y", serde.String, serde.Int64)
			},
			`Table: topic "y" is already read at HERE-1 as string and string (serdes serde.stringSerde and ` +
				`serde.stringSerde), here as string and int64 (serdes serde.stringSerde and serde.int64Serde)`,
		},
		"topic with other options": {
			func(b *topology.Builder, _ *topology.KStream[string, string]) {
				topology.Stream(b, "y", serde.String, serde.String)
				topology.Stream(b, "y", serde.String, serde.String, topology.WithOffsetReset(processor.ResetLatest))
			},
			`Stream: topic "y" is already read at HERE-1 with other options`,
		},
		"overlapping topics": {
			func(b *topology.Builder, _ *topology.KStream[string, string]) {
				topology.Stream(b, "y", serde.String, serde.String)
				topology.Streams(b, []string{"y", "z"}, serde.String, serde.String)
			},
			`Streams: topic "y" is already read, together with others, at HERE-1: read ["y" "z"] once and use the stream twice`,
		},
		"topic listed twice": {
			func(b *topology.Builder, _ *topology.KStream[string, string]) {
				topology.Streams(b, []string{"y", "y"}, serde.String, serde.String)
			},
			`Streams: topic "y" is listed twice`,
		},
		"source without serde": {
			func(b *topology.Builder, _ *topology.KStream[string, string]) {
				topology.Stream[string, string](b, "y", serde.String, nil)
			},
			`Stream: no value serde for reading ["y"]: give one to the operator above that makes values of type string`,
		},
		"sink without serde": {
			func(_ *topology.Builder, s *topology.KStream[string, string]) {
				topology.MapValues(s, toInt, nil).To("out")
			},
			`To: no value serde for writing to "out": give one to the operator above that makes values of type int`,
		},
		"store without serde": {
			func(_ *topology.Builder, s *topology.KStream[string, string]) {
				topology.Aggregate(s.GroupByKey(), func() int { return 0 },
					func(_, _ string, n int) int { return n }, nil, topology.As("x"))
			},
			`Aggregate: no value serde for the store "x": give one to the operator above that makes values of type int`,
		},
		"serde of another type": {
			func(_ *topology.Builder, s *topology.KStream[string, string]) {
				s.To("out", topology.WithSerdes[string, int64](serde.String, serde.Int64))
			},
			`To: WithSerdes: the value serde is a serde.int64Serde, which is not for string`,
		},
		"partitioner of another type": {
			func(_ *topology.Builder, s *topology.KStream[string, string]) {
				s.To("out", topology.WithPartitioner(func(string, record.Record[int, int], int32) int32 { return 0 }))
			},
			`To: WithPartitioner: topology.Partitioner[int,int] is not for keys of type string and values of type string`,
		},
		"nil function": {
			func(_ *topology.Builder, s *topology.KStream[string, string]) { s.Filter(nil) },
			`Filter: the function is nil`,
		},
		"topic without a name": {
			func(_ *topology.Builder, s *topology.KStream[string, string]) { s.To("") },
			`To: a topic needs a name`,
		},
		"two builders": {
			func(_ *topology.Builder, s *topology.KStream[string, string]) {
				s.Merge(topology.Stream(topology.NewBuilder(), "y", serde.String, serde.String))
			},
			`Merge: the two inputs belong to different builders`,
		},
		"unknown store": {
			func(_ *topology.Builder, s *topology.KStream[string, string]) {
				topology.Process(s, newForwarder, nil, nil, topology.WithStores("x"))
			},
			`WithStores: there is no store "x": declare it with AddStore, or As on a table`,
		},
		"unused store": {
			func(b *topology.Builder, _ *topology.KStream[string, string]) {
				b.AddStore(store.KeyValueSpec[string, string]("x", serde.String, serde.String))
			},
			`AddStore: no processor uses the store "x": connect it with WithStores`,
		},
		"store without a name": {
			func(b *topology.Builder, _ *topology.KStream[string, string]) { b.AddStore(store.Spec{}) },
			`AddStore: a store needs a name`,
		},
		"negative partitions": {
			func(_ *topology.Builder, s *topology.KStream[string, string]) { s.Repartition(topology.Partitions(-1)) },
			`Repartition: Partitions(-1): want a positive number`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := topology.NewBuilder()
			c.declare(b, topology.Stream(b, "in", serde.String, serde.String))
			plan, err := b.Build()
			require.Nil(t, plan)
			mistake, ok := errors.AsType[*topology.BuildError](err)
			require.True(t, ok)
			file, line, _ := strings.Cut(filepath.Base(mistake.Position), ":")
			require.Equal(t, "builder_test.go", file)
			var n int
			_, scanErr := fmt.Sscan(line, &n)
			require.NoError(t, scanErr)
			before := fmt.Sprintf("%s:%d", strings.TrimSuffix(mistake.Position, ":"+line), n-1)
			want := strings.ReplaceAll(c.want, "HERE-1", before)
			require.Equal(t, "topology: "+mistake.Position+": "+want, err.Error())
		})
	}
}

func newForwarder() processor.Processor[string, string, string, string] {
	return processor.Func[string, string, string, string](
		func(ctx processor.Context[string, string], r record.Record[string, string]) error {
			return ctx.Forward(r)
		})
}

func TestBuildReportsAllMistakes(t *testing.T) {
	b := topology.NewBuilder()
	s := topology.Stream[string, string](b, "in", nil, nil)
	s.Filter(nil).To("")
	_, err := b.Build()
	require.Len(t, strings.Split(err.Error(), "\n"), 6, err)
	_, _, line, _ := runtime.Caller(0)
	require.Contains(t, err.Error(), fmt.Sprintf("builder_test.go:%d: Stream: no key serde", line-4))
	require.Contains(t, err.Error(), fmt.Sprintf("builder_test.go:%d: To: a topic needs a name", line-3))
	require.Panics(t, func() { b.MustBuild() })
}

func TestEmptyTopology(t *testing.T) {
	_, err := topology.NewBuilder().Build()
	require.ErrorContains(t, err, "nothing was declared")
}

func TestBuildMayBeRepeated(t *testing.T) {
	b := wordCount()
	first, second := b.MustBuild(), b.MustBuild()
	require.Equal(t, first.Fingerprint(), second.Fingerprint())
	topology.Stream(b, "more", serde.String, serde.String).To("elsewhere")
	third := b.MustBuild()
	require.NotEqual(t, first.Fingerprint(), third.Fingerprint())
	require.Len(t, first.Subtopologies, 2)
	require.Len(t, third.Subtopologies, 3)
}

// TestPlanDoesNotChangeWithItsBuilder declares, after a plan was built, something that gives its table a store.
func TestPlanDoesNotChangeWithItsBuilder(t *testing.T) {
	b := topology.NewBuilder()
	rows := topology.Table(b, "in", serde.String, serde.String)
	rows.ToStream().To("out")
	before := b.MustBuild()
	swap := func(k, v string) (string, string) { return v, k }
	topology.CountTable(topology.GroupTableBy(rows, swap, nil, nil), topology.As("n"))
	require.Empty(t, before.Stores)
	d, err := start(t, before, false)
	require.NoError(t, err)
	d.pipe("in", kv("k", "v", 1))
	require.Equal(t, []string{"k=v@1"}, d.take("out", text))
}

func TestStoresStandInTheOrderOfTheirUsers(t *testing.T) {
	b := topology.NewBuilder()
	rows := topology.Table(b, "in", serde.String, serde.String)
	yes := func(string, string) bool { return true }
	below := rows.Filter(yes, topology.As("below"))
	topology.CountTable(topology.GroupTableBy(rows, func(k, v string) (string, string) { return v, k }, nil, nil),
		topology.As("n"))
	below.ToStream().To("out")
	var names []string
	for _, s := range b.MustBuild().Stores {
		names = append(names, s.Name)
	}
	require.Equal(t, []string{"in-STATE-STORE-0000000000", "below", "n"}, names)
}

func TestSameTopicReadTwiceIsDecodedOnce(t *testing.T) {
	b := topology.NewBuilder()
	topology.Stream(b, "in", serde.String, serde.String).To("a")
	topology.Table(b, "in", serde.String, serde.String, topology.As("rows")).ToStream().To("b")
	plan := b.MustBuild()
	require.Len(t, plan.Subtopologies, 1)
	require.Equal(t, []string{"in"}, plan.Subtopologies[0].SourceTopics)
	require.Equal(t, []string{"a", "b"}, plan.Subtopologies[0].SinkTopics)
	d := run(t, b, false)
	d.pipe("in", kv("k", "v", 1))
	require.Equal(t, []string{"k=v@1"}, d.take("a", text))
	require.Equal(t, []string{"k=v@1"}, d.take("b", text))
}

func TestSubtopologiesAreConnectedByStores(t *testing.T) {
	b := topology.NewBuilder()
	b.AddStore(store.KeyValueSpec[string, string]("shared", serde.String, serde.String))
	one := topology.Stream(b, "one", serde.String, serde.String)
	two := topology.Stream(b, "two", serde.String, serde.String)
	topology.Stream(b, "three", serde.String, serde.String).To("out")
	topology.Process(two, newForwarder, nil, nil, topology.WithStores("shared", "shared"))
	topology.Process(one, newForwarder, nil, nil, topology.WithStores("shared"))
	plan := b.MustBuild()
	require.Len(t, plan.Subtopologies, 2)
	require.Equal(t, []string{"one", "two"}, plan.Subtopologies[0].SourceTopics)
	require.Equal(t, "shared", plan.Subtopologies[0].Stores[0].Name)
	require.Equal(t, []string{"three"}, plan.Subtopologies[1].SourceTopics)
	require.Empty(t, plan.Subtopologies[1].Stores)
}

func TestStoreOptionsReachThePlan(t *testing.T) {
	b := topology.NewBuilder()
	s := topology.Stream(b, "in", serde.String, serde.String)
	topology.Count(s.GroupByKey(), topology.As("plain"))
	topology.Count(s.GroupByKey(), topology.As("tuned"), topology.WithoutCaching(), topology.WithoutLogging(),
		topology.InMemory(), topology.ChangelogConfig(map[string]string{"segment.ms": "1"}),
		topology.ChangelogConfig(map[string]string{"retention.ms": "2"}))
	plan := b.MustBuild()
	require.True(t, plan.Stores[0].CachingEnabled)
	require.False(t, plan.Stores[0].LoggingDisabled)
	tuned := plan.Stores[1]
	require.False(t, tuned.CachingEnabled)
	require.True(t, tuned.LoggingDisabled)
	require.True(t, tuned.InMemory)
	require.Equal(t, map[string]string{"segment.ms": "1", "retention.ms": "2"}, tuned.ChangelogConfig)
	require.Contains(t, tuned.Position, "builder_test.go:")
}

func TestRepartitionOnlyWhereTheKeyMayHaveChanged(t *testing.T) {
	for name, c := range map[string]struct {
		group func(s *topology.KStream[string, string]) *topology.KGroupedStream[string, string]
		want  string // the repartition topic
	}{
		"key as read": {func(s *topology.KStream[string, string]) *topology.KGroupedStream[string, string] {
			return topology.MapValues(s, identity, nil).Filter(func(string, string) bool { return true }).GroupByKey()
		}, ""},
		"key selected": {func(s *topology.KStream[string, string]) *topology.KGroupedStream[string, string] {
			return topology.SelectKey(s, func(_, v string) string { return v }, nil).Peek(func(string, string) {}).GroupByKey()
		}, "x-repartition"},
		"named group": {func(s *topology.KStream[string, string]) *topology.KGroupedStream[string, string] {
			return topology.GroupBy(s, func(_, v string) string { return v }, nil, topology.Named("g"))
		}, "g-repartition"},
		"processed": {func(s *topology.KStream[string, string]) *topology.KGroupedStream[string, string] {
			return topology.Process(s, newForwarder, nil, nil).GroupByKey()
		}, "x-repartition"},
		"merged": {func(s *topology.KStream[string, string]) *topology.KGroupedStream[string, string] {
			return s.Merge(topology.SelectKey(s, func(_, v string) string { return v }, nil)).GroupByKey()
		}, "x-repartition"},
		"repartitioned already": {func(s *topology.KStream[string, string]) *topology.KGroupedStream[string, string] {
			s = topology.SelectKey(s, func(_, v string) string { return v }, nil)
			return s.Repartition(topology.Named("r"), topology.Partitions(3)).GroupByKey()
		}, "r-repartition"},
	} {
		t.Run(name, func(t *testing.T) {
			b := topology.NewBuilder()
			topology.Count(c.group(topology.Stream(b, "in", serde.String, serde.String)), topology.As("x"))
			plan := b.MustBuild()
			if c.want == "" {
				require.Empty(t, plan.Repartitions)
				return
			}
			require.Len(t, plan.Repartitions, 1)
			require.Equal(t, c.want, plan.Repartitions[0].Name)
		})
	}
}

func TestNamedGroupSharesItsRepartitionTopic(t *testing.T) {
	b := topology.NewBuilder()
	s := topology.Stream(b, "in", serde.String, serde.String)
	g := topology.GroupBy(s, func(_, v string) string { return v }, nil, topology.Named("g"))
	topology.Count(g, topology.As("a")).ToStream().To("counts")
	topology.Reduce(g, func(a, v string) string { return a + v }, topology.As("b")).ToStream().To("joined")
	require.Len(t, b.MustBuild().Repartitions, 1)
	d := run(t, b, false)
	d.pipe("in", kv("x", "k", 1))
	d.pipe("in", kv("y", "k", 2))
	require.Equal(t, []string{"k=1@1", "k=2@2"}, d.take("counts", number))
	require.Equal(t, []string{"k=k@1", "k=kk@2"}, d.take("joined", text))
}
