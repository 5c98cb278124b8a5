package main

import (
	"strings"

	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/topology"
)

// Query 21, a number for each bid's channel: fixed ones for the known, of the others what stands behind the dash.
//
//	SELECT auction, bidder, price, channel,
//	  CASE WHEN channel = 'apple' THEN '0' WHEN … ELSE REGEXP_EXTRACT(channel, '-(.*)') END AS channel_id
//	FROM bid WHERE channel_id IS NOT NULL AND channel <> 'baidu'
var q21 = Query{
	Name: "q21", What: "channel id",
	Declare: func(b *topology.Builder, t Topics) {
		topology.FlatMapValues(t.bids(b), func(bid Bid) []ChannelBid {
			id, ok := channelID(bid.Channel)
			if !ok {
				return nil
			}
			return []ChannelBid{{bid.Auction, bid.Bidder, bid.Price, bid.Channel, id}}
		}, serde.JSON[ChannelBid]()).To(t.Results)
	},
	Expected: func(events []Event) (want []any) {
		ids := map[string]string{"apple": "0", "google": "1", "facebook": "2", "channel-7": "7", "channel-42": "42"}
		eachBid(events, func(bid Bid) {
			if id := ids[bid.Channel]; id != "" {
				want = append(want, ChannelBid{bid.Auction, bid.Bidder, bid.Price, bid.Channel, id})
			}
		})
		return want
	},
}

func channelID(channel string) (string, bool) {
	switch channel {
	case "apple":
		return "0", true
	case "google":
		return "1", true
	case "facebook":
		return "2", true
	}
	_, id, ok := strings.Cut(channel, "-")
	return id, ok
}

// ChannelBid is a result of query 21.
type ChannelBid struct {
	Auction   int64  `json:"auction"`
	Bidder    int64  `json:"bidder"`
	Price     int64  `json:"price"`
	Channel   string `json:"channel"`
	ChannelID string `json:"channel_id"`
}
