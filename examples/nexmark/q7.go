package main

import (
	"cmp"
	"time"

	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/topology"
)

// Query 7, highest bid of every ten seconds, of equal ones the earliest. As in query 5 the first step is by auction, in
// parallel, and only final rows meet in the second.
//
//	SELECT B.auction, B.price, B.bidder, B.dateTime FROM bid B JOIN (
//	  SELECT MAX(price) AS maxprice, TUMBLE_START(…) AS starttime FROM bid
//	  GROUP BY TUMBLE(dateTime, INTERVAL '10' SECOND)
//	) W ON B.price = W.maxprice AND B.dateTime is in the window
var q7 = Query{
	Name: "q7", What: "highest bid", Table: true, Closes: true,
	Declare: func(b *topology.Builder, t Topics) {
		windows := topology.Tumbling(10 * time.Second).Grace(lateness)
		ofAuctions := topology.Reduce(topology.WindowedBy(t.bids(b).GroupByKey(), windows).EmitOnClose(), higher,
			topology.As("highest-of-auctions"))
		byWindow := topology.SelectKey(ofAuctions.ToStream(), func(k record.Windowed[int64], _ Bid) int64 {
			return k.Window.Start
		}, serde.Int64)
		highest := topology.Reduce(byWindow.GroupByKey(), higher, topology.As("highest"))
		topology.MapValuesWithKey(highest.ToStream(), newHighestBid, serde.JSON[HighestBid]()).To(t.Results)
	},
	Expected: func(events []Event) []any {
		highest := make(map[int64]HighestBid)
		eachBid(events, func(bid Bid) {
			start := bid.DateTime / 10_000 * 10_000
			best, ok := highest[start]
			if !ok || bid.Price > best.Price || bid.Price == best.Price && (bid.DateTime < best.DateTime ||
				bid.DateTime == best.DateTime && bid.Auction < best.Auction) {
				highest[start] = newHighestBid(start, bid)
			}
		})
		return values(highest)
	},
}

func higher(x, y Bid) Bid {
	if cmp.Or(cmp.Compare(y.Price, x.Price), cmp.Compare(x.DateTime, y.DateTime), cmp.Compare(x.Auction, y.Auction)) > 0 {
		return y
	}
	return x
}

// HighestBid is a result of query 7.
type HighestBid struct {
	Start    int64 `json:"start"`
	Auction  int64 `json:"auction"`
	Bidder   int64 `json:"bidder"`
	Price    int64 `json:"price"`
	DateTime int64 `json:"dateTime"`
}

func newHighestBid(start int64, bid Bid) HighestBid {
	return HighestBid{start, bid.Auction, bid.Bidder, bid.Price, bid.DateTime}
}
