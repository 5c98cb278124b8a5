package topology_test

import (
	"fmt"
	"os"
	"time"

	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/topology"
)

// Each page with those that the customer visited in the next two seconds, itself included: a stream joined with itself.
func ExampleJoinWithKey() {
	b := topology.NewBuilder()
	visits := topology.Stream(b, "visits", serde.String, serde.String)
	topology.JoinWithKey(visits, visits, func(customer, page, later string) string {
		return customer + " went from " + page + " to " + later
	}, topology.Within(0).After(2*time.Second), serde.String, topology.As("visits")).
		Print(os.Stdout, topology.WithLabel("visit"))
	pipe(b, "visits", "ann=/", "ann=/buy")
	// Output:
	// [visit]: ann, ann went from / to /
	// [visit]: ann, ann went from / to /buy
	// [visit]: ann, ann went from /buy to /buy
}

// Orders that nobody paid for, told by the customer's name.
func ExampleLeftJoinWithKey() {
	b := topology.NewBuilder()
	orders := topology.Stream(b, "orders", serde.String, serde.String)
	payments := topology.Stream(b, "payments", serde.String, serde.String)
	topology.LeftJoinWithKey(orders, payments, func(customer, item string, paid topology.Optional[string]) string {
		return fmt.Sprintf("%s ordered %s, paid: %v", customer, item, paid.Present)
	}, topology.Within(time.Second), serde.String, topology.As("unpaid")).
		Foreach(func(_, text string) { fmt.Println(text) })
	pipe(b, "orders", "ann=tea", "bob=milk", "bob=salt", "ann=milk")
	// Output:
	// ann ordered tea, paid: false
	// bob ordered milk, paid: false
}

func ExampleOuterJoinWithKey() {
	b := topology.NewBuilder()
	orders := topology.Stream(b, "orders", serde.String, serde.String)
	payments := topology.Stream(b, "payments", serde.String, serde.String)
	topology.OuterJoinWithKey(orders, payments,
		func(customer string, item, paid topology.Optional[string]) string {
			return customer + ": " + item.Or("nothing ordered") + ", " + paid.Or("nothing paid")
		}, topology.Within(time.Second), serde.String, topology.As("both")).
		Foreach(func(_, text string) { fmt.Println(text) })
	pipe(b, "payments", "ann=350", "bob=120", "bob=80", "ann=10")
	// Output:
	// ann: nothing ordered, 350
	// bob: nothing ordered, 120
}
