// Pageviews enriches page views with the region of the user, which is another topic, and counts the views per region
// and minute.
//
//	go run ./examples/pageviews
//
// needs nothing but Go. The table changes while views come: each of them finds the region as it is at that
// moment. A view is a JSON value inside.
package main

import (
	"fmt"
	"time"

	"github.com/tidemarkio/tidemark/examples/internal/demo"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/topology"
)

func main() { demo.Main("pageviews", Topology(), views(), "results", 5) }

// View is a page view with what is known of its user.
type View struct {
	Page, Region string
}

// Topology joins views with the table of users and counts what comes out.
func Topology() *topology.Builder {
	b := topology.NewBuilder()
	views := topology.Stream(b, "views", serde.String, serde.String)                             // user: page
	users := topology.Table(b, "users", serde.String, serde.String, topology.As("user-regions")) // user: region

	enriched := topology.LeftJoinTable(views, users, func(page string, region topology.Optional[string]) View {
		return View{Page: page, Region: region.Or("unknown")}
	}, serde.JSON[View](), topology.Named("with-region"))

	byRegion := topology.GroupBy(enriched, func(_ string, v View) string { return v.Region }, serde.String,
		topology.Named("by-region"))
	perMinute := topology.Count(topology.WindowedBy(byRegion, topology.Tumbling(time.Minute).Grace(10*time.Second)),
		topology.As("views-per-region"))
	topology.Map(perMinute.ToStream(), func(region record.Windowed[string], n int64) (string, string) {
		return region.Key, fmt.Sprintf("%d in the minute from %s", n, demo.Clock(region.Window.Start))
	}, serde.String, serde.String).To("results")
	return b
}

func views() []demo.Record {
	return []demo.Record{
		{Topic: "users", Key: "ann", Value: "north", After: 0},
		{Topic: "users", Key: "bob", Value: "south", After: 0},
		{Topic: "views", Key: "ann", Value: "/", After: 5 * time.Second},
		{Topic: "views", Key: "bob", Value: "/", After: 10 * time.Second},
		{Topic: "views", Key: "cid", Value: "/", After: 15 * time.Second},
		{Topic: "users", Key: "ann", Value: "south", After: 20 * time.Second}, // ann moves
		{Topic: "views", Key: "ann", Value: "/buy", After: 30 * time.Second},
		{Topic: "views", Key: "ann", Value: "/pay", After: 70 * time.Second},
	}
}
