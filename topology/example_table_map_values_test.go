package topology_test

import (
	"os"
	"strings"

	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/topology"
)

func ExampleMapTableValues() {
	b := topology.NewBuilder()
	names := topology.Table(b, "names", serde.String, serde.String)
	topology.MapTableValues(names, strings.ToUpper, serde.String).ToStream().
		Print(os.Stdout, topology.WithLabel("name"))
	pipe(b, "names", "1=ann", "1=")
	// Output:
	// [name]: 1, ANN
	// [name]: 1, null
}

func ExampleMapTableValuesWithKey() {
	b := topology.NewBuilder()
	names := topology.Table(b, "names", serde.String, serde.String)
	topology.MapTableValuesWithKey(names, func(id, name string) string { return name + " (" + id + ")" },
		serde.String).ToStream().Print(os.Stdout, topology.WithLabel("name"))
	pipe(b, "names", "1=ann")
	// Output:
	// [name]: 1, ann (1)
}
