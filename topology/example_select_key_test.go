package topology_test

import (
	"os"

	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/topology"
)

// The key is derived from the record; a grouping or join below goes through a repartition topic.
func ExampleSelectKey() {
	b := topology.NewBuilder()
	orders := topology.Stream(b, "orders", serde.String, serde.String)
	topology.SelectKey(orders, func(_, item string) string { return item[:1] }, serde.String).
		Print(os.Stdout, topology.WithLabel("order"))
	pipe(b, "orders", "ann=tea", "bob=milk")
	// Output:
	// [order]: t, tea
	// [order]: m, milk
}
