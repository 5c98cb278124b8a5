// Suppress sends one alarm for each minute in which a sensor was too hot more than twice, once that minute is over, and
// the state of each sensor at most every other minute.
//
//	go run ./examples/suppress
package main

import (
	"fmt"
	"time"

	"github.com/tidemarkio/tidemark/examples/internal/demo"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/topology"
)

func main() { demo.Main("suppress", Topology(), measured(), "results", 3) }

// Topology holds updates back until they are final, or for some time.
func Topology() *topology.Builder {
	b := topology.NewBuilder()
	hot := topology.Stream(b, "too-hot", serde.String, serde.String)

	perMinute := topology.Count(topology.WindowedBy(hot.GroupByKey(), topology.Tumbling(time.Minute)),
		topology.As("per-minute"))
	final := topology.Suppress(perMinute, topology.UntilWindowCloses(), topology.Named("final")).ToStream().
		Filter(func(_ record.Windowed[string], n int64) bool { return n > 2 })
	topology.Map(final, func(sensor record.Windowed[string], n int64) (string, string) {
		return sensor.Key, fmt.Sprintf("alarm: %d times in the minute from %s", n, demo.Clock(sensor.Window.Start))
	}, serde.String, serde.String).To("results")

	last := hot.ToTable(topology.As("last"))
	seldom := topology.Suppress(last, topology.UntilTimeLimit(2*time.Minute).MaxRecords(1000), topology.Named("seldom"))
	topology.MapValues(seldom.ToStream(), func(degrees string) string { return "now " + degrees }, serde.String).
		To("results")
	return b
}

func measured() []demo.Record {
	hot := func(sensor, degrees string, after time.Duration) demo.Record {
		return demo.Record{Topic: "too-hot", Key: sensor, Value: degrees, After: after}
	}
	return []demo.Record{
		hot("oven", "310", 5*time.Second),
		hot("oven", "320", 15*time.Second),
		hot("fridge", "9", 20*time.Second),
		hot("oven", "330", 30*time.Second),
		hot("oven", "340", 90*time.Second),
		hot("oven", "350", 3*time.Minute),
	}
}
