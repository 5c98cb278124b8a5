package topology_test

import (
	"fmt"
	"time"

	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/tidemarktest"
	"github.com/tidemarkio/tidemark/topology"
)

// Sales per day, as the calendar on the shop's wall has it.
func ExampleDays() {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		fmt.Println(err)
		return
	}
	b := topology.NewBuilder()
	sales := topology.Stream(b, "sales", serde.String, serde.Int64)
	perDay := topology.WindowedBy(sales.GroupByKey(), topology.Days(berlin).Grace(time.Hour)).EmitOnClose()
	topology.Reduce(perDay, func(sum, n int64) int64 { return sum + n }).ToStream().
		Foreach(func(k windowedKey, sum int64) {
			fmt.Println(k.Key, sum, k.Window.StartTime().In(berlin).Format(time.DateOnly),
				k.Window.EndTime().Sub(k.Window.StartTime()))
		})

	d, err := tidemarktest.Open(b)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer d.Close()
	in := tidemarktest.Input(d, "sales", serde.String, serde.Int64)
	at := func(hour int) int64 { return time.Date(2024, 3, 31, hour, 0, 0, 0, berlin).UnixMilli() }
	in.Pipe("shop", 5, at(0))
	in.Pipe("shop", 7, at(23))
	in.Pipe("shop", 1, at(49))
	// Output:
	// shop 12 2024-03-31 23h0m0s
}
