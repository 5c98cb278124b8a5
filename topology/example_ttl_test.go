package topology_test

import (
	"fmt"
	"time"

	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/store"
	"github.com/tidemarkio/tidemark/tidemarktest"
	"github.com/tidemarkio/tidemark/topology"
)

// The last position of each car, for as long as it reports.
func ExampleTTL() {
	b := topology.NewBuilder()
	topology.Table(b, "positions", serde.String, serde.String, topology.As("cars"),
		topology.TTL(store.TTL{After: time.Minute})).ToStream().To("cars")
	d, err := tidemarktest.Open(b)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer d.Close()
	in := tidemarktest.Input(d, "positions", serde.String, serde.String)
	in.Pipe("red", "Oslo", 0)
	in.Pipe("blue", "Rome", 40_000)
	in.Pipe("red", "Bergen", 50_000)
	in.Pipe("red", "Voss", 105_000)
	for _, r := range tidemarktest.Output(d, "cars", serde.String, serde.String).ReadAll() {
		if r.NullValue {
			fmt.Println(r.Timestamp, r.Key, "is gone")
			continue
		}
		fmt.Println(r.Timestamp, r.Key, r.Value)
	}
	// Output:
	// 0 red Oslo
	// 40000 blue Rome
	// 50000 red Bergen
	// 100000 blue is gone
	// 105000 red Voss
}
