// Windows counts the clicks of each user per minute, three times: at every click, in windows that overlap, and once
// when the minute is over. A click that is too late for its minute goes to a stream of its own.
//
//	go run ./examples/windows
package main

import (
	"fmt"
	"time"

	"github.com/tidemarkio/tidemark/examples/internal/demo"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/topology"
)

func main() { demo.Main("windows", Topology(), clicks(), "results", 11) }

// Topology counts in windows.
func Topology() *topology.Builder {
	b := topology.NewBuilder()
	clicks := topology.Stream(b, "clicks", serde.String, serde.String).GroupByKey()

	minutes := topology.WindowedBy(clicks, topology.Tumbling(time.Minute).Grace(30*time.Second))
	report(topology.Count(minutes, topology.As("per-minute"), topology.LateRecords(
		func(late *topology.KStream[string, string]) {
			topology.MapValues(late, func(page string) string { return "too late: " + page }, serde.String).To("results")
		})), "so far")

	hopping := topology.WindowedBy(clicks, topology.Hopping(time.Minute, 30*time.Second))
	report(topology.Count(hopping.EmitOnClose(), topology.As("overlapping")), "overlapping")

	report(topology.Count(minutes.EmitOnClose(), topology.As("per-minute-final")), "final")
	return b
}

// report writes the rows of a table with windows as text.
func report(counts *topology.KTable[record.Windowed[string], int64], what string) {
	topology.Map(counts.ToStream(), func(user record.Windowed[string], n int64) (string, string) {
		return user.Key, fmt.Sprintf("%s to %s: %d %s", demo.Clock(user.Window.Start), demo.Clock(user.Window.End), n, what)
	}, serde.String, serde.String).To("results")
}

func clicks() []demo.Record {
	click := func(user, page string, after time.Duration) demo.Record {
		return demo.Record{Topic: "clicks", Key: user, Value: page, After: after}
	}
	return []demo.Record{
		click("ann", "/", 10*time.Second),
		click("ann", "/buy", 40*time.Second),
		click("bob", "/", 80*time.Second),
		click("ann", "/pay", 50*time.Second), // late, but within the grace
		click("bob", "/buy", 100*time.Second),
		click("ann", "/thanks", 55*time.Second), // too late
	}
}
