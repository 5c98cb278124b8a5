package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tidemarkio/tidemark/examples/internal/cluster"
)

const partitions = 4

// feed writes the lines that the topic does not have yet.
func feed(ctx context.Context, c *cluster.Cluster, topic string, lines []string, perSecond int) error {
	have, err := c.Count(ctx, partitions, topic)
	if err != nil {
		return err
	}
	if have > 0 {
		fmt.Printf("the topic has %d of %d lines already\n", have, len(lines))
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	step := max(1, perSecond/20)
	for from := int(have); from < len(lines); from += step {
		var records []*kgo.Record
		for i := from; i < min(from+step, len(lines)); i++ {
			records = append(records, &kgo.Record{Topic: topic, Key: fmt.Appendf(nil, "line %d", i), Value: []byte(lines[i])})
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

type result struct {
	words    int64
	distinct int
	err      error
}

// watch reads committed counts, shows the most frequent words, and ends when every word has its final count.
func watch(ctx context.Context, brokers []string, topic string, expected map[string]int64) result {
	reader, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	if err != nil {
		return result{err: err}
	}
	defer reader.Close()
	var total, have int64
	for _, n := range expected {
		total += n
	}
	counts := make(map[string]int64)
	shown := time.Now()
	for {
		fetches := reader.PollFetches(ctx)
		if ctx.Err() != nil {
			return result{err: ctx.Err()}
		}
		for _, e := range fetches.Errors() {
			return result{err: fmt.Errorf("read %s-%d: %w", e.Topic, e.Partition, e.Err)}
		}
		fetches.EachRecord(func(r *kgo.Record) {
			word, n := string(r.Key), int64(binary.BigEndian.Uint64(r.Value))
			have += n - counts[word]
			counts[word] = n
		})
		if have < total && time.Since(shown) < 500*time.Millisecond {
			continue
		}
		shown = time.Now()
		fmt.Printf("%3d %%  %7d words  %5d distinct   %s\n", 100*have/total, have, len(counts), top(counts, 6))
		if have < total {
			continue
		}
		for word, n := range expected {
			if counts[word] != n {
				return result{err: fmt.Errorf("%q was counted %d times and occurs %d times", word, counts[word], n)}
			}
		}
		return result{words: have, distinct: len(counts)}
	}
}

// top returns the n most frequent words with their counts.
func top(counts map[string]int64, n int) string {
	words := make([]string, 0, len(counts))
	for w := range counts {
		words = append(words, w)
	}
	slices.SortFunc(words, func(a, b string) int {
		if counts[a] != counts[b] {
			return int(counts[b] - counts[a])
		}
		return strings.Compare(a, b)
	})
	var out []string
	for _, w := range words[:min(n, len(words))] {
		out = append(out, fmt.Sprintf("%s %d", w, counts[w]))
	}
	return strings.Join(out, ", ")
}
