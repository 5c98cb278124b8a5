package topology_test

import (
	"os"

	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/topology"
)

// A row that no longer passes is deleted from the result.
func ExampleKTable_Filter() {
	b := topology.NewBuilder()
	topology.Table(b, "stock", serde.String, serde.String).
		Filter(func(_, shelf string) bool { return shelf != "none" }, topology.As("in-stock")).
		ToStream().Print(os.Stdout, topology.WithLabel("stock"))
	pipe(b, "stock", "tea=shelf 7", "tea=none", "tea=shelf 8")
	// Output:
	// [stock]: tea, shelf 7
	// [stock]: tea, null
	// [stock]: tea, shelf 8
}

func ExampleKTable_FilterNot() {
	b := topology.NewBuilder()
	topology.Table(b, "stock", serde.String, serde.String).
		FilterNot(func(_, shelf string) bool { return shelf == "none" }, topology.As("in-stock")).
		ToStream().Print(os.Stdout, topology.WithLabel("stock"))
	pipe(b, "stock", "tea=shelf 7", "tea=none")
	// Output:
	// [stock]: tea, shelf 7
	// [stock]: tea, null
}
