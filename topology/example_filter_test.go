package topology_test

import (
	"os"

	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/topology"
)

func ExampleKStream_Filter() {
	b := topology.NewBuilder()
	topology.Stream(b, "orders", serde.String, serde.String).
		Filter(func(_, item string) bool { return item != "test" }).
		Print(os.Stdout, topology.WithLabel("order"))
	pipe(b, "orders", "ann=tea", "bob=test", "bob=milk")
	// Output:
	// [order]: ann, tea
	// [order]: bob, milk
}

func ExampleKStream_FilterNot() {
	b := topology.NewBuilder()
	topology.Stream(b, "orders", serde.String, serde.String).
		FilterNot(func(_, item string) bool { return item == "test" }).
		Print(os.Stdout, topology.WithLabel("order"))
	pipe(b, "orders", "ann=tea", "bob=test", "bob=milk")
	// Output:
	// [order]: ann, tea
	// [order]: bob, milk
}
