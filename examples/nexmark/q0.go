package main

import "github.com/tidemarkio/tidemark/topology"

// Query 0, pass-through: every bid as it is. It measures what reading, decoding, encoding and writing cost.
//
//	SELECT auction, bidder, price, dateTime, extra FROM bid
var q0 = Query{
	Name: "q0", What: "pass-through",
	Declare: func(b *topology.Builder, t Topics) {
		t.bids(b).To(t.Results)
	},
	Expected: func(events []Event) (want []any) {
		eachBid(events, func(bid Bid) { want = append(want, bid) })
		return want
	},
}
