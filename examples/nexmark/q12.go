package main

import (
	"encoding/json"
	"time"

	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/topology"
)

// Query 12, processing-time windows: how many bids did a person make in each ten seconds of the wall clock? The source
// takes its records' times from the clock; all behind it is as with event time. The grace is for records of two
// partitions that pass the end of a window in the repartition topic side by side.
//
//	SELECT bidder, COUNT(*), TUMBLE_START(…) FROM (SELECT *, PROCTIME() AS p_time FROM bid)
//	GROUP BY bidder, TUMBLE(p_time, INTERVAL '10' SECOND)
var q12 = Query{
	Name: "q12", What: "processing-time windows", Table: true,
	Declare: func(b *topology.Builder, t Topics) {
		bids := t.bids(b, topology.WithTimestampExtractor(processor.WallclockTimestampExtractor))
		byBidder := topology.GroupBy(bids, bidder, serde.Int64, topology.Named("by-bidder"))
		windows := topology.Tumbling(10 * time.Second).Grace(time.Minute)
		counts := topology.Count(topology.WindowedBy(byBidder, windows), topology.As("counts"))
		topology.MapValuesWithKey(counts.ToStream(), func(k record.Windowed[int64], n int64) BidderCount {
			return BidderCount{k.Key, k.Window.Start, k.Window.End, n}
		}, serde.JSON[BidderCount]()).To(t.Results)
	},
	// If every event is processed at the moment of its arrival.
	Expected: func(events []Event) []any {
		counts := make(map[record.Windowed[int64]]BidderCount)
		for _, e := range events {
			if e.Bid == nil {
				continue
			}
			start := e.At / 10_000 * 10_000
			window := record.Window{Start: start, End: start + 10_000}
			k := record.Windowed[int64]{Key: e.Bid.Bidder, Window: window}
			counts[k] = BidderCount{e.Bid.Bidder, start, window.End, counts[k].Bids + 1}
		}
		return values(counts)
	},
	Total: func(events []Event) (n int64) {
		eachBid(events, func(Bid) { n++ })
		return n
	},
	Part: func(result []byte) (int64, error) {
		var c BidderCount
		err := json.Unmarshal(result, &c)
		return c.Bids, err
	},
}
