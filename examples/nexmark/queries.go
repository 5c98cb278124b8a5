package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/tidemarkio/tidemark/topology"
)

// Query is one of the benchmark's. Its results are JSON values in the topic Results.
type Query struct {
	Name string
	What string
	// Declare declares the topology.
	Declare func(b *topology.Builder, t Topics)
	// Expected computes the results from all events at once, without Tidemark.
	Expected func(events []Event) []any
	// Table says that the results are updates: the last one of each key counts.
	Table bool
	// Closes says that results come when windows close: after the events there must be a bid that closes the last.
	Closes bool
	// Total is set if the results depend on when the events are processed: what must be so nevertheless.
	Total func(events []Event) int64
	// Part is what one result adds to Total.
	Part func(result []byte) (int64, error)
}

const (
	// lateness is how long windows wait for late events where all of a key come in the order of one partition.
	lateness = 5 * time.Second
	// skew is how long they wait behind a repartition topic or a join, where records of several partitions meet that may
	// have been read at very different speeds: here all that is there at the start.
	skew = 24 * time.Hour
)

// queries in the order of their numbers.
var queries = []Query{
	q0, q1, q2, q3, q4, q5, q6, q7, q8, q9, q11, q12, q13, q14, q17, q18, q19, q20, q21, q22,
}

// choose returns the queries of names, separated by commas, or all.
func choose(names string) (chosen []Query, err error) {
	if names == "" || names == "all" {
		return queries, nil
	}
	known := make(map[string]Query)
	var list []string
	for _, q := range queries {
		known[q.Name] = q
		list = append(list, q.Name)
	}
	for name := range strings.SplitSeq(names, ",") {
		q, ok := known[name]
		if !ok {
			return nil, fmt.Errorf("-query %q: there are %s", name, strings.Join(list, ", "))
		}
		chosen = append(chosen, q)
	}
	return chosen, nil
}

// eachBid calls f for every bid.
func eachBid(events []Event, f func(bid Bid)) {
	for _, e := range events {
		if e.Bid != nil {
			f(*e.Bid)
		}
	}
}

// auctionsByID returns all auctions.
func auctionsByID(events []Event) map[int64]Auction {
	auctions := make(map[int64]Auction)
	for _, e := range events {
		if e.Auction != nil {
			auctions[e.Auction.ID] = *e.Auction
		}
	}
	return auctions
}

// values returns the values of a map: results in no order.
func values[K comparable, V any](m map[K]V) []any {
	list := make([]any, 0, len(m))
	for _, v := range m {
		list = append(list, v)
	}
	return list
}
