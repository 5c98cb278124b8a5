package main

import (
	"strings"

	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/topology"
)

// Query 22, the folders in each bid's URL.
//
//	SELECT auction, bidder, price, SPLIT_INDEX(url, '/', 3), SPLIT_INDEX(url, '/', 4), SPLIT_INDEX(url, '/', 5) FROM bid
var q22 = Query{
	Name: "q22", What: "folders of URLs",
	Declare: func(b *topology.Builder, t Topics) {
		topology.MapValues(t.bids(b), func(bid Bid) URLBid {
			row := URLBid{Auction: bid.Auction, Bidder: bid.Bidder, Price: bid.Price}
			if parts := strings.SplitN(bid.URL, "/", 7); len(parts) > 5 {
				row.Dirs = [3]string(parts[3:6])
			}
			return row
		}, serde.JSON[URLBid]()).To(t.Results)
	},
	Expected: func(events []Event) (want []any) {
		eachBid(events, func(bid Bid) {
			number := bid.URL[strings.LastIndexByte(bid.URL, '/')+1:]
			want = append(want, URLBid{bid.Auction, bid.Bidder, bid.Price, [3]string{bid.Channel, "item", number}})
		})
		return want
	},
}

// URLBid is a result of query 22.
type URLBid struct {
	Auction int64     `json:"auction"`
	Bidder  int64     `json:"bidder"`
	Price   int64     `json:"price"`
	Dirs    [3]string `json:"dirs"`
}
