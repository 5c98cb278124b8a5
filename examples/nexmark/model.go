package main

import (
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/topology"
)

// Person has registered at the auction house. Times are in milliseconds since the Unix epoch, here as everywhere.
type Person struct {
	ID       int64  `json:"id"`
	Name     string `json:"name"`
	Email    string `json:"email"`
	City     string `json:"city"`
	State    string `json:"state"`
	DateTime int64  `json:"dateTime"`
}

// Auction is an item that a person sells. Prices are in cents.
type Auction struct {
	ID         int64  `json:"id"`
	ItemName   string `json:"itemName"`
	InitialBid int64  `json:"initialBid"`
	DateTime   int64  `json:"dateTime"`
	Expires    int64  `json:"expires"`
	Seller     int64  `json:"seller"`
	Category   int64  `json:"category"`
}

// Bid is what a person offers in an auction. It may come after the auction has expired.
type Bid struct {
	Auction  int64  `json:"auction"`
	Bidder   int64  `json:"bidder"`
	Price    int64  `json:"price"`
	Channel  string `json:"channel"`
	URL      string `json:"url"`
	DateTime int64  `json:"dateTime"`
	Extra    string `json:"extra"`
}

var (
	personSerde  = serde.JSON[Person]()
	auctionSerde = serde.JSON[Auction]()
	bidSerde     = serde.JSON[Bid]()
)

// Topics are the names of the topics of one run. Persons and auctions are keyed by their ids, bids by their auctions,
// and all three topics have the same number of partitions. The records' timestamps are the DateTimes.
type Topics struct {
	Person, Auction, Bid string
	SideInput            string // of query 13 only: what is known from elsewhere, by a number
	Results              string
}

func (t Topics) persons(b *topology.Builder) *topology.KStream[int64, Person] {
	return topology.Stream(b, t.Person, serde.Int64, personSerde)
}

func (t Topics) auctions(b *topology.Builder) *topology.KStream[int64, Auction] {
	return topology.Stream(b, t.Auction, serde.Int64, auctionSerde)
}

func (t Topics) bids(b *topology.Builder, opts ...topology.SourceOption) *topology.KStream[int64, Bid] {
	return topology.Stream(b, t.Bid, serde.Int64, bidSerde, opts...)
}
