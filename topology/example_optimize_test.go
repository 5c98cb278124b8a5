package topology_test

import (
	"fmt"

	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/topology"
)

// Two aggregations of one stream with a new key share a repartition topic, and a table is restored from its own topic.
func ExampleOptimizeAll() {
	declare := func(opts ...topology.BuilderOption) {
		b := topology.NewBuilder(opts...)
		byItem := topology.SelectKey(topology.Stream(b, "orders", serde.String, serde.String),
			func(_, item string) string { return item }, nil)
		topology.Count(byItem.GroupByKey(), topology.As("counts"))
		topology.Reduce(byItem.GroupByKey(), func(_, last string) string { return last }, topology.As("last"))
		topology.Table(b, "prices", serde.String, serde.Int64, topology.As("prices"))
		plan := b.MustBuild()
		for _, r := range plan.Repartitions {
			fmt.Println("topic", r.Name)
		}
		for _, s := range plan.Stores {
			if s.SourceTopic != "" {
				fmt.Println("store", s.Name, "is restored from the topic", s.SourceTopic)
			}
		}
	}
	declare()
	fmt.Println("optimized:")
	declare(topology.OptimizeAll())
	// Output:
	// topic counts-repartition
	// topic last-repartition
	// optimized:
	// topic counts-repartition
	// store prices is restored from the topic prices
}
