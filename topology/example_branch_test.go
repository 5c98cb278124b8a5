package topology_test

import (
	"fmt"
	"os"

	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/topology"
)

// Whatever no branch takes is dropped.
func ExampleBranchedKStream_NoDefaultBranch() {
	b := topology.NewBuilder()
	branches := topology.Stream(b, "orders", serde.String, serde.String).
		Split(topology.Named("orders-")).
		Branch(func(_, item string) bool { return item == "tea" }, topology.Named("tea")).
		Branch(func(_, item string) bool { return item == "milk" }, topology.WithConsumer(
			func(milk *topology.KStream[string, string]) { milk.Print(os.Stdout, topology.WithLabel("milk")) })).
		NoDefaultBranch()
	branches["orders-tea"].Print(os.Stdout, topology.WithLabel("tea"))
	fmt.Println(len(branches), "branch to go on with")
	pipe(b, "orders", "ann=tea", "bob=salt", "bob=milk")
	// Output:
	// 1 branch to go on with
	// [tea]: ann, tea
	// [milk]: bob, milk
}
