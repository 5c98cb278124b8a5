package topology_test

import (
	"fmt"
	"time"

	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/tidemarktest"
	"github.com/tidemarkio/tidemark/topology"
)

// One result per window, when it has closed; any key's record closes it.
func ExampleKWindowedStream_EmitOnClose() {
	b := topology.NewBuilder()
	clicks := topology.Stream(b, "clicks", serde.String, serde.String)
	perMinute := topology.WindowedBy(clicks.GroupByKey(), topology.Hopping(time.Minute, 30*time.Second)).EmitOnClose()
	topology.Count(perMinute).ToStream().To("counts")

	d, err := tidemarktest.Open(b)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer d.Close()
	in := tidemarktest.Input(d, "clicks", serde.String, serde.String)
	in.Pipe("ann", "/", 10_000)
	in.Pipe("ann", "/buy", 35_000)
	in.Pipe("bob", "/", 90_000)
	key := serde.TimeWindowed(serde.String, time.Minute)
	for _, r := range tidemarktest.Output(d, "counts", key, serde.Int64).ReadAll() {
		fmt.Println(r.Key, r.Value)
	}
	// Output:
	// [ann@0/60000] 2
	// [ann@30000/90000] 1
}
