package topology_test

import (
	"fmt"
	"strconv"

	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/tidemarktest"
	"github.com/tidemarkio/tidemark/topology"
)

// One history per customer, of two topics with different types.
func ExampleCogroup() {
	b := topology.NewBuilder()
	orders := topology.Stream(b, "orders", serde.String, serde.String).GroupByKey()
	payments := topology.Stream(b, "payments", serde.String, serde.Int64).GroupByKey()
	history := topology.Cogroup(orders, func(_, order, history string) string {
		return history + " ordered " + order
	})
	history = topology.CogroupWith(history, payments, func(_ string, cents int64, history string) string {
		return history + " paid " + strconv.FormatInt(cents, 10)
	})
	history.Aggregate(func() string { return "" }, serde.String, topology.As("histories")).ToStream().To("out")

	d, err := tidemarktest.Open(b)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer d.Close()
	tidemarktest.Input(d, "orders", serde.String, serde.String).Pipe("ann", "tea", 1)
	tidemarktest.Input(d, "payments", serde.String, serde.Int64).Pipe("ann", 350, 2)
	for _, r := range tidemarktest.Output(d, "out", serde.String, serde.String).ReadAll() {
		fmt.Println(r.Key + ":" + r.Value)
	}
	// Output:
	// ann: ordered tea
	// ann: ordered tea paid 350
}
