// Joins puts orders together with the payments that come within five minutes of them, and adds the customer's name from
// a table; orders that nobody paid for are reported too.
//
//	go run ./examples/joins
//
// needs nothing but Go. It prints what was paid and by whom, and what was not.
package main

import (
	"time"

	"github.com/tidemarkio/tidemark/examples/internal/demo"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/topology"
)

func main() { demo.Main("joins", Topology(), events(), "results", 3) }

// Topology joins two streams, and the result with a table.
func Topology() *topology.Builder {
	b := topology.NewBuilder()
	orders := topology.Stream(b, "orders", serde.String, serde.String)
	payments := topology.Stream(b, "payments", serde.String, serde.String)
	customers := topology.Table(b, "customers", serde.String, serde.String, topology.As("customers"))

	paid := topology.LeftJoin(orders, payments, func(item string, cents topology.Optional[string]) string {
		if !cents.Present {
			return item + ", not paid"
		}
		return item + ", paid " + cents.Value
	}, topology.Within(5*time.Minute), serde.String, topology.Named("payment"), topology.As("payment"))

	topology.LeftJoinTable(paid, customers, func(order string, name topology.Optional[string]) string {
		return name.Or("somebody") + " ordered " + order
	}, serde.String, topology.Named("customer")).To("results")
	return b
}

func events() []demo.Record {
	return []demo.Record{
		{Topic: "customers", Key: "c1", Value: "Ann", After: 0},
		{Topic: "orders", Key: "c1", Value: "tea", After: time.Minute},
		{Topic: "orders", Key: "c2", Value: "milk", After: 2 * time.Minute},
		{Topic: "payments", Key: "c1", Value: "350", After: 3 * time.Minute},
		{Topic: "orders", Key: "c1", Value: "salt", After: 9 * time.Minute}, // nothing can pay for the milk any more
		{Topic: "payments", Key: "c1", Value: "99", After: 10 * time.Minute},
	}
}
