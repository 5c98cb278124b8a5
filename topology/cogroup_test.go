package topology_test

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/tidemarktest"
	"github.com/tidemarkio/tidemark/topology"
)

func appendedNumber(_ string, n int64, aggregate string) string {
	return aggregate + strconv.FormatInt(n, 10)
}

// numbersToo is a cogroup of texts and of the numbers of the topic "numbers".
func numbersToo(b *topology.Builder, g groupedInput) *topology.KCogroupedStream[string, string] {
	numbers := topology.Stream(b, "numbers", serde.String, serde.Int64).GroupByKey()
	return topology.CogroupWith(topology.Cogroup(g, appended), numbers, appendedNumber)
}

func TestCogroup(t *testing.T) {
	for _, caching := range []bool{false, true} {
		var opts []tidemarktest.Option
		if caching {
			opts = append(opts, tidemarktest.WithCaching())
		}
		b := topology.NewBuilder()
		numbersToo(b, topology.Stream(b, "in", serde.String, serde.String).GroupByKey()).
			Aggregate(nothing, serde.String, topology.As("all")).ToStream().To("out")
		d := tidemarktest.New(t, b, opts...)
		tidemarktest.Input(d, "in", serde.String, serde.String).Pipe("k", "a", 5)
		d.Commit()
		d.Crash()
		tidemarktest.Input(d, "numbers", serde.String, serde.Int64).Pipe("k", 7, 3)
		d.Commit()
		var got []string
		for _, r := range tidemarktest.Output(d, "out", serde.String, serde.String).ReadAll() {
			got = append(got, r.Value+"@"+strconv.FormatInt(r.Timestamp, 10))
		}
		require.Equal(t, []string{"a@5", "a7@5"}, got)
	}
}

func TestCogroupInWindows(t *testing.T) {
	const gap = 10 * time.Millisecond
	for name, c := range map[string]struct {
		aggregate func(*topology.Builder, groupedInput) windowedTable
		want      []string
	}{
		"tumbling": {func(b *topology.Builder, g groupedInput) windowedTable {
			return numbersToo(b, g).WindowedBy(topology.Tumbling(gap)).Aggregate(nothing, serde.String)
		}, []string{"k@0/10=a", "k@20/30=b", "k@0/10=7"}},
		"retained": {func(b *topology.Builder, g groupedInput) windowedTable {
			return numbersToo(b, g).WindowedBy(topology.Tumbling(gap)).
				Aggregate(nothing, serde.String, topology.Retention(time.Minute))
		}, []string{"k@0/10=a", "k@20/30=b", "k@0/10=a7"}},
		"sliding": {func(b *topology.Builder, g groupedInput) windowedTable {
			return numbersToo(b, g).WindowedBy(topology.Sliding(gap)).
				Aggregate(nothing, serde.String, topology.Retention(time.Minute))
		}, []string{"k@0/10=a", "k@10/20=b", "k@2/12=7", "k@0/10=a7"}},
		"sessions": {func(b *topology.Builder, g groupedInput) windowedTable {
			return numbersToo(b, g).SessionWindowedBy(topology.Session(gap)).
				Aggregate(nothing, joinText, serde.String, topology.Retention(time.Minute))
		}, []string{"k@1/1=a", "k@20/20=b", "k@1/1=", "k@1/3=a7"}},
		"counted": {func(b *topology.Builder, g groupedInput) windowedTable {
			return numbersToo(b, g).WindowedBy(topology.CountWindows(3)).Aggregate(nothing, serde.String)
		}, []string{"k@0/3=ab7"}},
	} {
		t.Run(name, func(t *testing.T) {
			d := runWindowed(t, c.aggregate)
			d.pipe("k", "a", 1)
			d.pipe("k", "b", 20) // closes nothing for the numbers
			d.Commit()
			d.Crash()
			tidemarktest.Input(d.Driver, "numbers", serde.String, serde.Int64).Pipe("k", 7, 3)
			require.Equal(t, c.want, d.take())
		})
	}
}

// Names are Kafka Streams', each input has a repartition topic, and late records of each type can be had.
func TestCogroupNamesAndTopics(t *testing.T) {
	b := topology.NewBuilder()
	rekeyed := func(topic string) groupedInput {
		s := topology.Stream(b, topic, serde.String, serde.String)
		return topology.GroupBy(s, func(_, v string) string { return v }, nil)
	}
	numbersToo := topology.CogroupWith(topology.Cogroup(rekeyed("a"), appended),
		topology.Stream(b, "numbers", serde.String, serde.Int64).GroupByKey(), appendedNumber)
	topology.CogroupWith(numbersToo, rekeyed("b"), appended).
		WindowedBy(topology.Tumbling(time.Second)).
		Aggregate(nothing, serde.String,
			topology.LateRecords(func(late *topology.KStream[string, int64]) { late.To("late-numbers") }))
	text := topology.Describe(b.MustBuild())
	for _, want := range []string{
		"stores: [COGROUPKSTREAM-AGGREGATE-STATE-STORE-0000000005]",
		"topics: [COGROUPKSTREAM-AGGREGATE-STATE-STORE-0000000005-repartition]",
		"topics: [COGROUPKSTREAM-AGGREGATE-STATE-STORE-0000000005-2-repartition]",
		"COGROUPKSTREAM-AGGREGATE-0000000012", "COGROUPKSTREAM-AGGREGATE-0000000013", "COGROUPKSTREAM-AGGREGATE-0000000014",
		"COGROUPKSTREAM-MERGE-0000000015", "Processor: COGROUPKSTREAM-AGGREGATE-0000000013-late",
	} {
		require.Contains(t, text, want)
	}

	b = topology.NewBuilder()
	topology.Cogroup(topology.Stream(b, "a", serde.String, serde.String).GroupByKey(), appended).
		Aggregate(nothing, serde.String, topology.Named("all"))
	text = topology.Describe(b.MustBuild())
	require.Contains(t, text, "all-cogroup-agg-0")
	require.Contains(t, text, "all-cogroup-merge")
	require.Equal(t, 1, strings.Count(text, "Sub-topology"))
}
