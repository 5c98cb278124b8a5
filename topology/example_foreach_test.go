package topology_test

import (
	"fmt"

	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/topology"
)

func ExampleKStream_Foreach() {
	b := topology.NewBuilder()
	topology.Stream(b, "orders", serde.String, serde.String).
		Foreach(func(customer, item string) { fmt.Println(customer, "wants", item) })
	pipe(b, "orders", "ann=tea")
	// Output:
	// ann wants tea
}
