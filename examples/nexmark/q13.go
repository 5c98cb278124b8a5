package main

import (
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/topology"
)

// Query 13, bounded side input: bids with what is known about their auctions from elsewhere. Every instance has the
// whole side input, and bids are not repartitioned.
//
//	SELECT B.auction, B.bidder, B.price, S.value FROM bid B JOIN side_input S ON MOD(B.auction, 50) = S.key
var q13 = Query{
	Name: "q13", What: "side input",
	Declare: func(b *topology.Builder, t Topics) {
		side := topology.GlobalTable(b, t.SideInput, serde.Int64, serde.String)
		topology.JoinGlobal(t.bids(b), side, func(auction int64, _ Bid) int64 { return auction % sideRows },
			func(bid Bid, value string) SideBid { return SideBid{bid.Auction, bid.Bidder, bid.Price, value} },
			serde.JSON[SideBid]()).To(t.Results)
	},
	Expected: func(events []Event) (want []any) {
		eachBid(events, func(bid Bid) {
			want = append(want, SideBid{bid.Auction, bid.Bidder, bid.Price, sideValue(bid.Auction % sideRows)})
		})
		return want
	},
}

// SideBid is a result of query 13.
type SideBid struct {
	Auction int64  `json:"auction"`
	Bidder  int64  `json:"bidder"`
	Price   int64  `json:"price"`
	Value   string `json:"value"`
}
