package topology_test

import (
	"iter"
	"os"
	"strings"

	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/topology"
)

// One record per item, under the item.
func ExampleFlatMap() {
	b := topology.NewBuilder()
	orders := topology.Stream(b, "orders", serde.String, serde.String)
	topology.FlatMap(orders, func(customer, items string) iter.Seq2[string, string] {
		return func(yield func(item, customer string) bool) {
			for item := range strings.FieldsSeq(items) {
				if !yield(item, customer) {
					return
				}
			}
		}
	}, serde.String, serde.String).Print(os.Stdout, topology.WithLabel("item"))
	pipe(b, "orders", "ann=tea milk", "bob=salt")
	// Output:
	// [item]: tea, ann
	// [item]: milk, ann
	// [item]: salt, bob
}
