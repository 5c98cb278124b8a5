package topology_test

import (
	"fmt"
	"time"

	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/tidemarktest"
	"github.com/tidemarkio/tidemark/topology"
)

// One result per window, once it is final.
func ExampleSuppress() {
	b := topology.NewBuilder()
	clicks := topology.Stream(b, "clicks", serde.String, serde.String)
	perMinute := topology.Count(topology.WindowedBy(clicks.GroupByKey(),
		topology.Tumbling(time.Minute).Grace(10*time.Second)))
	topology.Suppress(perMinute, topology.UntilWindowCloses()).ToStream().To("final")
	d, err := tidemarktest.Open(b)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer d.Close()

	in := tidemarktest.Input(d, "clicks", serde.String, serde.String)
	for _, second := range []int64{1, 2, 62, 59, 70} { // the fourth is late, but within the grace
		in.Pipe("ann", "/home", second*1000)
	}
	out := tidemarktest.Output(d, "final", serde.TimeWindowed(serde.String, time.Minute), serde.Int64)
	for _, r := range out.ReadAll() {
		fmt.Println(r.Key, r.Value)
	}
	// Output:
	// [ann@0/60000] 3
}

// The last of the updates of a minute, and no more than a thousand keys that wait.
func ExampleUntilTimeLimit() {
	b := topology.NewBuilder()
	prices := topology.Table(b, "prices", serde.String, serde.Int64)
	topology.Suppress(prices, topology.UntilTimeLimit(time.Minute).MaxRecords(1000)).ToStream().To("calm")
	d, err := tidemarktest.Open(b)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer d.Close()

	in := tidemarktest.Input(d, "prices", serde.String, serde.Int64)
	in.PipeRecord(record.Record[string, int64]{Key: "tea", Value: 3, Timestamp: 0})
	in.PipeRecord(record.Record[string, int64]{Key: "tea", Value: 4, Timestamp: 20_000})
	in.PipeRecord(record.Record[string, int64]{Key: "milk", Value: 1, Timestamp: 60_000})
	for _, r := range tidemarktest.Output(d, "calm", serde.String, serde.Int64).ReadAll() {
		fmt.Println(r.Key, r.Value, r.Timestamp)
	}
	// Output:
	// tea 4 20000
}

// The last window needs no next record: time goes on with the wall clock while nothing comes.
func ExampleUntilWindowCloses() {
	b := topology.NewBuilder()
	clicks := topology.Stream(b, "clicks", serde.String, serde.String)
	perMinute := topology.Count(topology.WindowedBy(clicks.GroupByKey(),
		topology.Tumbling(time.Minute).AdvanceWhenIdle(30*time.Second)))
	topology.Suppress(perMinute, topology.UntilWindowCloses().MaxRecords(100_000).AdvanceWhenIdle(30*time.Second)).
		ToStream().To("final")
	d, err := tidemarktest.Open(b)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer d.Close()

	tidemarktest.Input(d, "clicks", serde.String, serde.String).Pipe("ann", "/home", 50_000)
	out := tidemarktest.Output(d, "final", serde.TimeWindowed(serde.String, time.Minute), serde.Int64)
	fmt.Println(out.Len())
	d.AdvanceWallClock(30 * time.Second)
	for _, r := range out.ReadAll() {
		fmt.Println(r.Key, r.Value)
	}
	// Output:
	// 0
	// [ann@0/60000] 1
}
