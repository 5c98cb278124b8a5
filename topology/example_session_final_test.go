package topology_test

import (
	"fmt"
	"time"

	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/topology"
)

// A session is reported once, when no record can join it any more: without the nulls of those that were merged.
func ExampleKSessionWindowedStream_EmitOnClose() {
	b := topology.NewBuilder()
	clicks := topology.Stream(b, "clicks", serde.String, serde.String).GroupByKey()
	topology.Count(topology.SessionWindowedBy(clicks, topology.Session(time.Second)).EmitOnClose(),
		topology.As("sessions")).ToStream().
		Foreach(func(user windowedKey, n int64) { fmt.Println(user, n) })
	pipe(b, "clicks", "ann=/", "ann=/buy", "bob=/", "bob=/buy", "ann=/")
	// Output:
	// [ann@0/1000] 2
}
