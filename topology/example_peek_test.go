package topology_test

import (
	"fmt"
	"os"

	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/topology"
)

func ExampleKStream_Peek() {
	b := topology.NewBuilder()
	topology.Stream(b, "orders", serde.String, serde.String).
		Peek(func(customer, _ string) { fmt.Println("an order of", customer) }).
		Print(os.Stdout, topology.WithLabel("order"))
	pipe(b, "orders", "ann=tea")
	// Output:
	// an order of ann
	// [order]: ann, tea
}
