package topology_test

import (
	"fmt"
	"time"

	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/tidemarktest"
	"github.com/tidemarkio/tidemark/topology"
)

// Orders wait a second for prices that come late, and leave in the order of their times.
func ExampleJoinGrace() {
	b := topology.NewBuilder()
	prices := topology.Table(b, "prices", serde.String, serde.Int64,
		topology.As("prices"), topology.Versioned(time.Hour))
	orders := topology.Stream(b, "orders", serde.String, serde.Int64)
	topology.JoinTable(orders, prices, func(pieces, price int64) int64 { return pieces * price }, serde.Int64,
		topology.Named("bill"), topology.JoinGrace(time.Second)).To("bills")

	d, err := tidemarktest.Open(b)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer d.Close()
	price := tidemarktest.Input(d, "prices", serde.String, serde.Int64)
	order := tidemarktest.Input(d, "orders", serde.String, serde.Int64)
	price.Pipe("tea", 5, 1000)
	order.Pipe("tea", 10, 2500)
	order.Pipe("tea", 1, 2200)
	price.Pipe("tea", 7, 2000) // late, and still in time
	d.Commit()
	d.Crash() // what waits survives
	order = tidemarktest.Input(d, "orders", serde.String, serde.Int64)
	order.Pipe("tea", 2, 3500)
	order.Pipe("tea", 3, 1500) // too late to wait
	for _, r := range tidemarktest.Output(d, "bills", serde.String, serde.Int64).ReadAll() {
		fmt.Println(r.Timestamp, r.Value)
	}
	// Output:
	// 2200 7
	// 2500 70
	// 1500 15
}
