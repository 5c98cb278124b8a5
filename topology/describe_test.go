package topology_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/topology"
)

func TestDescribe(t *testing.T) {
	require.Equal(t, `Topologies:
   Sub-topology: 0
    Source: KSTREAM-SOURCE-0000000000 (topics: [lines])
      --> KSTREAM-FLATMAPVALUES-0000000001
    Processor: KSTREAM-FLATMAPVALUES-0000000001 (stores: [])
      --> by-word
      <-- KSTREAM-SOURCE-0000000000
    Processor: by-word (stores: [])
      --> by-word-repartition-filter
      <-- KSTREAM-FLATMAPVALUES-0000000001
    Processor: by-word-repartition-filter (stores: [])
      --> by-word-repartition-sink
      <-- by-word
    Sink: by-word-repartition-sink (topic: by-word-repartition)
      <-- by-word-repartition-filter

  Sub-topology: 1
    Source: by-word-repartition-source (topics: [by-word-repartition])
      --> KSTREAM-AGGREGATE-0000000002
    Processor: KSTREAM-AGGREGATE-0000000002 (stores: [counts])
      --> KTABLE-TOSTREAM-0000000006
      <-- by-word-repartition-source
    Processor: KTABLE-TOSTREAM-0000000006 (stores: [])
      --> KSTREAM-SINK-0000000007
      <-- KSTREAM-AGGREGATE-0000000002
    Sink: KSTREAM-SINK-0000000007 (topic: word-counts)
      <-- KTABLE-TOSTREAM-0000000006

`, topology.Describe(wordCount().MustBuild()))
}

// TestDescribeGeneratedNames compares with what Kafka Streams 4.1 prints for the same program.
func TestDescribeGeneratedNames(t *testing.T) {
	b := topology.NewBuilder()
	lines := topology.Stream(b, "streams-plaintext-input", serde.String, serde.String)
	words := topology.FlatMapValues(lines, strings.Fields, serde.String)
	topology.Count(topology.GroupBy(words, func(_, w string) string { return w }, nil)).
		ToStream().To("streams-wordcount-output")
	got := topology.Describe(b.MustBuild())
	for _, line := range []string{
		"    Processor: KSTREAM-KEY-SELECT-0000000002 (stores: [])\n      --> KSTREAM-FILTER-0000000006\n",
		"    Sink: KSTREAM-SINK-0000000005 (topic: KSTREAM-AGGREGATE-STATE-STORE-0000000003-repartition)\n",
		"    Source: KSTREAM-SOURCE-0000000007 (topics: [KSTREAM-AGGREGATE-STATE-STORE-0000000003-repartition])\n",
		"    Processor: KSTREAM-AGGREGATE-0000000004 (stores: [KSTREAM-AGGREGATE-STATE-STORE-0000000003])\n",
		"    Processor: KTABLE-TOSTREAM-0000000008 (stores: [])\n",
		"    Sink: KSTREAM-SINK-0000000009 (topic: streams-wordcount-output)\n",
	} {
		require.Contains(t, got, line)
	}
}

func TestMermaid(t *testing.T) {
	require.Equal(t, `flowchart TD
  subgraph sub0["sub-topology 0"]
    n0["KSTREAM-SOURCE-0000000000"]
    n1["KSTREAM-FLATMAPVALUES-0000000001"]
    n2["by-word"]
    n3["by-word-repartition-filter"]
    n4["by-word-repartition-sink"]
  end
  subgraph sub1["sub-topology 1"]
    n5["by-word-repartition-source"]
    n6["KSTREAM-AGGREGATE-0000000002"]
    n7["KTABLE-TOSTREAM-0000000006"]
    n8["KSTREAM-SINK-0000000007"]
    s9[("counts")]
  end
  t10(["lines"])
  t10 --> n0
  n0 --> n1
  n1 --> n2
  n2 --> n3
  n3 --> n4
  t11(["by-word-repartition"])
  n4 --> t11
  t11 --> n5
  n5 --> n6
  n6 --> n7
  n6 -.- s9
  n7 --> n8
  t12(["word-counts"])
  n8 --> t12
`, topology.Mermaid(wordCount().MustBuild()))
}
