package topology_test

import (
	"fmt"
	"time"

	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/topology"
)

func ExampleKCogroupedStream_Aggregate() {
	b := topology.NewBuilder()
	orders := topology.Stream(b, "orders", serde.String, serde.String).GroupByKey()
	topology.Cogroup(orders, func(_, item, all string) string { return all + " " + item }).
		Aggregate(func() string { return "ordered:" }, serde.String, topology.As("histories")).ToStream().
		Foreach(func(customer, history string) { fmt.Println(customer, history) })
	pipe(b, "orders", "ann=tea", "ann=milk")
	// Output:
	// ann ordered: tea
	// ann ordered: tea milk
}

func ExampleKWindowedCogroupedStream_Aggregate() {
	b := topology.NewBuilder()
	orders := topology.Stream(b, "orders", serde.String, serde.String).GroupByKey()
	topology.Cogroup(orders, func(_, item, all string) string { return all + " " + item }).
		WindowedBy(topology.Tumbling(2*time.Second)).
		Aggregate(func() string { return "ordered:" }, serde.String, topology.As("histories")).ToStream().
		Foreach(func(customer windowedKey, history string) { fmt.Println(customer, history) })
	pipe(b, "orders", "ann=tea", "ann=milk", "ann=salt")
	// Output:
	// [ann@0/2000] ordered: tea
	// [ann@0/2000] ordered: tea milk
	// [ann@2000/4000] ordered: salt
}

func ExampleKSessionWindowedCogroupedStream_Aggregate() {
	b := topology.NewBuilder()
	orders := topology.Stream(b, "orders", serde.String, serde.String).GroupByKey()
	topology.Cogroup(orders, func(_, item, all string) string { return all + " " + item }).
		SessionWindowedBy(topology.Session(time.Second)).
		Aggregate(func() string { return "" }, func(_, left, right string) string { return left + right },
			serde.String, topology.As("histories")).ToStream().
		Foreach(func(customer windowedKey, history string) { fmt.Printf("%v %q\n", customer, history) })
	pipe(b, "orders", "ann=tea", "ann=milk", "bob=salt", "ann=oil")
	// Output:
	// [ann@0/0] " tea"
	// [ann@0/0] ""
	// [ann@0/1000] " tea milk"
	// [bob@2000/2000] " salt"
	// [ann@3000/3000] " oil"
}
