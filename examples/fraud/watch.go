package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// watch reads committed totals and alerts, shows how far they are, and ends when they are what they must be. One too
// many is an error at once: it would be a payment counted twice.
func watch(ctx context.Context, brokers []string, l *load, want verdict) error {
	reader, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.ConsumeTopics(totalsTopic, alertsTopic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	if err != nil {
		return err
	}
	defer reader.Close()
	got := verdict{totals: make(map[string]Spending), alerts: make(map[string]int)}
	var counted int64
	shown := time.Now()
	for {
		fetches := reader.PollFetches(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		for _, e := range fetches.Errors() {
			return fmt.Errorf("read %s-%d: %w", e.Topic, e.Partition, e.Err)
		}
		var bad error
		fetches.EachRecord(func(r *kgo.Record) {
			n, err := got.take(r)
			counted += n
			if err != nil {
				bad = err
			}
		})
		if bad != nil {
			return bad
		}
		for rule, n := range got.alerts {
			if n > want.alerts[rule] {
				return fmt.Errorf("there are %d alerts %q, and must be %d", n, rule, want.alerts[rule])
			}
		}
		done := counted == int64(len(l.payments)) && maps.Equal(got.alerts, want.alerts)
		if !done && time.Since(shown) < 500*time.Millisecond {
			continue
		}
		shown = time.Now()
		fmt.Printf("%3d %%  %7d payments   alerts: %s\n", 100*counted/int64(len(l.payments)), counted, got.summary())
		if !done {
			continue
		}
		if !maps.Equal(got.totals, want.totals) {
			return errors.New("the totals differ from a direct computation")
		}
		fmt.Printf("\n%d payments of %d users, each counted exactly once: ", counted, len(got.totals))
		fmt.Println("all totals and alerts equal a direct computation.")
		return nil
	}
}

// take adds a record, and returns by how many payments the totals grew.
func (v *verdict) take(r *kgo.Record) (int64, error) {
	user := string(r.Key)
	if r.Topic == alertsTopic {
		var a Alert
		err := json.Unmarshal(r.Value, &a)
		v.alerts[a.Rule]++
		return 0, err
	}
	var s Spending
	if err := json.Unmarshal(r.Value, &s); err != nil {
		return 0, err
	}
	n := s.Payments - v.totals[user].Payments
	v.totals[user] = s
	return n, nil
}

func (v *verdict) summary() string {
	var parts []string
	for _, rule := range slices.Sorted(maps.Keys(v.alerts)) {
		parts = append(parts, fmt.Sprintf("%s %d", rule, v.alerts[rule]))
	}
	return strings.Join(parts, ", ")
}
