package topology_test

import (
	"fmt"

	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/tidemarktest"
	"github.com/tidemarkio/tidemark/topology"
)

func ExampleKStream_To() {
	b := topology.NewBuilder()
	topology.Stream(b, "orders", serde.String, serde.String).To("copies")

	d, err := tidemarktest.Open(b)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer d.Close()
	tidemarktest.Input(d, "orders", serde.String, serde.String).Pipe("ann", "tea", 1000)
	r := tidemarktest.Output(d, "copies", serde.String, serde.String).Read()
	fmt.Println(r.Key, r.Value, r.Timestamp)
	// Output:
	// ann tea 1000
}

// The topic is chosen by record.
func ExampleKStream_ToEach() {
	b := topology.NewBuilder()
	topology.Stream(b, "orders", serde.String, serde.String).
		ToEach(func(r record.Record[string, string], _ processor.RecordMetadata) string {
			return "orders-of-" + r.Key
		})

	d, err := tidemarktest.Open(b)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer d.Close()
	in := tidemarktest.Input(d, "orders", serde.String, serde.String)
	in.Pipe("ann", "tea", 0)
	in.Pipe("bob", "milk", 1)
	fmt.Println(tidemarktest.Output(d, "orders-of-ann", serde.String, serde.String).Read().Value)
	fmt.Println(tidemarktest.Output(d, "orders-of-bob", serde.String, serde.String).Read().Value)
	// Output:
	// tea
	// milk
}
