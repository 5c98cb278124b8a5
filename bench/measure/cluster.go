package measure

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/IBM/sarama"
)

// Cluster looks at a broker from outside, over sarama's own admin client.
type Cluster struct {
	Client sarama.Client
	admin  sarama.ClusterAdmin
}

// Partition names a partition of a topic.
type Partition struct {
	Topic     string
	Partition int32
}

// Config returns the client configuration that the programs start from.
func Config() *sarama.Config {
	c := sarama.NewConfig()
	c.Version = sarama.V3_7_0_0
	c.ClientID = "bench"
	c.Metadata.AllowAutoTopicCreation = false
	return c
}

// Connect opens a connection. A comma separates several addresses.
func Connect(bootstrap string) (*Cluster, error) {
	client, err := sarama.NewClient(strings.Split(bootstrap, ","), Config())
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", bootstrap, err)
	}
	admin, err := sarama.NewClusterAdminFromClient(client)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("connect to %s: %w", bootstrap, err), client.Close())
	}
	return &Cluster{Client: client, admin: admin}, nil
}

// Close closes the connection.
func (c *Cluster) Close() error { return c.admin.Close() }

// topicPatience is how long the brokers may take to tell of a topic that they have created.
const topicPatience = 30 * time.Second

// CreateTopic creates a topic unless it is there. It keeps its records for ever.
func (c *Cluster) CreateTopic(topic string, partitions int32, compact bool) error {
	policy, forever := "delete", "-1"
	if compact {
		policy = "compact"
	}
	err := c.admin.CreateTopic(topic, &sarama.TopicDetail{
		NumPartitions: partitions, ReplicationFactor: 1,
		ConfigEntries: map[string]*string{"cleanup.policy": &policy, "retention.ms": &forever},
	}, false)
	if err != nil && !errors.Is(err, sarama.ErrTopicAlreadyExists) {
		return fmt.Errorf("create topic %s: %w", topic, err)
	}
	for until := time.Now().Add(topicPatience); ; time.Sleep(topicPatience / 300) {
		err = c.Client.RefreshMetadata(topic)
		if err == nil || !errors.Is(err, sarama.ErrUnknownTopicOrPartition) || time.Now().After(until) {
			return err
		}
	}
}

// Partitions returns the number of partitions of a topic.
func (c *Cluster) Partitions(topic string) (int32, error) {
	ps, err := c.Client.Partitions(topic)
	if err != nil {
		return 0, fmt.Errorf("partitions of %s: %w", topic, err)
	}
	return int32(len(ps)), nil
}

// EndOffsets returns the high watermarks of all partitions of the topics.
func (c *Cluster) EndOffsets(topics ...string) (map[Partition]int64, error) {
	ends := map[Partition]int64{}
	for _, topic := range topics {
		n, err := c.Partitions(topic)
		if err != nil {
			return nil, err
		}
		for p := range n {
			end, err := c.Client.GetOffset(topic, p, sarama.OffsetNewest)
			if err != nil {
				return nil, fmt.Errorf("end of %s-%d: %w", topic, p, err)
			}
			ends[Partition{topic, p}] = end
		}
	}
	return ends, nil
}

// Committed returns all committed offsets of a group.
func (c *Cluster) Committed(group string) (map[Partition]int64, error) {
	r, err := c.admin.ListConsumerGroupOffsets(group, nil)
	if errors.Is(err, sarama.ErrGroupIDNotFound) {
		return nil, nil // the embedded broker's way to say that there are none
	}
	if err != nil {
		return nil, fmt.Errorf("committed offsets of %s: %w", group, err)
	}
	offsets := map[Partition]int64{}
	for topic, partitions := range r.Blocks {
		for p, block := range partitions {
			if block.Err == sarama.ErrNoError && block.Offset >= 0 {
				offsets[Partition{topic, p}] = block.Offset
			}
		}
	}
	return offsets, nil
}

// Reached tells whether every partition that holds records is committed to its end.
func Reached(committed, ends map[Partition]int64) bool {
	for p, end := range ends {
		if end > 0 && committed[p] < end {
			return false
		}
	}
	return true
}

// pollInterval is how often AwaitCommitted looks, the same as the Java peer's.
const pollInterval = 20 * time.Millisecond

// AwaitCommitted waits until the group has committed all of the inputs and then all of its repartition topics, and
// returns the time when it saw the first commit (zero if there was nothing to do).
func (c *Cluster) AwaitCommitted(ctx context.Context, group string, inputs ...string) (first time.Time, err error) {
	ends, err := c.EndOffsets(inputs...)
	if err != nil {
		return first, err
	}
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		committed, err := c.Committed(group)
		if err != nil {
			return first, err
		}
		if first.IsZero() && len(committed) > 0 {
			first = time.Now()
		}
		if Reached(committed, ends) {
			done, err := c.repartitioned(group)
			if done || err != nil {
				return first, err
			}
		}
		select {
		case <-ctx.Done():
			return first, fmt.Errorf("wait for group %s: %w", group, ctx.Err())
		case <-tick.C:
		}
	}
}

// repartitioned tells whether the group has committed its repartition topics to their ends. All input is committed, so
// they have got all of their records. A position moves over transaction markers, so that it can reach the end.
func (c *Cluster) repartitioned(group string) (bool, error) {
	topics, err := c.Topics()
	if err != nil {
		return false, err
	}
	var between []string
	for _, t := range topics {
		if strings.HasPrefix(t, group+"-") && strings.HasSuffix(t, "-repartition") {
			between = append(between, t)
		}
	}
	if len(between) == 0 {
		return true, nil
	}
	ends, err := c.EndOffsets(between...)
	if err != nil {
		return false, err
	}
	committed, err := c.Committed(group)
	if err != nil {
		return false, err
	}
	return Reached(committed, ends), nil
}

// Topics returns the names of all topics.
func (c *Cluster) Topics() ([]string, error) {
	if err := c.Client.RefreshMetadata(); err != nil {
		return nil, fmt.Errorf("list topics: %w", err)
	}
	return c.Client.Topics()
}

// TopicsMB returns the bytes on the brokers' disks of the topics whose name passes, in MB.
func (c *Cluster) TopicsMB(pass func(topic string) bool) (float64, error) {
	var ids []int32
	for _, b := range c.Client.Brokers() {
		ids = append(ids, b.ID())
	}
	brokers, err := c.admin.DescribeLogDirs(ids)
	if err != nil {
		return 0, fmt.Errorf("describe log folders: %w", err)
	}
	var sum int64
	for _, dirs := range brokers {
		for _, dir := range dirs {
			for _, topic := range dir.Topics {
				if !pass(topic.Topic) {
					continue
				}
				for _, p := range topic.Partitions {
					sum += p.Size
				}
			}
		}
	}
	return float64(sum) / (1 << 20), nil
}
