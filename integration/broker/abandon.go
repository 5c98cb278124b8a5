package broker

import (
	"testing"
	"time"

	"github.com/IBM/sarama"

	"github.com/tidemarkio/tidemark/record"
)

// Abandon does what the owner of an input partition does that is lost in the middle of a transaction: it commits the
// offset 0 with the given metadata for a group, then writes to partition 0 of out and leaves the transaction open, for
// longer than tests wait.
func (c *Cluster) Abandon(t testing.TB, id, group string, input record.TopicPartition, metadata, out string) {
	t.Helper()
	conf := config()
	conf.Producer.Transaction.ID = id
	conf.Producer.Transaction.Timeout = 5 * time.Minute
	p, err := sarama.NewSyncProducer(c.Bootstrap(), conf)
	if err != nil {
		t.Fatalf("broker: connect: %v", err)
	}
	t.Cleanup(func() { _ = p.Close() })
	for _, step := range []func() error{
		p.BeginTxn,
		func() error {
			return p.AddOffsetsToTxn(map[string][]*sarama.PartitionOffsetMetadata{
				input.Topic: {{Partition: input.Partition, LeaderEpoch: -1, Metadata: &metadata}},
			}, group)
		},
		p.CommitTxn,
		p.BeginTxn,
		func() error {
			_, _, err := p.SendMessage(&sarama.ProducerMessage{Topic: out, Value: sarama.StringEncoder("abandoned")})
			return err
		},
	} {
		if err := step(); err != nil {
			t.Fatalf("broker: abandon a transaction of %q: %v", id, err)
		}
	}
}
