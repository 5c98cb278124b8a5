package topology_test

import (
	"fmt"
	"time"

	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/tidemarktest"
	"github.com/tidemarkio/tidemark/topology"
)

// Clicks per minute; a click may come ten seconds late.
func ExampleWindowedBy() {
	b := topology.NewBuilder()
	clicks := topology.Stream(b, "clicks", serde.String, serde.String)
	perMinute := topology.WindowedBy(clicks.GroupByKey(), topology.Tumbling(time.Minute).Grace(10*time.Second))
	topology.Count(perMinute, topology.As("clicks-per-minute")).ToStream().To("counts")

	d, err := tidemarktest.Open(b)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer d.Close()
	in := tidemarktest.Input(d, "clicks", serde.String, serde.String)
	in.Pipe("ann", "/", 10_000)
	in.Pipe("ann", "/buy", 65_000)
	in.Pipe("ann", "/help", 59_000) // late, but not too late
	key := serde.TimeWindowed(serde.String, time.Minute)
	for _, r := range tidemarktest.Output(d, "counts", key, serde.Int64).ReadAll() {
		fmt.Println(r.Key, r.Value)
	}
	// Output:
	// [ann@0/60000] 1
	// [ann@60000/120000] 1
	// [ann@0/60000] 2
}
