package topology_test

import (
	"fmt"

	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/topology"
)

// Orders per customer, which is the key already: nothing is repartitioned.
func ExampleKStream_GroupByKey() {
	b := topology.NewBuilder()
	orders := topology.Stream(b, "orders", serde.String, serde.String)
	topology.Count(orders.GroupByKey(), topology.As("orders-per-customer")).ToStream().
		Foreach(func(customer string, n int64) { fmt.Println(customer, n) })
	pipe(b, "orders", "ann=tea", "bob=milk", "bob=tea")
	// Output:
	// ann 1
	// bob 1
	// bob 2
}
