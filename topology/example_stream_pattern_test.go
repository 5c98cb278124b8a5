package topology_test

import (
	"fmt"
	"os"
	"regexp"

	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/tidemarktest"
	"github.com/tidemarkio/tidemark/topology"
)

// One stream of all topics whose names begin with "orders-", also of those that will be created tomorrow.
func ExampleStreamPattern() {
	b := topology.NewBuilder()
	topology.StreamPattern(b, regexp.MustCompile(`orders-.*`), serde.String, serde.String).
		Print(os.Stdout, topology.WithLabel("order"))
	fmt.Print(topology.Describe(b.MustBuild()))

	d, err := tidemarktest.Open(b)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer d.Close()
	tidemarktest.Input(d, "orders-eu", serde.String, serde.String).Pipe("ann", "tea", 0)
	tidemarktest.Input(d, "orders-us", serde.String, serde.String).Pipe("bob", "milk", 1)
	// Output:
	// Topologies:
	//    Sub-topology: 0
	//     Source: KSTREAM-SOURCE-0000000000 (topics: orders-.*)
	//       --> KSTREAM-PRINTER-0000000001
	//     Processor: KSTREAM-PRINTER-0000000001 (stores: [])
	//       --> none
	//       <-- KSTREAM-SOURCE-0000000000
	//
	// [order]: ann, tea
	// [order]: bob, milk
}
