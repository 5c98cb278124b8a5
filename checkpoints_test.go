package tidemark

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/checkpointing"
	"github.com/tidemarkio/tidemark/checkpointing/storage/mem"
	"github.com/tidemarkio/tidemark/eos"
	"github.com/tidemarkio/tidemark/record"
)

func TestCheckpointingMistakes(t *testing.T) {
	for name, c := range map[string]struct {
		change func(c *Config)
		want   []string
	}{
		"at least once": {
			func(c *Config) { c.Checkpointing.Storage, c.ProcessingGuarantee = mem.New(), eos.AtLeastOnce },
			[]string{"ProcessingGuarantee"},
		},
		"no storage": {func(c *Config) { c.Checkpointing.Interval = time.Second }, []string{"Checkpointing.Storage"}},
		"several": {
			func(c *Config) { c.Checkpointing.Retained, c.Checkpointing.MinPause = -1, -1 },
			[]string{"Checkpointing.MinPause", "Checkpointing.Retained"},
		},
	} {
		cfg := testConfig(t)
		c.change(&cfg)
		_, err := New(copying(), cfg)
		require.Equal(t, c.want, fields(err), name)
	}
	a, err := New(copying(), testConfig(t))
	require.NoError(t, err)
	_, err = a.Savepoint(t.Context(), SavepointOptions{})
	require.ErrorContains(t, err, "Config.Checkpointing.Storage")
}

// TestPurgeSparesCheckpoints: repartition records stay that retained checkpoints refer to, or those in progress may.
func TestPurgeSparesCheckpoints(t *testing.T) {
	at := func(p int32) record.TopicPartition { return record.TopicPartition{Topic: "r", Partition: p} }
	committed := func() map[record.TopicPartition]int64 {
		return map[record.TopicPartition]int64{at(0): 100, at(1): 100}
	}
	m := &checkpoints{}
	m.mu.view, m.mu.parts = checkpointing.NewView(), make(map[int64]*part)
	before := committed()
	m.spare(before)
	require.Empty(t, before, "before all is known nothing is purged")

	m.mu.known = true
	before = committed()
	m.spare(before)
	require.Equal(t, committed(), before)

	for _, message := range []checkpointing.Message{
		{Key: "completed/1", Value: []byte(`{"id":1,"needs":[{"topic":"r","partition":0,"offset":7}],"retained":[1]}`)},
		{Key: "completed/2", Value: []byte(`{"id":2,"needs":[{"topic":"r","partition":1,"offset":60}],"retained":[1,2]}`)},
	} {
		_, err := m.mu.view.Apply(message)
		require.NoError(t, err)
	}
	before = committed()
	m.spare(before)
	require.Equal(t, map[record.TopicPartition]int64{at(0): 7, at(1): 60}, before)

	m.mu.parts[3] = &part{needs: map[record.TopicPartition]int64{at(1): 50}}
	before = committed()
	m.spare(before)
	require.Equal(t, map[record.TopicPartition]int64{at(1): 50}, before, "of a task that came later nothing is known")
}
