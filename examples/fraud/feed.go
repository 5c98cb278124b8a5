package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tidemarkio/tidemark/examples/internal/cluster"
)

const partitions = 4

// feedProfiles writes the profiles, unless an earlier run did.
func feedProfiles(ctx context.Context, c *cluster.Cluster, l *load) error {
	have, err := c.Count(ctx, partitions, profilesTopic)
	if err != nil || have > 0 {
		return err
	}
	records := make([]*kgo.Record, 0, len(l.users))
	for _, user := range l.users {
		value, err := json.Marshal(l.profiles[user])
		if err != nil {
			return err
		}
		records = append(records, &kgo.Record{
			Topic: profilesTopic, Key: []byte(user), Value: value, Timestamp: time.UnixMilli(0),
		})
	}
	return c.Client.ProduceSync(ctx, records...).FirstErr()
}

// feed writes the payments that the topic does not have yet.
func feed(ctx context.Context, c *cluster.Cluster, payments []payment, perSecond int) error {
	have, err := c.Count(ctx, partitions, transactionsTopic)
	if err != nil {
		return err
	}
	if have > 0 {
		fmt.Printf("the topic has %d payments already\n", have)
	}
	const ticksPerSecond = 20
	tick := time.NewTicker(time.Second / ticksPerSecond)
	defer tick.Stop()
	step := max(1, perSecond/ticksPerSecond)
	for from := int(have); from < len(payments); from += step {
		var records []*kgo.Record
		for _, p := range payments[from:min(from+step, len(payments))] {
			value, err := json.Marshal(p.Transaction)
			if err != nil {
				return err
			}
			records = append(records, &kgo.Record{
				Topic: transactionsTopic, Key: []byte(p.user), Value: value, Timestamp: time.UnixMilli(p.AtMs),
			})
		}
		if err := c.Client.ProduceSync(ctx, records...).FirstErr(); err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
