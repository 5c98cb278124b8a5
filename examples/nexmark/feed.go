package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tidemarkio/tidemark/serde"
)

// feed writes the side input and the events, in the order of their arrival, and for a query whose windows must close a
// last bid to each partition.
func feed(ctx context.Context, brokers []string, t Topics, q Query, events []Event) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.ProducerLinger(5*time.Millisecond))
	if err != nil {
		return err
	}
	defer client.Close()
	var records []*kgo.Record
	for n := range int64(sideRows) {
		records = append(records, &kgo.Record{Topic: t.SideInput, Key: keyBytes(n), Value: []byte(sideValue(n))})
	}
	for _, e := range events {
		r, err := t.record(e)
		if err != nil {
			return err
		}
		records = append(records, r)
	}
	if err := client.ProduceSync(ctx, records...).FirstErr(); err != nil {
		return fmt.Errorf("write the events: %w", err)
	}
	if !q.Closes {
		return nil
	}
	return feedClosingBids(ctx, brokers, t, events)
}

func feedClosingBids(ctx context.Context, brokers []string, t Topics, events []Event) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		return err
	}
	defer client.Close()
	for p := range int32(partitions) {
		r, err := t.record(Event{Bid: closingBid(events)})
		if err != nil {
			return err
		}
		r.Partition = p
		if err := client.ProduceSync(ctx, r).FirstErr(); err != nil {
			return fmt.Errorf("write the closing bid of partition %d: %w", p, err)
		}
	}
	return nil
}

// record returns the record of an event.
func (t Topics) record(e Event) (*kgo.Record, error) {
	var topic string
	var key, at int64
	var event any
	switch {
	case e.Person != nil:
		topic, key, at, event = t.Person, e.Person.ID, e.Person.DateTime, e.Person
	case e.Auction != nil:
		topic, key, at, event = t.Auction, e.Auction.ID, e.Auction.DateTime, e.Auction
	default:
		topic, key, at, event = t.Bid, e.Bid.Auction, e.Bid.DateTime, e.Bid
	}
	value, err := json.Marshal(event)
	return &kgo.Record{Topic: topic, Key: keyBytes(key), Value: value, Timestamp: time.UnixMilli(at)}, err
}

func keyBytes(id int64) []byte {
	key, _ := serde.Int64.Append(nil, id) // a number can always be encoded
	return key
}
