package main

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/tidemarktest"
	"github.com/tidemarkio/tidemark/topology"
)

var testTopics = Topics{"person", "auction", "bid", "side-input", "results"}

// Every query gives exactly the results of the direct computation, with events in order and out of order, and also if
// the tasks crash in between.
func TestQueries(t *testing.T) {
	for _, tt := range []struct {
		name       string
		outOfOrder time.Duration
		crash      bool
	}{
		{name: "in order"},
		{name: "out of order", outOfOrder: lateness, crash: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			events := Generate(1, 4000, tt.outOfOrder)
			for _, q := range queries {
				t.Run(q.Name, func(t *testing.T) {
					want, err := expected(q, events)
					require.NoError(t, err)
					require.NotEmpty(t, want)
					require.NoError(t, runOnDriver(t, q, events, tt.crash).check(want))
				})
			}
		})
	}
}

// runOnDriver pipes the events, each at the moment of its arrival by the wall clock.
func runOnDriver(t *testing.T, q Query, events []Event, crash bool) *results {
	t.Helper()
	b := topology.NewBuilder()
	q.Declare(b, testTopics)
	d := tidemarktest.New(t, b, tidemarktest.WithWallClock(time.UnixMilli(firstTime)))
	pipe := piper(d, b)
	now := int64(firstTime)
	for i, e := range events {
		d.AdvanceWallClock(time.Duration(e.At-now) * time.Millisecond)
		now = e.At
		pipe(e)
		if crash && i == len(events)/2 {
			d.Commit()
			d.Crash()
		}
	}
	if q.Closes {
		pipe(Event{Bid: closingBid(events)})
	}
	d.Commit()
	r := newResults(q)
	for _, out := range tidemarktest.Output(d, testTopics.Results, serde.Bytes, serde.Bytes).ReadAll() {
		r.add(out.Key, out.Value)
	}
	return r
}

// piper returns what pipes an event to its topic, if the query reads it.
func piper(d *tidemarktest.Driver, b *topology.Builder) func(e Event) {
	sources := topology.Describe(b.MustBuild())
	reads := func(topic string) bool { return strings.Contains(sources, "topics: ["+topic+"]") }
	var (
		persons  *tidemarktest.InputTopic[int64, Person]
		auctions *tidemarktest.InputTopic[int64, Auction]
		bids     *tidemarktest.InputTopic[int64, Bid]
	)
	if reads(testTopics.Person) {
		persons = tidemarktest.Input(d, testTopics.Person, serde.Int64, personSerde)
	}
	if reads(testTopics.Auction) {
		auctions = tidemarktest.Input(d, testTopics.Auction, serde.Int64, auctionSerde)
	}
	if reads(testTopics.Bid) {
		bids = tidemarktest.Input(d, testTopics.Bid, serde.Int64, bidSerde)
	}
	if reads(testTopics.SideInput) {
		side := tidemarktest.Input(d, testTopics.SideInput, serde.Int64, serde.String)
		for n := range int64(sideRows) {
			side.Pipe(n, sideValue(n), firstTime)
		}
	}
	return func(e Event) {
		switch {
		case e.Person != nil && persons != nil:
			persons.Pipe(e.Person.ID, *e.Person, e.Person.DateTime)
		case e.Auction != nil && auctions != nil:
			auctions.Pipe(e.Auction.ID, *e.Auction, e.Auction.DateTime)
		case e.Bid != nil && bids != nil:
			bids.Pipe(e.Bid.Auction, *e.Bid, e.Bid.DateTime)
		}
	}
}

// The same on the embedded broker: a foreign-key join, final windows, windows of the wall clock, a global table.
func TestRun(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	o := options{stateDir: t.TempDir(), query: "q3,q5,q12,q13", events: 2000, seed: 7, outOfOrder: time.Second}
	require.NoError(t, run(ctx, o))
}

func TestRunRefuses(t *testing.T) {
	for name, o := range map[string]options{
		"unknown query":  {query: "q10", events: 100},
		"too few events": {query: "q0", events: 1},
		"too late":       {query: "q0", events: 100, outOfOrder: time.Hour},
	} {
		require.Error(t, run(t.Context(), o), name)
	}
}

func TestGenerate(t *testing.T) {
	events := Generate(3, 1000, time.Second)
	require.Equal(t, events, Generate(3, 1000, time.Second))
	require.NotEqual(t, events, Generate(4, 1000, time.Second))
	var persons, auctions, bids int
	var at int64
	for _, e := range events {
		require.GreaterOrEqual(t, e.At, at)
		at = e.At
		switch {
		case e.Person != nil:
			persons++
		case e.Auction != nil:
			auctions++
		default:
			bids++
		}
	}
	require.Equal(t, []int{20, 60, 920}, []int{persons, auctions, bids})
}

// A result that is wrong, missing or there twice is found.
func TestCheck(t *testing.T) {
	for name, have := range map[string][]string{
		"wrong": {"a", "x"}, "missing": {"a"}, "twice": {"a", "b", "b"}, "none": {}, "first missing": {"b"},
	} {
		r := &results{query: q0, stream: have}
		require.Error(t, r.check([]string{"a", "b"}), name)
	}
	require.NoError(t, (&results{query: q0, stream: []string{"b", "a"}}).check([]string{"a", "b"}))
}
