package tidemark_test

import (
	"fmt"
	"strings"

	"github.com/tidemarkio/tidemark"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/topology"
)

// A word count: New takes the builder, and Describe shows what will run, in Kafka Streams' form.
func Example() {
	b := topology.NewBuilder()
	lines := topology.Stream(b, "lines", serde.String, serde.String)
	words := topology.FlatMapValues(lines, strings.Fields, serde.String)
	counts := topology.Count(topology.GroupBy(words, func(_, word string) string { return word }, serde.String),
		topology.As("counts"))
	counts.ToStream().To("word-counts")
	plan, err := b.Build()
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Print(topology.Describe(plan))
	// Output:
	// Topologies:
	//    Sub-topology: 0
	//     Source: KSTREAM-SOURCE-0000000000 (topics: [lines])
	//       --> KSTREAM-FLATMAPVALUES-0000000001
	//     Processor: KSTREAM-FLATMAPVALUES-0000000001 (stores: [])
	//       --> KSTREAM-KEY-SELECT-0000000002
	//       <-- KSTREAM-SOURCE-0000000000
	//     Processor: KSTREAM-KEY-SELECT-0000000002 (stores: [])
	//       --> counts-repartition-filter
	//       <-- KSTREAM-FLATMAPVALUES-0000000001
	//     Processor: counts-repartition-filter (stores: [])
	//       --> counts-repartition-sink
	//       <-- KSTREAM-KEY-SELECT-0000000002
	//     Sink: counts-repartition-sink (topic: counts-repartition)
	//       <-- counts-repartition-filter
	//
	//   Sub-topology: 1
	//     Source: counts-repartition-source (topics: [counts-repartition])
	//       --> KSTREAM-AGGREGATE-0000000003
	//     Processor: KSTREAM-AGGREGATE-0000000003 (stores: [counts])
	//       --> KTABLE-TOSTREAM-0000000007
	//       <-- counts-repartition-source
	//     Processor: KTABLE-TOSTREAM-0000000007 (stores: [])
	//       --> KSTREAM-SINK-0000000008
	//       <-- KSTREAM-AGGREGATE-0000000003
	//     Sink: KSTREAM-SINK-0000000008 (topic: word-counts)
	//       <-- KTABLE-TOSTREAM-0000000007
}

// Mistakes are reported by New, all of them at once.
func ExampleNew() {
	b := topology.NewBuilder()
	topology.Stream(b, "in", serde.String, serde.String).To("out")
	_, err := tidemark.New(b, tidemark.Config{StateDir: "/var/lib/app", Compression: "zip"})
	fmt.Println(err)
	// Output:
	// tidemark: Config.ApplicationID = "": want 1 to 100 letters, digits, '.', '_' or '-'
	// tidemark: Config.Brokers = []: want at least one host:port
	// tidemark: Config.Compression = zip: want none, gzip, snappy, lz4 or zstd
}
