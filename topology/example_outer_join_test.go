package topology_test

import (
	"fmt"
	"time"

	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/tidemarktest"
	"github.com/tidemarkio/tidemark/topology"
)

// Orders without a payment and payments without an order are both reported.
func ExampleOuterJoin() {
	b := topology.NewBuilder()
	orders := topology.Stream(b, "orders", serde.String, serde.String)
	payments := topology.Stream(b, "payments", serde.String, serde.String)
	topology.OuterJoin(orders, payments,
		func(order, paid topology.Optional[string]) string {
			return order.Or("nothing") + " for " + paid.Or("nothing")
		},
		topology.Within(5*time.Minute), nil).To("out")

	d, err := tidemarktest.Open(b)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer d.Close()
	order := tidemarktest.Input(d, "orders", serde.String, serde.String)
	pay := tidemarktest.Input(d, "payments", serde.String, serde.String)
	at := func(d time.Duration) int64 { return d.Milliseconds() }

	order.Pipe("ann", "tea", at(10*time.Minute))
	pay.Pipe("bob", "three", at(11*time.Minute))
	pay.Pipe("ann", "five", at(30*time.Minute))
	for _, r := range tidemarktest.Output(d, "out", serde.String, serde.String).ReadAll() {
		fmt.Println(r.Key, r.Value, time.Duration(r.Timestamp)*time.Millisecond)
	}
	// Output:
	// ann tea for nothing 10m0s
	// bob nothing for three 11m0s
}
