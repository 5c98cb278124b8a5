// Sessions follows visitors: their clicks with less than half an hour between them are one visit. When a visit is over,
// its pages and its length are reported.
//
//	go run ./examples/sessions
//
// needs nothing but Go. It prints each visit once, since nothing can change it any more.
package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/tidemarkio/tidemark/examples/internal/demo"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/topology"
)

func main() { demo.Main("sessions", Topology(), clicks(), "results", 2) }

// Topology folds the clicks of each session into one value.
func Topology() *topology.Builder {
	b := topology.NewBuilder()
	clicks := topology.Stream(b, "clicks", serde.String, serde.String).GroupByKey()
	visits := topology.AggregateSessions(
		topology.SessionWindowedBy(clicks, topology.Session(30*time.Minute).Grace(5*time.Minute)).EmitOnClose(),
		func() []string { return nil },
		func(_, page string, pages []string) []string { return joined(pages, []string{page}) },
		func(_ string, earlier, later []string) []string { return joined(earlier, later) },
		serde.JSON[[]string](), topology.As("visits"))
	topology.Map(visits.ToStream(), func(user record.Windowed[string], pages []string) (string, string) {
		took := time.Duration(user.Window.End-user.Window.Start) * time.Millisecond
		return user.Key, fmt.Sprintf("came at %s for %v: %s", demo.Clock(user.Window.Start), took, strings.Join(pages, " "))
	}, serde.String, serde.String).To("results")
	return b
}

// joined returns a new slice: an aggregate must not be modified.
func joined(a, b []string) []string {
	all := make([]string, 0, len(a)+len(b))
	return append(append(all, a...), b...)
}

func clicks() []demo.Record {
	click := func(user, page string, after time.Duration) demo.Record {
		return demo.Record{Topic: "clicks", Key: user, Value: page, After: after}
	}
	return []demo.Record{
		click("ann", "/", 0),
		click("bob", "/", 5*time.Minute),
		click("ann", "/buy", 20*time.Minute),
		click("ann", "/pay", 45*time.Minute),
		click("cid", "/", 2*time.Hour), // the visits of ann and bob are over
	}
}
