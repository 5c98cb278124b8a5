package main

import (
	"slices"
	"time"

	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/topology"
)

// Query 5, hot items: every two seconds, which auctions have had the most bids in the last ten? Bids are counted where
// they are, by auction, and only the final counts of a window go through a repartition topic to those of the others.
//
//	SELECT starttime, auction, num FROM (
//	  SELECT auction, COUNT(*) AS num, HOP_START(…) AS starttime FROM bid
//	  GROUP BY auction, HOP(dateTime, INTERVAL '2' SECOND, INTERVAL '10' SECOND)
//	) WHERE num = the greatest num of that starttime
var q5 = Query{
	Name: "q5", What: "hot items", Table: true, Closes: true,
	Declare: func(b *topology.Builder, t Topics) {
		hops := topology.Hopping(10*time.Second, 2*time.Second).Grace(lateness)
		counts := topology.Count(topology.WindowedBy(t.bids(b).GroupByKey(), hops).EmitOnClose(), topology.As("counts"))
		byWindow := topology.Map(counts.ToStream(), func(k record.Windowed[int64], n int64) (int64, HotItems) {
			return k.Window.Start, HotItems{k.Window.Start, n, []int64{k.Key}}
		}, serde.Int64, serde.JSON[HotItems]())
		topology.Reduce(byWindow.GroupByKey(), hotter, topology.As("hottest")).ToStream().To(t.Results)
	},
	Expected: func(events []Event) (want []any) {
		counts := make(map[int64]map[int64]int64) // by start and auction
		eachBid(events, func(bid Bid) {
			for start := bid.DateTime / 2000 * 2000; start > bid.DateTime-10_000; start -= 2000 {
				if counts[start] == nil {
					counts[start] = make(map[int64]int64)
				}
				counts[start][bid.Auction]++
			}
		})
		for start, byAuction := range counts {
			hot := HotItems{Start: start}
			for _, n := range byAuction {
				hot.Bids = max(hot.Bids, n)
			}
			for auction, n := range byAuction {
				if n == hot.Bids {
					hot.Auctions = append(hot.Auctions, auction)
				}
			}
			slices.Sort(hot.Auctions)
			want = append(want, hot)
		}
		return want
	},
}

// HotItems is a result of query 5: the auctions with the most bids in a window.
type HotItems struct {
	Start    int64   `json:"start"`
	Bids     int64   `json:"bids"`
	Auctions []int64 `json:"auctions"`
}

// hotter returns the one with more bids, or of equal ones the auctions of both.
func hotter(x, y HotItems) HotItems {
	switch {
	case x.Bids > y.Bids:
		return x
	case y.Bids > x.Bids:
		return y
	}
	x.Auctions = slices.Concat(x.Auctions, y.Auctions)
	slices.Sort(x.Auctions)
	return x
}
