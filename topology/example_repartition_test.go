package topology_test

import (
	"os"

	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/topology"
)

// Records go through a topic of six partitions, so that what is below runs in six tasks.
func ExampleKStream_Repartition() {
	b := topology.NewBuilder()
	orders := topology.Stream(b, "orders", serde.String, serde.String)
	topology.SelectKey(orders, func(_, item string) string { return item }, serde.String).
		Repartition(topology.Named("orders-by-item"), topology.Partitions(6)).
		Print(os.Stdout, topology.WithLabel("order"))
	pipe(b, "orders", "ann=tea", "bob=milk")
	// Output:
	// [order]: tea, tea
	// [order]: milk, milk
}
