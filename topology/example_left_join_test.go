package topology_test

import (
	"fmt"
	"time"

	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/tidemarktest"
	"github.com/tidemarkio/tidemark/topology"
)

// An order without a payment is reported once no payment can come any more, as any later record tells.
func ExampleLeftJoin() {
	b := topology.NewBuilder()
	orders := topology.Stream(b, "orders", serde.String, serde.String)
	payments := topology.Stream(b, "payments", serde.String, serde.Int64)
	topology.LeftJoin(orders, payments,
		func(order string, paid topology.Optional[int64]) string {
			if !paid.Present {
				return order + " unpaid"
			}
			return fmt.Sprintf("%s for %d", order, paid.Value)
		},
		topology.Within(5*time.Minute).Before(0), nil).To("out")

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
	order.Pipe("bob", "milk", at(11*time.Minute))
	pay.Pipe("bob", 3, at(12*time.Minute))
	order.Pipe("cid", "salt", at(17*time.Minute))
	for _, r := range tidemarktest.Output(d, "out", serde.String, serde.String).ReadAll() {
		fmt.Println(r.Key, r.Value, time.Duration(r.Timestamp)*time.Millisecond)
	}
	// Output:
	// bob milk for 3 12m0s
	// ann tea unpaid 10m0s
}
