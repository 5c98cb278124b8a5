package topology_test

import (
	"fmt"

	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/topology"
)

// Orders per item, whose key is the customer: the groups go through a repartition topic, named by Named.
func ExampleGroupBy() {
	b := topology.NewBuilder()
	orders := topology.Stream(b, "orders", serde.String, serde.String)
	byItem := topology.GroupBy(orders, func(_, item string) string { return item }, serde.String,
		topology.Named("by-item"))
	topology.Count(byItem, topology.As("orders-per-item")).ToStream().
		Foreach(func(item string, n int64) { fmt.Println(item, n) })
	pipe(b, "orders", "ann=tea", "bob=milk", "bob=tea")
	// Output:
	// tea 1
	// milk 1
	// tea 2
}
