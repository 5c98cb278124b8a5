package topology_test

import (
	"fmt"
	"time"

	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/tidemarktest"
	"github.com/tidemarkio/tidemark/topology"
)

// Views and clicks per minute in one row.
func ExampleKCogroupedStream_WindowedBy() {
	b := topology.NewBuilder()
	views := topology.Stream(b, "views", serde.String, serde.String).GroupByKey()
	clicks := topology.Stream(b, "clicks", serde.String, serde.String).GroupByKey()
	both := topology.CogroupWith(
		topology.Cogroup(views, func(_, _, s string) string { return s + "v" }),
		clicks, func(_, _, s string) string { return s + "c" })
	both.WindowedBy(topology.Tumbling(time.Minute)).
		Aggregate(func() string { return "" }, serde.String).ToStream().
		Foreach(func(k windowedKey, s string) { fmt.Println(k, s) })

	d, err := tidemarktest.Open(b)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer d.Close()
	tidemarktest.Input(d, "views", serde.String, serde.String).Pipe("ad", "", 1)
	tidemarktest.Input(d, "clicks", serde.String, serde.String).Pipe("ad", "", 2)
	// Output:
	// [ad@0/60000] v
	// [ad@0/60000] vc
}

// The same in sessions, with a function that merges two of them.
func ExampleKCogroupedStream_SessionWindowedBy() {
	b := topology.NewBuilder()
	views := topology.Stream(b, "views", serde.String, serde.String).GroupByKey()
	topology.Cogroup(views, func(_, v, s string) string { return s + v }).
		SessionWindowedBy(topology.Session(time.Second).Grace(time.Minute)).
		Aggregate(func() string { return "" }, func(_, a, b string) string { return a + b }, serde.String).ToStream().
		Foreach(func(k windowedKey, s string) { fmt.Printf("%v %q\n", k, s) })

	d, err := tidemarktest.Open(b)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer d.Close()
	in := tidemarktest.Input(d, "views", serde.String, serde.String)
	in.Pipe("ad", "a", 0)
	in.Pipe("ad", "b", 2000)
	in.Pipe("ad", "c", 1000)
	// Output:
	// [ad@0/0] "a"
	// [ad@2000/2000] "b"
	// [ad@0/0] ""
	// [ad@2000/2000] ""
	// [ad@0/2000] "abc"
}
