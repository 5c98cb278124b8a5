package topology_test

import (
	"fmt"
	"time"

	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/tidemarktest"
	"github.com/tidemarkio/tidemark/topology"
)

// Orders meet payments of the same customer that come within five minutes of them.
func ExampleJoin() {
	b := topology.NewBuilder()
	orders := topology.Stream(b, "orders", serde.String, serde.String)
	payments := topology.Stream(b, "payments", serde.String, serde.Int64)
	topology.Join(orders, payments,
		func(order string, paid int64) string { return fmt.Sprintf("%s for %d", order, paid) },
		topology.Within(5*time.Minute).Grace(time.Minute), nil, topology.As("orders-with-payments")).To("paid")

	d, err := tidemarktest.Open(b)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer d.Close()
	order := tidemarktest.Input(d, "orders", serde.String, serde.String)
	pay := tidemarktest.Input(d, "payments", serde.String, serde.Int64)
	at := func(d time.Duration) int64 { return d.Milliseconds() }

	order.Pipe("ann", "tea", at(10*time.Minute))
	pay.Pipe("bob", 3, at(11*time.Minute))
	pay.Pipe("ann", 5, at(12*time.Minute))
	order.Pipe("ann", "milk", at(17*time.Minute))
	order.Pipe("ann", "salt", at(18*time.Minute)) // too far from the payment
	for _, r := range tidemarktest.Output(d, "paid", serde.String, serde.String).ReadAll() {
		fmt.Println(r.Key, r.Value, time.Duration(r.Timestamp)*time.Millisecond)
	}
	// Output:
	// ann tea for 5 12m0s
	// ann milk for 5 17m0s
}
