package topology_test

import (
	"fmt"

	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/topology"
)

func ExampleAggregate() {
	b := topology.NewBuilder()
	orders := topology.Stream(b, "orders", serde.String, serde.String).GroupByKey()
	topology.Aggregate(orders,
		func() int64 { return 0 },
		func(_, item string, letters int64) int64 { return letters + int64(len(item)) },
		serde.Int64, topology.As("letters")).ToStream().
		Foreach(func(customer string, letters int64) { fmt.Println(customer, letters) })
	pipe(b, "orders", "ann=tea", "bob=milk", "ann=salt")
	// Output:
	// ann 3
	// bob 4
	// ann 7
}
