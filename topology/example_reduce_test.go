package topology_test

import (
	"os"

	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/topology"
)

// The longest item that a customer ordered; the first record is taken as it is.
func ExampleReduce() {
	b := topology.NewBuilder()
	orders := topology.Stream(b, "orders", serde.String, serde.String)
	topology.Reduce(orders.GroupByKey(), func(longest, item string) string {
		if len(item) > len(longest) {
			return item
		}
		return longest
	}, topology.As("longest")).ToStream().Print(os.Stdout, topology.WithLabel("longest"))
	pipe(b, "orders", "ann=tea", "ann=milk", "ann=salt")
	// Output:
	// [longest]: ann, tea
	// [longest]: ann, milk
	// [longest]: ann, milk
}
