package topology_test

import (
	"fmt"

	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/topology"
)

// Records with a null value are not counted.
func ExampleCount() {
	b := topology.NewBuilder()
	clicks := topology.Stream(b, "clicks", serde.String, serde.String)
	topology.Count(clicks.GroupByKey(), topology.As("clicks-per-user")).ToStream().
		Foreach(func(user string, n int64) { fmt.Println(user, n) })
	pipe(b, "clicks", "ann=/", "ann=", "ann=/buy")
	// Output:
	// ann 1
	// ann 2
}
