package main

import (
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/topology"
)

// Query 2, selection: the bids for some auctions.
//
//	SELECT auction, price FROM bid WHERE MOD(auction, 123) = 0
var q2 = Query{
	Name: "q2", What: "selection",
	Declare: func(b *topology.Builder, t Topics) {
		chosen := t.bids(b).Filter(func(auction int64, _ Bid) bool { return auction%123 == 0 })
		topology.MapValues(chosen, func(bid Bid) AuctionPrice {
			return AuctionPrice{bid.Auction, bid.Price}
		}, serde.JSON[AuctionPrice]()).To(t.Results)
	},
	Expected: func(events []Event) (want []any) {
		eachBid(events, func(bid Bid) {
			if bid.Auction%123 == 0 {
				want = append(want, AuctionPrice{bid.Auction, bid.Price})
			}
		})
		return want
	},
}

// AuctionPrice is a result of query 2.
type AuctionPrice struct {
	Auction int64 `json:"auction"`
	Price   int64 `json:"price"`
}
