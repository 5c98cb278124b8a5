package main

import (
	"cmp"

	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/topology"
)

// Query 18, last bid: of each person for each auction, of bids at the same time the highest.
//
//	SELECT * FROM (
//	  SELECT *, ROW_NUMBER() OVER (PARTITION BY bidder, auction ORDER BY dateTime DESC, price DESC) AS n FROM bid
//	) WHERE n = 1
var q18 = Query{
	Name: "q18", What: "last bid", Table: true,
	Declare: func(b *topology.Builder, t Topics) {
		byBoth := topology.GroupBy(t.bids(b), func(_ int64, bid Bid) BidderAuction {
			return BidderAuction{bid.Bidder, bid.Auction}
		}, serde.JSON[BidderAuction](), topology.Named("by-bidder-and-auction"))
		topology.Reduce(byBoth, newer, topology.As("last-bids")).ToStream().To(t.Results)
	},
	Expected: func(events []Event) []any {
		last := make(map[BidderAuction]Bid)
		eachBid(events, func(bid Bid) {
			k := BidderAuction{bid.Bidder, bid.Auction}
			was, ok := last[k]
			if !ok || bid.DateTime > was.DateTime || bid.DateTime == was.DateTime && bid.Price > was.Price {
				last[k] = bid
			}
		})
		return values(last)
	},
}

// BidderAuction is the key of query 18.
type BidderAuction struct {
	Bidder  int64 `json:"bidder"`
	Auction int64 `json:"auction"`
}

func newer(x, y Bid) Bid {
	if cmp.Or(cmp.Compare(y.DateTime, x.DateTime), cmp.Compare(y.Price, x.Price)) > 0 {
		return y
	}
	return x
}
