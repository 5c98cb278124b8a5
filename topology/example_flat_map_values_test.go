package topology_test

import (
	"os"
	"strings"

	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/topology"
)

func ExampleFlatMapValues() {
	b := topology.NewBuilder()
	orders := topology.Stream(b, "orders", serde.String, serde.String)
	topology.FlatMapValues(orders, strings.Fields, serde.String).Print(os.Stdout, topology.WithLabel("item"))
	pipe(b, "orders", "ann=tea milk", "bob=salt")
	// Output:
	// [item]: ann, tea
	// [item]: ann, milk
	// [item]: bob, salt
}

func ExampleFlatMapValuesWithKey() {
	b := topology.NewBuilder()
	orders := topology.Stream(b, "orders", serde.String, serde.String)
	topology.FlatMapValuesWithKey(orders, func(customer, items string) []string {
		if customer == "test" {
			return nil
		}
		return strings.Fields(items)
	}, serde.String).Print(os.Stdout, topology.WithLabel("item"))
	pipe(b, "orders", "ann=tea milk", "test=salt")
	// Output:
	// [item]: ann, tea
	// [item]: ann, milk
}
