package main

import (
	"strings"
	"time"

	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/topology"
)

// Query 14, calculation: the bids of a range of prices with columns that functions compute.
//
//	SELECT auction, bidder, 0.908 * price AS price, <time of day> AS bidTimeType, count_char(extra, 'c') AS c_counts
//	FROM bid WHERE 0.908 * price > 10000 AND 0.908 * price < 500000
var q14 = Query{
	Name: "q14", What: "calculation",
	Declare: func(b *topology.Builder, t Topics) {
		inRange := t.bids(b).Filter(func(_ int64, bid Bid) bool {
			price := euros(bid.Price)
			return price > 10_000 && price < 500_000
		})
		topology.MapValues(inRange, func(bid Bid) CalculatedBid {
			return CalculatedBid{
				bid.Auction, bid.Bidder, euros(bid.Price), timeOfDay(bid.DateTime), strings.Count(bid.Extra, "c"),
			}
		}, serde.JSON[CalculatedBid]()).To(t.Results)
	},
	Expected: func(events []Event) (want []any) {
		eachBid(events, func(bid Bid) {
			price := bid.Price * 908 / 1000
			if price <= 10_000 || price >= 500_000 {
				return
			}
			row := CalculatedBid{Auction: bid.Auction, Bidder: bid.Bidder, Price: price, TimeOfDay: timeOfDay(bid.DateTime)}
			for _, r := range bid.Extra {
				if r == 'c' {
					row.Cs++
				}
			}
			want = append(want, row)
		})
		return want
	},
}

// timeOfDay is what time.Time's hour says, in UTC.
func timeOfDay(ms int64) string {
	switch hour := time.UnixMilli(ms).UTC().Hour(); {
	case hour >= 8 && hour <= 18:
		return "dayTime"
	case hour <= 6 || hour >= 20:
		return "nightTime"
	default:
		return "otherTime"
	}
}

// CalculatedBid is a result of query 14.
type CalculatedBid struct {
	Auction   int64  `json:"auction"`
	Bidder    int64  `json:"bidder"`
	Price     int64  `json:"price"`
	TimeOfDay string `json:"bidTimeType"`
	Cs        int    `json:"c_counts"`
}
