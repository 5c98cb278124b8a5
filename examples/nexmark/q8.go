package main

import (
	"time"

	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/topology"
)

// Query 8, monitor new users: who registered and opened an auction in the same ten seconds? Two tables of windows are
// joined by person and window.
//
//	SELECT P.id, P.name, P.starttime FROM (
//	  SELECT id, name, TUMBLE_START(…) AS starttime FROM person
//	  GROUP BY id, name, TUMBLE(dateTime, INTERVAL '10' SECOND)
//	) P JOIN (
//	  SELECT seller, TUMBLE_START(…) AS starttime FROM auction GROUP BY seller, TUMBLE(dateTime, INTERVAL '10' SECOND)
//	) A ON P.id = A.seller AND P.starttime = A.starttime
var q8 = Query{
	Name: "q8", What: "monitor new users", Table: true,
	Declare: func(b *topology.Builder, t Topics) {
		windows := topology.Tumbling(10 * time.Second).Grace(skew)
		persons := topology.Reduce(topology.WindowedBy(t.persons(b).GroupByKey(), windows),
			func(first, _ Person) Person { return first }, topology.As("new-persons"))
		bySeller := topology.GroupBy(t.auctions(b), func(_ int64, a Auction) int64 { return a.Seller }, serde.Int64)
		sellers := topology.Count(topology.WindowedBy(bySeller, windows), topology.As("sellers"))
		both := topology.JoinTables(persons, sellers, func(p Person, _ int64) Person { return p }, personSerde)
		topology.MapValuesWithKey(both.ToStream(), func(k record.Windowed[int64], p Person) NewSeller {
			return NewSeller{p.ID, p.Name, k.Window.Start}
		}, serde.JSON[NewSeller]()).To(t.Results)
	},
	Expected: func(events []Event) []any {
		persons := make(map[int64]Person)
		for _, e := range events {
			if e.Person != nil {
				persons[e.Person.ID] = *e.Person
			}
		}
		found := make(map[int64]NewSeller)
		for _, a := range auctionsByID(events) {
			p := persons[a.Seller]
			if start := p.DateTime / 10_000 * 10_000; start == a.DateTime/10_000*10_000 {
				found[p.ID] = NewSeller{p.ID, p.Name, start}
			}
		}
		return values(found)
	},
}

// NewSeller is a result of query 8.
type NewSeller struct {
	ID    int64  `json:"id"`
	Name  string `json:"name"`
	Start int64  `json:"start"`
}
