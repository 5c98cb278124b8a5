package main

import "github.com/tidemarkio/tidemark/topology"

// Query 1, currency conversion: every bid with its price in euros.
//
//	SELECT auction, bidder, 0.908 * price AS price, dateTime, extra FROM bid
var q1 = Query{
	Name: "q1", What: "currency conversion",
	Declare: func(b *topology.Builder, t Topics) {
		topology.MapValues(t.bids(b), inEuros, bidSerde).To(t.Results)
	},
	Expected: func(events []Event) (want []any) {
		eachBid(events, func(bid Bid) {
			bid.Price = bid.Price * 908 / 1000
			want = append(want, bid)
		})
		return want
	},
}

func inEuros(bid Bid) Bid {
	bid.Price = euros(bid.Price)
	return bid
}

// euros converts cents of a dollar, rounded down.
func euros(price int64) int64 { return price * 908 / 1000 }
