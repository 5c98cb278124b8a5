package topology_test

import (
	"fmt"
	"time"

	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/tidemarktest"
	"github.com/tidemarkio/tidemark/topology"
)

// The last window of the evening closes although nothing comes after it.
func ExampleTimeWindows_AdvanceWhenIdle() {
	b := topology.NewBuilder()
	clicks := topology.Stream(b, "clicks", serde.String, serde.String)
	perMinute := topology.WindowedBy(clicks.GroupByKey(), topology.Tumbling(time.Minute).AdvanceWhenIdle(10*time.Second))
	topology.Count(perMinute.EmitOnClose()).ToStream().
		Foreach(func(k windowedKey, n int64) { fmt.Println(k, n) })

	d, err := tidemarktest.Open(b)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer d.Close()
	tidemarktest.Input(d, "clicks", serde.String, serde.String).Pipe("ann", "/", 45_000)
	d.AdvanceWallClock(14 * time.Second)
	fmt.Println("not yet")
	d.AdvanceWallClock(time.Second)
	// Output:
	// not yet
	// [ann@0/60000] 1
}
