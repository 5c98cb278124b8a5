package integration

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/integration/broker"
	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/topology"
)

// A sink that chooses a topic that does not exist must not lose the record, also if the name is none that Kafka allows.
func TestChosenTopicMissing(t *testing.T) {
	s := onePartition(t, broker.Start(t))
	chosen := broker.Name(t, "chosen")
	s.produce("a")
	to := func(topic string) *topology.Builder {
		b := topology.NewBuilder()
		topology.Stream(b, s.in, serde.String, serde.String).
			ToEach(func(_ record.Record[string, string], at processor.RecordMetadata) string {
				require.Equal(t, s.in, at.Topic)
				return topic
			})
		return b
	}
	_ = s.run(to("not a/name"), s.config()).awaitError("KSTREAM-SINK-0000000001", `"not a/name" does not exist`)
	_ = s.run(to(chosen), s.config()).awaitError("KSTREAM-SINK-0000000001", chosen, "does not exist: create it first")

	s.cluster.CreateTopic(t, chosen, 1, nil)
	s.run(to(chosen), s.config())
	require.Equal(t, []string{"a"}, values(s.awaitOutputs(chosen, 1)))
}
