package main

import (
	"slices"

	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/topology"
)

// Query 3, local item suggestion: who sells in Oregon, Idaho and California, in category 10? Two tables are joined by a
// foreign key, so that it does not matter whether the auction or its seller comes first.
//
//	SELECT P.name, P.city, P.state, A.id
//	FROM auction A JOIN person P ON A.seller = P.id
//	WHERE A.category = 10 AND P.state IN ('OR', 'ID', 'CA')
var q3 = Query{
	Name: "q3", What: "local item suggestion", Table: true,
	Declare: func(b *topology.Builder, t Topics) {
		auctions := topology.Table(b, t.Auction, serde.Int64, auctionSerde).
			Filter(func(_ int64, a Auction) bool { return a.Category == 10 })
		persons := topology.Table(b, t.Person, serde.Int64, personSerde).
			Filter(func(_ int64, p Person) bool { return isLocal(p) })
		local := topology.ForeignKeyJoin(auctions, persons, func(a Auction) int64 { return a.Seller },
			func(a Auction, p Person) LocalItem { return LocalItem{p.Name, p.City, p.State, a.ID} },
			serde.JSON[LocalItem]())
		local.ToStream().To(t.Results)
	},
	Expected: func(events []Event) (want []any) {
		persons := make(map[int64]Person)
		for _, e := range events {
			if e.Person != nil {
				persons[e.Person.ID] = *e.Person
			}
		}
		for _, a := range auctionsByID(events) {
			if p, ok := persons[a.Seller]; ok && a.Category == 10 && isLocal(p) {
				want = append(want, LocalItem{p.Name, p.City, p.State, a.ID})
			}
		}
		return want
	},
}

func isLocal(p Person) bool { return slices.Contains([]string{"OR", "ID", "CA"}, p.State) }

// LocalItem is a result of query 3.
type LocalItem struct {
	Name    string `json:"name"`
	City    string `json:"city"`
	State   string `json:"state"`
	Auction int64  `json:"auction"`
}
