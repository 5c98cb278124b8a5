package main

import (
	"cmp"
	"slices"

	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/topology"
)

const topBids = 10

// Query 19, the ten highest bids of each auction.
//
//	SELECT * FROM (
//	  SELECT *, ROW_NUMBER() OVER (PARTITION BY auction ORDER BY price DESC) AS n FROM bid
//	) WHERE n <= 10
var q19 = Query{
	Name: "q19", What: "top ten of each auction", Table: true,
	Declare: func(b *topology.Builder, t Topics) {
		top := topology.Aggregate(t.bids(b).GroupByKey(), func() []Bid { return []Bid{} },
			func(_ int64, bid Bid, top []Bid) []Bid {
				at, _ := slices.BinarySearchFunc(top, bid, byPrice)
				top = slices.Insert(slices.Clone(top), at, bid)
				return top[:min(topBids, len(top))]
			}, serde.JSON[[]Bid](), topology.As("top-ten"))
		top.ToStream().To(t.Results)
	},
	Expected: func(events []Event) (want []any) {
		bids := make(map[int64][]Bid)
		eachBid(events, func(bid Bid) { bids[bid.Auction] = append(bids[bid.Auction], bid) })
		for _, list := range bids {
			slices.SortFunc(list, byPrice)
			want = append(want, list[:min(topBids, len(list))])
		}
		return want
	},
}

// byPrice orders bids, the highest first; of equal ones the earlier.
func byPrice(x, y Bid) int {
	return cmp.Or(cmp.Compare(y.Price, x.Price), cmp.Compare(x.DateTime, y.DateTime),
		cmp.Compare(x.Bidder, y.Bidder), cmp.Compare(x.Extra, y.Extra))
}
