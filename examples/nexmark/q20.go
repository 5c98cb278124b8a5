package main

import (
	"time"

	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/topology"
)

// Query 20, bids with their auctions, of category 10. The join of two streams has every pair, whichever comes first;
// where only auctions come first a table of them would do (JoinTable), which keeps no bids.
//
//	SELECT B.*, A.* FROM bid B JOIN auction A ON B.auction = A.id WHERE A.category = 10
var q20 = Query{
	Name: "q20", What: "bids with their auctions",
	Declare: func(b *topology.Builder, t Topics) {
		auctions := t.auctions(b).Filter(func(_ int64, a Auction) bool { return a.Category == 10 })
		topology.Join(t.bids(b), auctions, func(bid Bid, a Auction) ExpandedBid { return ExpandedBid{bid, a} },
			topology.Within(time.Hour).Grace(skew), serde.JSON[ExpandedBid]()).To(t.Results)
	},
	Expected: func(events []Event) (want []any) {
		auctions := auctionsByID(events)
		eachBid(events, func(bid Bid) {
			if a := auctions[bid.Auction]; a.Category == 10 {
				want = append(want, ExpandedBid{bid, a})
			}
		})
		return want
	},
}

// ExpandedBid is a result of query 20.
type ExpandedBid struct {
	Bid     Bid     `json:"bid"`
	Auction Auction `json:"auction"`
}
