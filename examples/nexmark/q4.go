package main

import (
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/topology"
)

// Query 4, average price for a category: of the winning bids. A new winner takes the place of the old one in the
// average: the table is aggregated with what a row adds and with what it takes away when it goes.
//
//	SELECT category, AVG(final) FROM (
//	  SELECT MAX(B.price) AS final, A.category FROM auction A JOIN bid B ON A.id = B.auction
//	  WHERE B.dateTime BETWEEN A.dateTime AND A.expires GROUP BY A.id, A.category
//	) GROUP BY category
var q4 = Query{
	Name: "q4", What: "average price for a category", Table: true,
	Declare: func(b *topology.Builder, t Topics) {
		byCategory := topology.GroupTableBy(winningBids(b, t), func(_ int64, w Winner) (category, price int64) {
			return w.Category, w.Price
		}, serde.Int64, serde.Int64)
		sums := topology.AggregateTable(byCategory, func() Sum { return Sum{} },
			func(_, price int64, s Sum) Sum { return Sum{s.Sum + price, s.Count + 1} },
			func(_, price int64, s Sum) Sum { return Sum{s.Sum - price, s.Count - 1} },
			serde.JSON[Sum](), topology.As("sums"))
		averages := topology.MapTableValuesWithKey(sums, func(category int64, s Sum) CategoryPrice {
			return CategoryPrice{category, s.average()}
		}, serde.JSON[CategoryPrice]())
		averages.ToStream().To(t.Results)
	},
	Expected: func(events []Event) (want []any) {
		sums := make(map[int64]Sum)
		for _, w := range expectedWinners(events) {
			s := sums[w.Category]
			sums[w.Category] = Sum{s.Sum + w.Price, s.Count + 1}
		}
		for category, s := range sums {
			want = append(want, CategoryPrice{category, s.Sum / s.Count})
		}
		return want
	},
}

// Sum is what an average is made of.
type Sum struct {
	Sum   int64 `json:"sum"`
	Count int64 `json:"count"`
}

// average is 0 of nothing: a category whose only row is just being replaced.
func (s Sum) average() int64 { return s.Sum / max(s.Count, 1) }

// CategoryPrice is a result of query 4; the average is in cents, rounded down.
type CategoryPrice struct {
	Category int64 `json:"category"`
	Average  int64 `json:"average"`
}
