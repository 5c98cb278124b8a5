package topology_test

import (
	"fmt"
	"time"

	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/tidemarktest"
	"github.com/tidemarkio/tidemark/topology"
)

// Failed logins that lie within ten seconds of each other.
func ExampleSliding() {
	b := topology.NewBuilder()
	logins := topology.Stream(b, "failed-logins", serde.String, serde.String)
	near := topology.WindowedBy(logins.GroupByKey(), topology.Sliding(10*time.Second).Grace(time.Minute))
	topology.Count(near).ToStream().
		Filter(func(_ windowedKey, n int64) bool { return n >= 3 }).To("alerts")

	d, err := tidemarktest.Open(b)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer d.Close()
	in := tidemarktest.Input(d, "failed-logins", serde.String, serde.String)
	for _, ts := range []int64{1_000, 12_000, 15_000, 21_500} {
		in.Pipe("ann", "", ts)
	}
	key := serde.TimeWindowed(serde.String, 10*time.Second)
	for _, r := range tidemarktest.Output(d, "alerts", key, serde.Int64).ReadAll() {
		fmt.Println(r.Key, r.Value)
	}
	// Output:
	// [ann@11500/21500] 3
}
