package topology_test

import (
	"fmt"

	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/topology"
)

// The same topology as a graph for Graphviz; Mermaid draws it for Markdown, Describe in Kafka Streams' words.
func ExampleDOT() {
	b := topology.NewBuilder()
	topology.Table(b, "prices", serde.String, serde.Int64, topology.As("prices"))
	fmt.Print(topology.DOT(b.MustBuild()))
	// Output:
	// digraph topology {
	//   node [shape=box, fontname="sans-serif"];
	//   subgraph cluster_0 {
	//     label="sub-topology 0";
	//     "node KSTREAM-SOURCE-0000000000" [label="KSTREAM-SOURCE-0000000000"];
	//     "node KTABLE-SOURCE-0000000001" [label="KTABLE-SOURCE-0000000001"];
	//     "store prices" [label="prices", shape=cylinder];
	//   }
	//   "topic prices" [label="prices", shape=ellipse];
	//   "topic prices" -> "node KSTREAM-SOURCE-0000000000";
	//   "node KSTREAM-SOURCE-0000000000" -> "node KTABLE-SOURCE-0000000001";
	//   "node KTABLE-SOURCE-0000000001" -> "store prices" [dir=none, style=dotted];
	// }
}

// A description is plain data, for tools.
func ExampleNewDescription() {
	b := topology.NewBuilder()
	topology.Table(b, "prices", serde.String, serde.Int64, topology.As("prices"), topology.InMemory())
	d := topology.NewDescription(b.MustBuild())
	for _, s := range d.Stores {
		fmt.Println(s.Name, s.Type, s.ValueSerde, s.Changelog, "in memory:", s.InMemory)
	}
	// Output:
	// prices key-value serde.int64Serde prices-changelog in memory: true
}
