package topology_test

import (
	"os"

	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/topology"
)

func ExampleKStream_Merge() {
	b := topology.NewBuilder()
	web := topology.Stream(b, "web", serde.String, serde.String)
	shop := topology.Stream(b, "shop", serde.String, serde.String)
	web.Merge(shop).Print(os.Stdout, topology.WithLabel("order"))
	pipe(b, "shop", "ann=tea")
	// Output:
	// [order]: ann, tea
}

// Several topics with the same types are one stream from the start.
func ExampleStreams() {
	b := topology.NewBuilder()
	topology.Streams(b, []string{"web", "shop"}, serde.String, serde.String).
		Print(os.Stdout, topology.WithLabel("order"))
	pipe(b, "shop", "ann=tea")
	// Output:
	// [order]: ann, tea
}
