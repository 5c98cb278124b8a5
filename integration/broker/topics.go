package broker

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/IBM/sarama"

	"github.com/tidemarkio/tidemark/record"
)

// Limits of a look at the cluster; past them a test fails instead of hanging.
const (
	patience      = time.Minute
	retryEvery    = 20 * time.Millisecond
	fetchBytesMax = 8 << 20
)

// Record is what went into or came out of a topic.
type Record struct {
	Topic     string
	Partition int32 // Produce: -1 leaves it to the key (murmur2, as Java's clients)
	Offset    int64 // not used by Produce
	Key       []byte
	Value     []byte
	Timestamp time.Time // Produce: zero is now
	Headers   []record.Header
}

// Name returns a name that no other test uses: the test's name, the given word and a random part.
func Name(t testing.TB, word string) string {
	t.Helper()
	clean := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' {
			return r
		}
		return '-'
	}, t.Name())
	const longest = 80 // Kafka allows 249, and the library appends store names
	if len(clean) > longest {
		clean = clean[len(clean)-longest:]
	}
	return fmt.Sprintf("%s-%s-%06x", clean, word, rand.IntN(1<<24))
}

func config() *sarama.Config {
	conf := sarama.NewConfig()
	conf.Version = sarama.V3_7_0_0
	conf.ClientID = "integration"
	conf.Metadata.AllowAutoTopicCreation = false
	conf.Producer.Return.Successes = true
	conf.Producer.RequiredAcks = sarama.WaitForAll
	conf.Producer.Idempotent = true // else a request that is sent again may double records, and tests count them
	conf.Net.MaxOpenRequests = 1
	conf.Producer.Partitioner = func(topic string) sarama.Partitioner {
		return &partitioner{byKey: sarama.NewMurmur2Partitioner(topic)}
	}
	return conf
}

// partitioner obeys a partition that the record names.
type partitioner struct{ byKey sarama.Partitioner }

func (p *partitioner) Partition(m *sarama.ProducerMessage, n int32) (int32, error) {
	if m.Partition >= 0 {
		return m.Partition, nil
	}
	return p.byKey.Partition(m, n)
}

func (p *partitioner) RequiresConsistency() bool { return true }

// client opens a connection that the test closes.
func (c *Cluster) client(t testing.TB) sarama.Client {
	t.Helper()
	client, err := sarama.NewClient(c.Bootstrap(), config())
	if err != nil {
		t.Fatalf("broker: connect: %v", err)
	}
	return client
}

func (c *Cluster) admin(t testing.TB) (admin sarama.ClusterAdmin, closeAdmin func()) {
	t.Helper()
	client := c.client(t)
	admin, err := sarama.NewClusterAdminFromClient(client)
	if err != nil {
		t.Fatalf("broker: connect: %v", err)
	}
	return admin, func() { _ = admin.Close() }
}

// CreateTopic creates a topic with the given configuration, which may be nil.
func (c *Cluster) CreateTopic(t testing.TB, topic string, partitions int32, topicConfig map[string]string) {
	t.Helper()
	admin, done := c.admin(t)
	defer done()
	entries := map[string]*string{}
	for k, v := range topicConfig {
		entries[k] = &v
	}
	detail := &sarama.TopicDetail{NumPartitions: partitions, ReplicationFactor: 1, ConfigEntries: entries}
	err := admin.CreateTopic(topic, detail, false)
	if err != nil {
		t.Fatalf("broker: create topic %s: %v", topic, err)
	}
	// The answer may come before the broker that is asked next knows the topic.
	client := c.client(t)
	defer func() { _ = client.Close() }()
	eventually(t, "topic "+topic, func() error {
		if err := client.RefreshMetadata(topic); err != nil {
			return err
		}
		ps, err := client.WritablePartitions(topic)
		if err == nil && len(ps) != int(partitions) {
			err = fmt.Errorf("%d of %d partitions", len(ps), partitions)
		}
		return err
	})
}

// DeleteTopics deletes topics and waits until they are gone: a real broker goes on to list them for a moment.
func (c *Cluster) DeleteTopics(t testing.TB, topics ...string) {
	t.Helper()
	admin, done := c.admin(t)
	defer done()
	for _, topic := range topics {
		if err := admin.DeleteTopic(topic); err != nil {
			t.Errorf("broker: delete topic %s: %v", topic, err)
			return
		}
	}
	eventually(t, fmt.Sprintf("topics %q gone", topics), func() error {
		for _, topic := range c.Topics(t) {
			if slices.Contains(topics, topic) {
				return fmt.Errorf("%s is still there", topic)
			}
		}
		return nil
	})
}

// Topics returns the names of all topics.
func (c *Cluster) Topics(t testing.TB) []string {
	t.Helper()
	client := c.client(t)
	defer func() { _ = client.Close() }()
	topics, err := client.Topics()
	if err != nil {
		t.Fatalf("broker: list topics: %v", err)
	}
	return topics
}

// Produce writes records, outside of any transaction, and waits until they are acknowledged.
func (c *Cluster) Produce(t testing.TB, topic string, records ...Record) {
	t.Helper()
	client := c.client(t)
	defer func() { _ = client.Close() }()
	producer, err := sarama.NewSyncProducerFromClient(client)
	if err != nil {
		t.Fatalf("broker: produce: %v", err)
	}
	defer func() { _ = producer.Close() }()
	messages := make([]*sarama.ProducerMessage, 0, len(records))
	for _, r := range records {
		m := &sarama.ProducerMessage{Topic: topic, Partition: r.Partition, Timestamp: r.Timestamp}
		if r.Key != nil {
			m.Key = sarama.ByteEncoder(r.Key)
		}
		if r.Value != nil {
			m.Value = sarama.ByteEncoder(r.Value)
		}
		for _, h := range r.Headers {
			m.Headers = append(m.Headers, sarama.RecordHeader{Key: []byte(h.Key), Value: h.Value})
		}
		messages = append(messages, m)
	}
	if err := producer.SendMessages(messages); err != nil {
		var each sarama.ProducerErrors
		if errors.As(err, &each) && len(each) > 0 {
			err = each[0]
		}
		t.Fatalf("broker: produce to %s: %v", topic, err)
	}
}

// EndOffsets returns the high watermark of each partition: where the next record will be, committed or not.
func (c *Cluster) EndOffsets(t testing.TB, topic string) map[int32]int64 {
	t.Helper()
	client := c.client(t)
	defer func() { _ = client.Close() }()
	ends := map[int32]int64{}
	for _, p := range partitions(t, client, topic) {
		eventually(t, fmt.Sprintf("end of %s-%d", topic, p), func() (err error) {
			ends[p], err = client.GetOffset(topic, p, sarama.OffsetNewest)
			return err
		})
	}
	return ends
}

// CommittedOffsets returns all offsets of a group; a group that is not there has none.
func (c *Cluster) CommittedOffsets(t testing.TB, group string) map[record.TopicPartition]int64 {
	t.Helper()
	admin, done := c.admin(t)
	defer done()
	offsets := map[record.TopicPartition]int64{}
	eventually(t, "offsets of group "+group, func() error {
		r, err := admin.ListConsumerGroupOffsets(group, nil)
		if errors.Is(err, sarama.ErrGroupIDNotFound) {
			return nil // the embedded broker's way to say that there are no offsets
		}
		if err != nil {
			return err
		}
		for topic, blocks := range r.Blocks {
			for p, block := range blocks {
				if block.Err != sarama.ErrNoError {
					return block.Err
				}
				if block.Offset >= 0 {
					offsets[record.TopicPartition{Topic: topic, Partition: p}] = block.Offset
				}
			}
		}
		return nil
	})
	return offsets
}

// AwaitCommitted waits until the group has committed the topic to its end.
func (c *Cluster) AwaitCommitted(t testing.TB, group, topic string, timeout time.Duration) {
	t.Helper()
	ends := c.EndOffsets(t, topic)
	deadline := time.Now().Add(timeout)
	for {
		var lag []string
		committed := c.CommittedOffsets(t, group)
		for p, end := range ends {
			if at := committed[record.TopicPartition{Topic: topic, Partition: p}]; at < end {
				lag = append(lag, fmt.Sprintf("partition %d: committed %d of %d", p, at, end))
			}
		}
		if len(lag) == 0 {
			return
		}
		if time.Now().After(deadline) {
			slices.Sort(lag)
			t.Fatalf("broker: group %s has not committed %s after %s:\n  %s", group, topic, timeout, strings.Join(lag, "\n  "))
		}
		time.Sleep(retryEvery)
	}
}

func partitions(t testing.TB, client sarama.Client, topic string) (ps []int32) {
	t.Helper()
	eventually(t, "partitions of "+topic, func() (err error) {
		ps, err = client.Partitions(topic)
		return err
	})
	return ps
}

// eventually repeats what a broker that has just started, or moves a coordinator, may refuse for a moment.
func eventually(t testing.TB, what string, try func() error) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := try()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("broker: %s: %v", what, err)
		}
		time.Sleep(retryEvery)
	}
}

// AddPartitions raises the number of partitions of a topic.
func (c *Cluster) AddPartitions(t testing.TB, topic string, partitions int32) {
	t.Helper()
	admin, done := c.admin(t)
	defer done()
	if err := admin.CreatePartitions(topic, partitions, nil, false); err != nil {
		t.Fatalf("broker: add partitions to %s: %v", topic, err)
	}
}
