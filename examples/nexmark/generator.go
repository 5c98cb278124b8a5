package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"time"
)

// Event is one of a person, an auction and a bid.
type Event struct {
	Person  *Person
	Auction *Auction
	Bid     *Bid
	// At is when the event arrives: its DateTime, or somewhat later.
	At int64
}

const (
	firstTime = 1_700_000_000_000 // of the first event
	meanGap   = 10                // milliseconds between two events
	firstID   = 1000              // of persons and of auctions

	// Of 50 events in a row the first is a person, the next three are auctions, and the others bids.
	round            = 50
	auctionsPerRound = 3

	activePersons  = 200 // the newest ones, who sell and bid
	activeAuctions = 100 // the newest ones, for which bids come
	hotEvery       = 20  // of so many auctions or persons one is hot at a time

	firstCategory, categories = 10, 5
	sideRows                  = 50
)

// maxDuration is how long an auction can be open.
const maxDuration = 20 * time.Second

var (
	states     = []string{"OR", "ID", "CA", "WA", "AZ", "WY", "NV"}
	cities     = []string{"Portland", "Boise", "Oakland", "Seattle", "Phoenix", "Cheyenne", "Reno"}
	firstNames = []string{"Ada", "Bo", "Cyd", "Dov", "Eve", "Fay", "Gil", "Hal", "Ira", "Joy"}
	lastNames  = []string{"Abel", "Bond", "Cole", "Dunn", "Eads", "Ford", "Gray", "Hill"}
	items      = []string{"lamp", "clock", "chair", "violin", "atlas", "kettle", "compass"}
	channels   = []string{"apple", "google", "facebook", "baidu", "channel-7", "channel-42"}
)

// generator makes events from a seed: the same ones each time.
type generator struct {
	rng        *rand.Rand
	outOfOrder int64 // milliseconds that an event may arrive late
	now        int64
	people     int64 // so many there are
	auctions   int64
}

// Generate returns the first n events of a seed. Their times are up to outOfOrder before those of their arrival.
func Generate(seed uint64, n int, outOfOrder time.Duration) []Event {
	g := &generator{rng: rand.New(rand.NewPCG(seed, 1)), outOfOrder: outOfOrder.Milliseconds(), now: firstTime}
	events := make([]Event, n)
	for i := range events {
		events[i] = g.next(i % round)
		g.now += g.rng.Int64N(2*meanGap + 1)
	}
	return events
}

func (g *generator) next(place int) Event {
	dateTime := g.now
	if g.outOfOrder > 0 {
		dateTime -= g.rng.Int64N(g.outOfOrder + 1)
	}
	switch {
	case place == 0:
		return Event{Person: g.person(dateTime), At: g.now}
	case place <= auctionsPerRound:
		return Event{Auction: g.auction(dateTime), At: g.now}
	default:
		return Event{Bid: g.bid(dateTime), At: g.now}
	}
}

func (g *generator) person(dateTime int64) *Person {
	place := g.rng.IntN(len(states))
	first, last := pick(g.rng, firstNames), pick(g.rng, lastNames)
	p := &Person{
		ID: firstID + g.people, Name: first + " " + last, Email: first + "@" + last + ".example",
		City: cities[place], State: states[place], DateTime: dateTime,
	}
	g.people++
	return p
}

func (g *generator) auction(dateTime int64) *Auction {
	a := &Auction{
		ID: firstID + g.auctions, ItemName: pick(g.rng, items), InitialBid: g.price(), DateTime: dateTime,
		Expires: dateTime + 1 + g.rng.Int64N(maxDuration.Milliseconds()),
		Seller:  g.choose(g.people, activePersons, 4), Category: firstCategory + g.rng.Int64N(categories),
	}
	g.auctions++
	return a
}

func (g *generator) bid(dateTime int64) *Bid {
	channel := pick(g.rng, channels)
	return &Bid{
		Auction: g.choose(g.auctions, activeAuctions, 2), Bidder: g.choose(g.people, activePersons, 4),
		Price: g.price(), Channel: channel, DateTime: dateTime,
		URL:   fmt.Sprintf("https://www.nexmark.example/%s/item/%d", channel, g.rng.IntN(1000)),
		Extra: strconv.FormatUint(g.rng.Uint64(), 16),
	}
}

// choose returns the id of one of the newest of so many things. Every few choices it is the hot one, which changes with
// each hotEvery new ones.
func (g *generator) choose(there, active int64, hotIn int) int64 {
	if g.rng.IntN(hotIn) == 0 {
		return firstID + (there-1)/hotEvery*hotEvery
	}
	return firstID + there - 1 - g.rng.Int64N(min(there, active))
}

// price is between 1 and 10,000 dollars; low ones are as frequent as high ones.
func (g *generator) price() int64 { return int64(100 * math.Pow(10, 4*g.rng.Float64())) }

func pick(rng *rand.Rand, of []string) string { return of[rng.IntN(len(of))] }

// closingBid is a bid so late that every window before it closes. It is in no result.
func closingBid(events []Event) *Bid {
	return &Bid{DateTime: events[len(events)-1].At + time.Hour.Milliseconds()}
}

func sideValue(n int64) string { return fmt.Sprintf("side-%d", n) }
