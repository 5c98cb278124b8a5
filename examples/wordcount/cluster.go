package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const partitions = 4

// cluster is the Kafka that the example runs on. It is fed and read with another client than Tidemark's, so that what
// it shows is what any reader would see.
type cluster struct {
	brokers  []string
	embedded *kfake.Cluster // nil: a real one
	dataDir  string         // of the embedded broker
	client   *kgo.Client
}

// connect finds the cluster, or starts a broker in this process whose topics outlive it.
func connect(ctx context.Context, o options, stateDir string) (*cluster, error) {
	c := &cluster{brokers: strings.Split(o.brokers, ",")}
	if o.brokers == "" {
		c.dataDir = filepath.Join(stateDir, o.applicationID+"-embedded-kafka")
		if err := os.MkdirAll(c.dataDir, 0o700); err != nil {
			return nil, err
		}
		var err error
		c.embedded, err = kfake.NewCluster(kfake.NumBrokers(1), kfake.DataDir(c.dataDir))
		if err != nil {
			return nil, fmt.Errorf("start the embedded broker on %s (is another wordcount running?): %w", c.dataDir, err)
		}
		c.brokers = c.embedded.ListenAddrs()
		fmt.Printf("embedded Kafka on %s\n", strings.Join(c.brokers, ","))
	}
	var err error
	if c.client, err = kgo.NewClient(kgo.SeedBrokers(c.brokers...)); err != nil {
		return nil, err
	}
	if err := c.client.Ping(ctx); err != nil {
		return nil, fmt.Errorf("no answer from %v: %w", c.brokers, err)
	}
	return c, nil
}

func (c *cluster) close() {
	c.client.Close()
	if c.embedded != nil {
		c.embedded.Close()
	}
}

// finish removes what an embedded run leaves behind, so that the next one counts anew.
func (c *cluster) finish(stateDir, applicationID string) error {
	if c.embedded == nil {
		return nil
	}
	c.close()
	return errors.Join(os.RemoveAll(c.dataDir), os.RemoveAll(filepath.Join(stateDir, applicationID)))
}

func (c *cluster) createTopics(ctx context.Context, topics ...string) error {
	req := kmsg.NewPtrCreateTopicsRequest()
	req.TimeoutMillis = 10_000
	for _, topic := range topics {
		t := kmsg.NewCreateTopicsRequestTopic()
		t.Topic, t.NumPartitions, t.ReplicationFactor = topic, partitions, -1
		req.Topics = append(req.Topics, t)
	}
	res, err := req.RequestWith(ctx, c.client)
	if err != nil {
		return err
	}
	for _, t := range res.Topics {
		if err := kerr.ErrorForCode(t.ErrorCode); err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
			return fmt.Errorf("create topic %q: %w", t.Topic, err)
		}
	}
	return nil
}

// feed writes the lines that the topic does not have yet.
func (c *cluster) feed(ctx context.Context, topic string, lines []string, perSecond int) error {
	have, err := c.count(ctx, topic)
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
		if err := c.client.ProduceSync(ctx, records...).FirstErr(); err != nil {
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

// count returns how many records the topic has: nothing else writes to it.
func (c *cluster) count(ctx context.Context, topic string) (n int64, err error) {
	req := kmsg.NewPtrListOffsetsRequest()
	t := kmsg.NewListOffsetsRequestTopic()
	t.Topic = topic
	for p := range int32(partitions) {
		rp := kmsg.NewListOffsetsRequestTopicPartition()
		rp.Partition, rp.Timestamp = p, -1
		t.Partitions = append(t.Partitions, rp)
	}
	req.Topics = append(req.Topics, t)
	for _, shard := range c.client.RequestSharded(ctx, req) {
		if shard.Err != nil {
			return 0, shard.Err
		}
		res, ok := shard.Resp.(*kmsg.ListOffsetsResponse)
		if !ok {
			return 0, fmt.Errorf("a %T answers the question for offsets", shard.Resp)
		}
		for _, t := range res.Topics {
			for _, p := range t.Partitions {
				if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
					return 0, fmt.Errorf("end of %s-%d: %w", topic, p.Partition, err)
				}
				n += p.Offset
			}
		}
	}
	return n, nil
}

type result struct {
	words    int64
	distinct int
	err      error
}

// watch reads committed counts, shows the most frequent words, and ends when every word has its final count.
func (c *cluster) watch(ctx context.Context, topic string, expected map[string]int64) result {
	reader, err := kgo.NewClient(kgo.SeedBrokers(c.brokers...), kgo.ConsumeTopics(topic),
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
