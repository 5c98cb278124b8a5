package topology_test

import (
	"fmt"

	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/topology"
)

// A store got another name and an operator was inserted above. tidemark.DiffStored compares like this with what an
// application runs.
func ExampleDiff() {
	declare := func(store string, above bool) *topology.Description {
		b := topology.NewBuilder()
		orders := topology.Stream(b, "orders", serde.String, serde.String)
		if above {
			orders = orders.Filter(func(_, item string) bool { return item != "" })
		}
		byItem := topology.GroupBy(orders, func(_, item string) string { return item }, nil, topology.Named("by-item"))
		topology.Count(byItem, topology.As(store))
		return topology.NewDescription(b.MustBuild())
	}
	changes := topology.Diff(declare("counts", false), declare("item-counts", true))
	for _, c := range changes {
		fmt.Println(c.Effect, c.Subject, c.Name)
	}
	fmt.Println()
	fmt.Println(changes.With(topology.Keeps)[0])
	// Output:
	// loses store counts
	// adds store item-counts
	// keeps repartition topic by-item-repartition
	// keeps input topic orders
	//
	// keeps  repartition topic by-item-repartition: records that are in it are processed
}
