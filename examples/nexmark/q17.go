package main

import (
	"time"

	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/topology"
)

// Query 17, statistics of each auction and day: bids by price range, and the least, greatest and average price.
//
//	SELECT auction, <day> AS day, COUNT(*), COUNT(*) FILTER (WHERE price < 10000), COUNT(*) FILTER (WHERE price
//	BETWEEN 10000 AND 99999), COUNT(*) FILTER (WHERE price >= 100000), MIN(price), MAX(price), AVG(price), SUM(price)
//	FROM bid GROUP BY auction, <day>
var q17 = Query{
	Name: "q17", What: "auction statistics", Table: true,
	Declare: func(b *topology.Builder, t Topics) {
		days := topology.WindowedBy(t.bids(b).GroupByKey(), topology.Days(time.UTC).Grace(lateness))
		stats := topology.Aggregate(days, func() AuctionStats { return AuctionStats{} },
			func(_ int64, bid Bid, s AuctionStats) AuctionStats { return s.with(bid) },
			serde.JSON[AuctionStats](), topology.As("stats"))
		topology.MapValuesWithKey(stats.ToStream(), func(k record.Windowed[int64], s AuctionStats) AuctionStats {
			s.Day = k.Window.StartTime().UTC().Format(time.DateOnly)
			return s
		}, serde.JSON[AuctionStats]()).To(t.Results)
	},
	Expected: func(events []Event) []any {
		type auctionDay struct {
			auction int64
			day     string
		}
		stats := make(map[auctionDay]AuctionStats)
		eachBid(events, func(bid Bid) {
			k := auctionDay{bid.Auction, time.UnixMilli(bid.DateTime).UTC().Format(time.DateOnly)}
			s := stats[k].with(bid)
			s.Day = k.day
			stats[k] = s
		})
		return values(stats)
	},
}

// AuctionStats is a result of query 17.
type AuctionStats struct {
	Auction int64  `json:"auction"`
	Day     string `json:"day"`
	Bids    int64  `json:"bids"`
	Low     int64  `json:"low"`
	Middle  int64  `json:"middle"`
	High    int64  `json:"high"`
	Min     int64  `json:"min"`
	Max     int64  `json:"max"`
	Average int64  `json:"average"`
	Sum     int64  `json:"sum"`
}

func (s AuctionStats) with(bid Bid) AuctionStats {
	if s.Bids == 0 {
		s.Auction, s.Min = bid.Auction, bid.Price
	}
	switch {
	case bid.Price < 10_000:
		s.Low++
	case bid.Price < 100_000:
		s.Middle++
	default:
		s.High++
	}
	s.Bids++
	s.Sum += bid.Price
	s.Min, s.Max, s.Average = min(s.Min, bid.Price), max(s.Max, bid.Price), s.Sum/s.Bids
	return s
}
