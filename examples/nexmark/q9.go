package main

import (
	"cmp"

	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/topology"
)

// Query 9, winning bids: of each auction the highest bid that came while it was open. Queries 4 and 6 go on from here.
//
//	SELECT A.*, B.* FROM (
//	  SELECT A.*, B.*, ROW_NUMBER() OVER (PARTITION BY A.id ORDER BY B.price DESC, B.dateTime ASC) AS n
//	  FROM auction A JOIN bid B ON A.id = B.auction WHERE B.dateTime BETWEEN A.dateTime AND A.expires
//	) WHERE n = 1
var q9 = Query{
	Name: "q9", What: "winning bids", Table: true,
	Declare: func(b *topology.Builder, t Topics) {
		winningBids(b, t).ToStream().To(t.Results)
	},
	Expected: func(events []Event) []any { return values(expectedWinners(events)) },
}

// Winner is a result of query 9.
type Winner struct {
	Auction  int64 `json:"auction"`
	Category int64 `json:"category"`
	Seller   int64 `json:"seller"`
	Opened   int64 `json:"opened"`
	Expires  int64 `json:"expires"`
	Bidder   int64 `json:"bidder"`
	Price    int64 `json:"price"`
	DateTime int64 `json:"dateTime"`
}

// winningBids is the table of the winners so far, by auction. Both topics are keyed by auction: nothing is
// repartitioned. The join of two streams finds each pair, whichever comes first.
func winningBids(b *topology.Builder, t Topics) *topology.KTable[int64, Winner] {
	whileOpen := topology.Within(0).After(maxDuration).Grace(skew)
	valid := topology.Join(t.auctions(b), t.bids(b), newWinner, whileOpen, serde.JSON[Winner]()).
		Filter(func(_ int64, w Winner) bool { return w.DateTime <= w.Expires })
	return topology.Reduce(valid.GroupByKey(), better, topology.As("winners"))
}

func newWinner(a Auction, bid Bid) Winner {
	return Winner{a.ID, a.Category, a.Seller, a.DateTime, a.Expires, bid.Bidder, bid.Price, bid.DateTime}
}

// better returns the higher bid, or of equal ones the earlier.
func better(x, y Winner) Winner {
	if cmp.Or(cmp.Compare(y.Price, x.Price), cmp.Compare(x.DateTime, y.DateTime), cmp.Compare(x.Bidder, y.Bidder)) > 0 {
		return y
	}
	return x
}

func expectedWinners(events []Event) map[int64]Winner {
	auctions, winners := auctionsByID(events), make(map[int64]Winner)
	eachBid(events, func(bid Bid) {
		a := auctions[bid.Auction]
		if bid.DateTime < a.DateTime || bid.DateTime > a.Expires {
			return
		}
		best, ok := winners[a.ID]
		if !ok || bid.Price > best.Price ||
			bid.Price == best.Price && (bid.DateTime < best.DateTime ||
				bid.DateTime == best.DateTime && bid.Bidder < best.Bidder) {
			winners[a.ID] = newWinner(a, bid)
		}
	})
	return winners
}
