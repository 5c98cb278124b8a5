package topology_test

import (
	"fmt"
	"strconv"
	"time"

	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/store"
	"github.com/tidemarkio/tidemark/tidemarktest"
	"github.com/tidemarkio/tidemark/topology"
)

// A processor reads what a price was at any time of the last hour.
func ExampleVersioned() {
	b := topology.NewBuilder()
	topology.Table(b, "prices", serde.String, serde.Int64, topology.As("prices"), topology.Versioned(time.Hour))
	questions := topology.Stream(b, "questions", serde.String, serde.String)
	type prices = *store.Versioned[string, int64]
	topology.Process(questions, func() processor.Processor[string, string, string, string] {
		return processor.Func[string, string, string, string](
			func(ctx processor.Context[string, string], r record.Record[string, string]) error {
				history, err := processor.StateStore[prices](ctx, "prices")
				if err != nil {
					return err
				}
				price, found, err := history.GetAsOf(r.Key, r.Timestamp)
				if err != nil || !found {
					return err
				}
				until := "now"
				if price.ValidTo != store.ValidToOpen {
					until = strconv.FormatInt(price.ValidTo, 10)
				}
				return ctx.Forward(record.WithValue(r, fmt.Sprintf("%d from %d until %s", price.Value, price.ValidFrom, until)))
			})
	}, serde.String, serde.String, topology.WithStores("prices")).To("answers")

	d, err := tidemarktest.Open(b)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer d.Close()
	in := tidemarktest.Input(d, "prices", serde.String, serde.Int64)
	in.Pipe("tea", 5, 1000)
	in.Pipe("tea", 7, 3000)
	in.Pipe("tea", 6, 2000) // late: it ends the first price, and not the last
	ask := tidemarktest.Input(d, "questions", serde.String, serde.String)
	for _, at := range []int64{500, 1500, 2500, 9000} {
		ask.Pipe("tea", "?", at)
	}
	for _, r := range tidemarktest.Output(d, "answers", serde.String, serde.String).ReadAll() {
		fmt.Println(r.Timestamp, r.Value)
	}
	// Output:
	// 1500 5 from 1000 until 2000
	// 2500 6 from 2000 until 3000
	// 9000 7 from 3000 until now
}

// A join with a versioned table finds the row as of the record's time, however late the record is.
func ExampleVersioned_join() {
	b := topology.NewBuilder()
	prices := topology.Table(b, "prices", serde.String, serde.Int64,
		topology.As("prices"), topology.Versioned(time.Hour))
	orders := topology.Stream(b, "orders", serde.String, serde.Int64)
	topology.JoinTable(orders, prices, func(pieces, price int64) int64 { return pieces * price }, serde.Int64).To("bills")

	d, err := tidemarktest.Open(b)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer d.Close()
	in := tidemarktest.Input(d, "prices", serde.String, serde.Int64)
	in.Pipe("tea", 5, 1000)
	in.Pipe("tea", 7, 3000)
	order := tidemarktest.Input(d, "orders", serde.String, serde.Int64)
	order.Pipe("tea", 10, 4000)
	order.Pipe("tea", 10, 2000)
	for _, r := range tidemarktest.Output(d, "bills", serde.String, serde.Int64).ReadAll() {
		fmt.Println(r.Timestamp, r.Value)
	}
	// Output:
	// 4000 70
	// 2000 50
}
