package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	quiet    = 200 * time.Millisecond // without a record, after which the results are looked at
	patience = 30 * time.Second       // without a record, after which no more is to be expected
)

// watch reads committed results until they are the expected ones. It returns the time of the last of them.
func watch(ctx context.Context, client *kgo.Client, r *results, events []Event) (time.Time, error) {
	check, err := checker(r, events)
	if err != nil {
		return time.Time{}, err
	}
	last := time.Now()
	for {
		n, err := poll(ctx, client, r)
		if err != nil {
			return last, err
		}
		if n > 0 {
			last = time.Now()
			continue
		}
		err = check()
		if err == nil {
			return last, nil
		}
		if time.Since(last) > patience {
			return last, fmt.Errorf("no more results for %v: %w", patience, err)
		}
	}
}

// checker returns what compares the results with those that the events must have.
func checker(r *results, events []Event) (func() error, error) {
	if r.query.Total != nil {
		total := r.query.Total(events)
		return func() error { return r.checkTotal(total) }, nil
	}
	want, err := expected(r.query, events)
	return func() error { return r.check(want) }, err
}

// poll adds the next records to the results and returns how many came. It waits for them, but not for long.
func poll(ctx context.Context, client *kgo.Client, r *results) (int, error) {
	wait, cancel := context.WithTimeout(ctx, quiet)
	defer cancel()
	fetches := client.PollFetches(wait)
	if ctx.Err() != nil {
		return 0, ctx.Err()
	}
	for _, e := range fetches.Errors() {
		if !errors.Is(e.Err, context.DeadlineExceeded) {
			return 0, fmt.Errorf("read %s-%d: %w", e.Topic, e.Partition, e.Err)
		}
	}
	n := 0
	fetches.EachRecord(func(record *kgo.Record) {
		r.add(record.Key, record.Value)
		n++
	})
	return n, nil
}
