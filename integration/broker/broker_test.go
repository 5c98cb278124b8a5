package broker_test

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/integration/broker"
	"github.com/tidemarkio/tidemark/record"
)

func TestProduceAndRead(t *testing.T) {
	t.Parallel()
	c := broker.Start(t)
	topic := broker.Name(t, "in")
	c.CreateTopic(t, topic, 3, map[string]string{"cleanup.policy": "compact"})
	require.Contains(t, c.Topics(t), topic)

	at := time.UnixMilli(1_700_000_000_000)
	want := make([]broker.Record, 0, 30)
	for i := range 30 {
		want = append(want, broker.Record{
			Partition: int32(i % 3), Key: fmt.Appendf(nil, "k%d", i), Value: []byte("v"), Timestamp: at,
			Headers: []record.Header{{Key: "h", Value: []byte{byte(i)}}},
		})
	}
	want[7].Value = nil
	c.Produce(t, topic, want...)
	got := c.ReadCommitted(t, topic)
	require.Len(t, got, len(want))
	for _, r := range got {
		w := want[int(r.Offset)*3+int(r.Partition)]
		require.Equal(t, w.Key, r.Key)
		require.Equal(t, w.Value, r.Value)
		require.Equal(t, w.Headers, r.Headers)
		require.True(t, at.Equal(r.Timestamp))
	}
	require.Equal(t, map[int32]int64{0: 10, 1: 10, 2: 10}, c.EndOffsets(t, topic))
	require.Empty(t, c.CommittedOffsets(t, broker.Name(t, "group")))
}

// The harness judges transactions, so its own judgement is checked with sarama's producer.
func TestReadCommittedSkipsAbortedAndOpenTransactions(t *testing.T) {
	t.Parallel()
	c := broker.Start(t)
	topic, group := broker.Name(t, "out"), broker.Name(t, "group")
	c.CreateTopic(t, topic, 1, nil)
	p := transactional(t, c, broker.Name(t, "id"))
	send := func(value string) {
		t.Helper()
		_, _, err := p.SendMessage(&sarama.ProducerMessage{Topic: topic, Value: sarama.StringEncoder(value)})
		require.NoError(t, err)
	}
	for i := range 4 {
		require.NoError(t, p.BeginTxn())
		send(strconv.Itoa(i))
		if i%2 == 1 {
			require.NoError(t, p.AbortTxn())
			continue
		}
		require.NoError(t, p.AddOffsetsToTxn(map[string][]*sarama.PartitionOffsetMetadata{
			topic: {{Partition: 0, Offset: int64(i), LeaderEpoch: -1}},
		}, group))
		require.NoError(t, p.CommitTxn())
	}
	require.NoError(t, p.BeginTxn())
	send("open")

	require.Equal(t, []string{"0", "2"}, values(c.ReadCommitted(t, topic)))
	require.Equal(t, []string{"0", "1", "2", "3", "open"}, values(c.ReadUncommitted(t, topic)))
	require.Equal(t, map[record.TopicPartition]int64{{Topic: topic}: 2}, c.CommittedOffsets(t, group))
	require.NoError(t, p.AbortTxn())
}

func TestKilledBrokerComesBackWithItsRecords(t *testing.T) {
	t.Parallel()
	c := broker.StartPrivate(t)
	c.CreateTopic(t, "in", 1, nil)
	c.Produce(t, "in", broker.Record{Value: []byte("before")})
	addr := c.Bootstrap()

	c.Kill9(t)
	_, err := sarama.NewClient(addr, sarama.NewConfig())
	require.Error(t, err)
	c.Restart(t)

	require.Equal(t, addr, c.Bootstrap())
	c.Produce(t, "in", broker.Record{Value: []byte("after")})
	require.Equal(t, []string{"before", "after"}, values(c.ReadCommitted(t, "in")))
}

func transactional(t *testing.T, c *broker.Cluster, id string) sarama.SyncProducer {
	t.Helper()
	conf := sarama.NewConfig()
	conf.Version = sarama.V3_7_0_0
	conf.Net.MaxOpenRequests = 1
	conf.Producer.Idempotent = true
	conf.Producer.Return.Successes = true
	conf.Producer.RequiredAcks = sarama.WaitForAll
	conf.Producer.Transaction.ID = id
	p, err := sarama.NewSyncProducer(c.Bootstrap(), conf)
	require.NoError(t, err)
	t.Cleanup(func() { _ = p.Close() })
	return p
}

func values(records []broker.Record) []string {
	vs := make([]string, 0, len(records))
	for _, r := range records {
		vs = append(vs, string(r.Value))
	}
	return vs
}
