package topology_test

import (
	"fmt"

	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/tidemarktest"
	"github.com/tidemarkio/tidemark/topology"
)

// The sum of each two payments of a customer, and of the last two at every one.
func ExampleCountWindows() {
	b := topology.NewBuilder()
	payments := topology.Stream(b, "payments", serde.String, serde.Int64).GroupByKey()
	sum := func(a, n int64) int64 { return a + n }
	topology.Reduce(topology.WindowedBy(payments, topology.CountWindows(2)), sum).ToStream().
		Foreach(func(k windowedKey, n int64) { fmt.Println("two", k, n) })
	topology.Reduce(topology.WindowedBy(payments, topology.CountWindows(2).Every(1)), sum).ToStream().
		Foreach(func(k windowedKey, n int64) { fmt.Println("last", k, n) })

	d, err := tidemarktest.Open(b)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer d.Close()
	in := tidemarktest.Input(d, "payments", serde.String, serde.Int64)
	for i, n := range []int64{10, 20, 30} {
		in.Pipe("ann", n, int64(i))
	}
	// Output:
	// last [ann@0/1] 10
	// two [ann@0/2] 30
	// last [ann@0/2] 30
	// last [ann@1/3] 50
}
