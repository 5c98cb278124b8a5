package topology_test

import (
	"os"

	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/topology"
)

// A topic as a table: a record replaces the row of its key, a null value deletes it.
func ExampleTable() {
	b := topology.NewBuilder()
	topology.Table(b, "prices", serde.String, serde.String, topology.As("prices")).
		ToStream().Print(os.Stdout, topology.WithLabel("price"))
	pipe(b, "prices", "tea=3.50", "tea=3.20", "tea=")
	// Output:
	// [price]: tea, 3.50
	// [price]: tea, 3.20
	// [price]: tea, null
}

// A stream as a table: the last item of each customer.
func ExampleKStream_ToTable() {
	b := topology.NewBuilder()
	topology.Stream(b, "orders", serde.String, serde.String).
		ToTable(topology.As("last-orders")).
		ToStream().Print(os.Stdout, topology.WithLabel("last"))
	pipe(b, "orders", "ann=tea", "bob=milk", "ann=salt")
	// Output:
	// [last]: ann, tea
	// [last]: bob, milk
	// [last]: ann, salt
}

// The updates of a table as a stream, under another key.
func ExampleToStreamBy() {
	b := topology.NewBuilder()
	shelves := topology.Table(b, "shelves", serde.String, serde.String)
	topology.ToStreamBy(shelves, func(_, shelf string) string { return shelf }, serde.String).
		Print(os.Stdout, topology.WithLabel("shelf"))
	pipe(b, "shelves", "tea=7", "milk=9")
	// Output:
	// [shelf]: 7, 7
	// [shelf]: 9, 9
}
