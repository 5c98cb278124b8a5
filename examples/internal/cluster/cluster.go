package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Cluster is a running cluster and a client of it. Make it with Connect.
type Cluster struct {
	// Brokers are addresses for tidemark.Config.
	Brokers []string
	// Client is for all but the application itself.
	Client *kgo.Client

	embedded *kfake.Cluster // nil: a real one
	dataDir  string         // of the embedded broker
}

// Connect finds the cluster of these brokers (host:port, comma-separated). If there are none it starts a broker in this
// process, whose topics are kept in dataDir and so outlive it.
func Connect(ctx context.Context, brokers, dataDir string) (*Cluster, error) {
	c := &Cluster{Brokers: strings.Split(brokers, ",")}
	if brokers == "" {
		c.dataDir = dataDir
		if err := os.MkdirAll(dataDir, 0o700); err != nil {
			return nil, err
		}
		var err error
		c.embedded, err = kfake.NewCluster(kfake.NumBrokers(1), kfake.DataDir(dataDir))
		if err != nil {
			return nil, fmt.Errorf("start the embedded broker on %s (is the example running already?): %w", dataDir, err)
		}
		c.Brokers = c.embedded.ListenAddrs()
		fmt.Printf("embedded Kafka on %s\n", strings.Join(c.Brokers, ","))
	}
	var err error
	if c.Client, err = kgo.NewClient(kgo.SeedBrokers(c.Brokers...)); err != nil {
		c.Close()
		return nil, err
	}
	if err := c.Client.Ping(ctx); err != nil {
		c.Close()
		return nil, fmt.Errorf("no answer from %v: %w", c.Brokers, err)
	}
	return c, nil
}

// Close closes the client and ends an embedded broker, whose topics are kept. It may be called again.
func (c *Cluster) Close() {
	if c.Client != nil {
		c.Client.Close()
	}
	if c.embedded != nil {
		c.embedded.Close()
	}
}

// Finish closes an embedded cluster and removes its topics and the folders given, so that the next run begins anew.
// Nothing happens to a real cluster, nor to the folders then.
func (c *Cluster) Finish(folders ...string) error {
	if c.embedded == nil {
		return nil
	}
	c.Close()
	errs := []error{os.RemoveAll(c.dataDir)}
	for _, folder := range folders {
		errs = append(errs, os.RemoveAll(folder))
	}
	return errors.Join(errs...)
}

// CreateTopics creates the topics that do not exist yet.
func (c *Cluster) CreateTopics(ctx context.Context, partitions int32, topics ...string) error {
	req := kmsg.NewPtrCreateTopicsRequest()
	req.TimeoutMillis = 10_000
	for _, topic := range topics {
		t := kmsg.NewCreateTopicsRequestTopic()
		t.Topic, t.NumPartitions, t.ReplicationFactor = topic, partitions, -1
		req.Topics = append(req.Topics, t)
	}
	res, err := req.RequestWith(ctx, c.Client)
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

// Count returns how many records a topic of so many partitions has, if nothing was deleted from it.
func (c *Cluster) Count(ctx context.Context, partitions int32, topic string) (n int64, err error) {
	req := kmsg.NewPtrListOffsetsRequest()
	t := kmsg.NewListOffsetsRequestTopic()
	t.Topic = topic
	for p := range partitions {
		rp := kmsg.NewListOffsetsRequestTopicPartition()
		rp.Partition, rp.Timestamp = p, -1
		t.Partitions = append(t.Partitions, rp)
	}
	req.Topics = append(req.Topics, t)
	for _, shard := range c.Client.RequestSharded(ctx, req) {
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
