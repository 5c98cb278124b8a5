package main

import (
	"slices"
	"time"

	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/topology"
)

const sessionGap = time.Second

// Query 11, user sessions: how many bids did a person make in each session of activity? The results are updates: a
// session that grows is replaced by a longer one, and a null deletes the old.
//
//	SELECT bidder, COUNT(*), SESSION_START(…), SESSION_END(…) FROM bid
//	GROUP BY bidder, SESSION(dateTime, INTERVAL '1' SECOND)
var q11 = Query{
	Name: "q11", What: "user sessions", Table: true,
	Declare: func(b *topology.Builder, t Topics) {
		byBidder := topology.GroupBy(t.bids(b), bidder, serde.Int64, topology.Named("by-bidder"))
		sessions := topology.SessionWindowedBy(byBidder, topology.Session(sessionGap).Grace(skew))
		counts := topology.Count(sessions, topology.As("sessions"))
		topology.MapValuesWithKey(counts.ToStream(), func(k record.Windowed[int64], n int64) BidderCount {
			return BidderCount{k.Key, k.Window.Start, k.Window.End, n}
		}, serde.JSON[BidderCount]()).To(t.Results)
	},
	Expected: func(events []Event) (want []any) {
		times := make(map[int64][]int64)
		eachBid(events, func(bid Bid) { times[bid.Bidder] = append(times[bid.Bidder], bid.DateTime) })
		for bidder, list := range times {
			slices.Sort(list)
			session := BidderCount{bidder, list[0], list[0], 0}
			for _, at := range list {
				if at-session.End > sessionGap.Milliseconds() {
					want = append(want, session)
					session = BidderCount{bidder, at, at, 0}
				}
				session.End = at
				session.Bids++
			}
			want = append(want, session)
		}
		return want
	},
}

func bidder(_ int64, bid Bid) int64 { return bid.Bidder }

// BidderCount is a result of queries 11 and 12. The end of a session is the time of its last bid.
type BidderCount struct {
	Bidder int64 `json:"bidder"`
	Start  int64 `json:"start"`
	End    int64 `json:"end"`
	Bids   int64 `json:"bids"`
}
