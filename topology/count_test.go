package topology_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/topology"
)

// wordCount is the example of the user's view.
func wordCount() *topology.Builder {
	b := topology.NewBuilder()
	declareWordCount(b)
	return b
}

func declareWordCount(b *topology.Builder) {
	lines := topology.Stream(b, "lines", serde.String, serde.String)
	words := topology.FlatMapValues(lines, strings.Fields, serde.String)
	counts := topology.Count(
		topology.GroupBy(words, func(_, w string) string { return w }, serde.String, topology.Named("by-word")),
		topology.As("counts"))
	counts.ToStream().To("word-counts")
}

func TestWordCount(t *testing.T) {
	d := run(t, wordCount(), false)
	d.pipe("lines", kv("-", "to be or not to be", 10))
	require.Equal(t, []string{"to=1@10", "be=1@10", "or=1@10", "not=1@10", "to=2@10", "be=2@10"},
		d.take("word-counts", number))
	d.pipe("lines", kv("-", "be", 5))
	require.Equal(t, []string{"be=3@10"}, d.take("word-counts", number), "the timestamp is the highest")
}

func TestCountWithCacheForwardsTheLastUpdate(t *testing.T) {
	d := run(t, wordCount(), true)
	d.pipe("lines", kv("-", "to be or not to be", 10))
	require.Empty(t, d.take("word-counts", number))
	d.flush()
	require.Equal(t, []string{"or=1@10", "not=1@10", "to=2@10", "be=2@10"}, d.take("word-counts", number))
	d.flush()
	require.Empty(t, d.take("word-counts", number))
}

func TestCountDropsNulls(t *testing.T) {
	b := topology.NewBuilder()
	s := topology.Stream(b, "in", serde.String, serde.String)
	topology.Count(s.GroupByKey()).ToStream().To("out")
	d := run(t, b, false)
	d.pipe("in", kv("-", "v", 1))
	d.pipe("in", kv("k", "-", 2))
	d.pipe("in", kv("", "", 3))
	require.Equal(t, []string{"=1@3"}, d.take("out", number))
	require.Len(t, d.dropped, 2)
}
