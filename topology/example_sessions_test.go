package topology_test

import (
	"fmt"
	"time"

	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/tidemarktest"
	"github.com/tidemarkio/tidemark/topology"
)

// The pages of each visit, which ends after half an hour without a click.
func ExampleAggregateSessions() {
	b := topology.NewBuilder()
	clicks := topology.Stream(b, "clicks", serde.String, serde.String)
	visits := topology.SessionWindowedBy(clicks.GroupByKey(), topology.Session(30*time.Minute)).EmitOnClose()
	topology.AggregateSessions(visits,
		func() string { return "" },
		func(_, page, path string) string { return path + page },
		func(_, left, right string) string { return left + right },
		serde.String, topology.As("visits")).ToStream().To("paths")

	d, err := tidemarktest.Open(b)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer d.Close()
	in := tidemarktest.Input(d, "clicks", serde.String, serde.String)
	const minute = 60_000
	in.Pipe("ann", "/", 0)
	in.Pipe("ann", "/buy", 20*minute)
	in.Pipe("ann", "/", 90*minute)
	in.Pipe("bob", "/", 200*minute)
	for _, r := range tidemarktest.Output(d, "paths", serde.SessionWindowed(serde.String), serde.String).ReadAll() {
		fmt.Println(r.Key, r.Value)
	}
	// Output:
	// [ann@0/1200000] //buy
	// [ann@5400000/5400000] /
}

// Every update of a session replaces it: a null for the old one, then the new one.
func ExampleSessionWindowedBy() {
	b := topology.NewBuilder()
	clicks := topology.Stream(b, "clicks", serde.String, serde.String)
	topology.Count(topology.SessionWindowedBy(clicks.GroupByKey(), topology.Session(time.Second))).ToStream().To("counts")

	d, err := tidemarktest.Open(b)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer d.Close()
	in := tidemarktest.Input(d, "clicks", serde.String, serde.String)
	in.Pipe("ann", "/", 100)
	in.Pipe("ann", "/buy", 900)
	for _, r := range tidemarktest.Output(d, "counts", serde.SessionWindowed(serde.String), serde.Int64).ReadAll() {
		fmt.Println(r.Key, r.Value, r.NullValue)
	}
	// Output:
	// [ann@100/100] 1 false
	// [ann@100/100] 0 true
	// [ann@100/900] 2 false
}
