package topology_test

import (
	"os"
	"strings"

	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/topology"
)

// Key and value change places.
func ExampleMap() {
	b := topology.NewBuilder()
	orders := topology.Stream(b, "orders", serde.String, serde.String)
	topology.Map(orders, func(customer, item string) (string, string) { return item, customer },
		serde.String, serde.String).Print(os.Stdout, topology.WithLabel("sold"))
	pipe(b, "orders", "ann=tea", "bob=milk")
	// Output:
	// [sold]: tea, ann
	// [sold]: milk, bob
}

func ExampleMapValuesWithKey() {
	b := topology.NewBuilder()
	orders := topology.Stream(b, "orders", serde.String, serde.String)
	topology.MapValuesWithKey(orders, func(customer, item string) string {
		return strings.ToUpper(item) + " for " + customer
	}, serde.String).Print(os.Stdout, topology.WithLabel("order"))
	pipe(b, "orders", "ann=tea", "bob=milk")
	// Output:
	// [order]: ann, TEA for ann
	// [order]: bob, MILK for bob
}
