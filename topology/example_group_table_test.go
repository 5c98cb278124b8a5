package topology_test

import (
	"fmt"
	"strconv"

	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/topology"
)

// Inhabitants per city: whoever moves is subtracted from one and added to the other.
func ExampleCountTable() {
	b := topology.NewBuilder()
	homes := topology.Table(b, "homes", serde.String, serde.String)
	byCity := topology.GroupTableBy(homes, func(person, city string) (string, string) { return city, person },
		serde.String, serde.String, topology.Named("by-city"))
	topology.CountTable(byCity, topology.As("inhabitants")).ToStream().
		Foreach(func(city string, n int64) { fmt.Println(city, n) })
	pipe(b, "homes", "ann=Kiel", "bob=Kiel", "ann=Bonn")
	// Output:
	// Kiel 1
	// Kiel 2
	// Kiel 1
	// Bonn 1
}

// What the customers of a city owe: a row that changes is taken out as it was and put in as it is.
func ExampleReduceTable() {
	b := topology.NewBuilder()
	debts := topology.Table(b, "debts", serde.String, serde.String) // a customer's, "city cents"
	byCity := topology.GroupTableBy(debts, func(_, debt string) (string, int64) {
		cents, _ := strconv.ParseInt(debt[len("Kiel "):], 10, 64)
		return debt[:len("Kiel")], cents
	}, serde.String, serde.Int64, topology.Named("by-city"))
	topology.ReduceTable(byCity,
		func(sum, cents int64) int64 { return sum + cents },
		func(sum, cents int64) int64 { return sum - cents },
		topology.As("owed")).ToStream().
		Foreach(func(city string, cents int64) { fmt.Println(city, cents) })
	pipe(b, "debts", "ann=Kiel 300", "bob=Kiel 500", "ann=Kiel 100")
	// Output:
	// Kiel 300
	// Kiel 800
	// Kiel 600
}

// The same with an aggregate of another type than the rows': the number of letters in the names of a city's people.
func ExampleAggregateTable() {
	b := topology.NewBuilder()
	homes := topology.Table(b, "homes", serde.String, serde.String)
	byCity := topology.GroupTableBy(homes, func(person, city string) (string, string) { return city, person },
		serde.String, serde.String, topology.Named("by-city"))
	topology.AggregateTable(byCity,
		func() int64 { return 0 },
		func(_, person string, letters int64) int64 { return letters + int64(len(person)) },
		func(_, person string, letters int64) int64 { return letters - int64(len(person)) },
		serde.Int64, topology.As("letters")).ToStream().
		Foreach(func(city string, letters int64) { fmt.Println(city, letters) })
	pipe(b, "homes", "ann=Kiel", "bert=Kiel", "ann=Bonn")
	// Output:
	// Kiel 3
	// Kiel 7
	// Kiel 4
	// Bonn 3
}
