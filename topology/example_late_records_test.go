package topology_test

import (
	"fmt"
	"time"

	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/tidemarktest"
	"github.com/tidemarkio/tidemark/topology"
)

// What comes too late for its window goes elsewhere instead of nowhere.
func ExampleLateRecords() {
	b := topology.NewBuilder()
	clicks := topology.Stream(b, "clicks", serde.String, serde.String)
	topology.Count(topology.WindowedBy(clicks.GroupByKey(), topology.Tumbling(time.Minute)),
		topology.LateRecords(func(late *topology.KStream[string, string]) { late.To("too-late") })).
		ToStream().To("counts")

	d, err := tidemarktest.Open(b)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer d.Close()
	in := tidemarktest.Input(d, "clicks", serde.String, serde.String)
	in.Pipe("ann", "/", 61_000)
	in.Pipe("ann", "/buy", 59_000)
	for _, r := range tidemarktest.Output(d, "too-late", serde.String, serde.String).ReadAll() {
		fmt.Println(r.Key, r.Value, r.Timestamp)
	}
	// Output:
	// ann /buy 59000
}
