package integration

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark"
	"github.com/tidemarkio/tidemark/changelog"
	"github.com/tidemarkio/tidemark/checkpointing"
	"github.com/tidemarkio/tidemark/checkpointing/storage/mem"
	"github.com/tidemarkio/tidemark/integration/broker"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/topology"
)

// growing is a scenario with an input of three partitions.
func growing(t *testing.T) *scenario {
	s := &scenario{
		t: t, cluster: broker.Start(t), app: broker.Name(t, "app"), in: broker.Name(t, "in"), out: broker.Name(t, "out"),
		partitions: 3, session: 6e9, keys: 97,
	}
	s.cluster.CreateTopic(t, s.in, 3, nil)
	s.cluster.CreateTopic(t, s.out, 3, nil)
	return s
}

// TestInputGrowsStateless: an input gets more partitions while two instances copy it under load.
func TestInputGrowsStateless(t *testing.T) {
	s := growing(t)
	build := func() *topology.Builder {
		b := topology.NewBuilder()
		topology.Stream(b, s.in, serde.String, serde.String).To(s.out)
		return b
	}
	cfgA, cfgB := s.config(), s.config()
	cfgA.LeaveGroupOnClose, cfgB.LeaveGroupOnClose = false, false
	cfgB.MetadataMaxAge = 300e9 // it hears of it from the other
	a, b := s.run(build(), cfgA), s.run(build(), cfgB)
	awaitTotal(t, 3, a, b)
	var want []string
	feed := func(n int) {
		records := make([]broker.Record, n)
		for i := range records {
			v := fmt.Sprintf("record-%06d", len(want))
			want = append(want, v)
			records[i] = broker.Record{Partition: -1, Key: []byte(v), Value: []byte(v)}
		}
		s.cluster.Produce(t, s.in, records...)
	}
	for range 10 {
		feed(200)
	}
	s.cluster.AddPartitions(t, s.in, 6)
	for range 20 {
		feed(200)
	}
	awaitTotal(t, 6, a, b)
	for range 5 {
		feed(200)
	}
	got := values(s.awaitOutputs(s.out, len(want)))
	slices.Sort(got)
	require.Equal(t, want, got)
	a.close()
	b.close()
	require.False(t, a.saw(tidemark.Failed) || b.saw(tidemark.Failed))
}

// TestInputGrowsBehindRepartition: what counts by a new key goes on as if nothing had happened.
func TestInputGrowsBehindRepartition(t *testing.T) {
	s := growing(t)
	a := s.run(repartitionTopology(s.in, s.out), s.config())
	a.awaitTasks(6)
	s.send(100)
	s.cluster.AddPartitions(t, s.in, 6)
	s.send(100)
	a.awaitTasks(9)
	s.send(100)
	checkCounts(t, s.awaitOutputs(s.out, s.sent), s.sent)
	a.close()
}

// TestInputGrowsStateful: the application stops and says what to do, which is then done. Nothing is lost.
func TestInputGrowsStateful(t *testing.T) {
	s := growing(t)
	storage := mem.New()
	config := func() tidemark.Config {
		cfg := s.config()
		cfg.Checkpointing = checkpointing.Config{Storage: storage}
		return cfg
	}
	cfgA, cfgB := config(), config()
	build := func() *topology.Builder { return countTopology(s.in, s.out) }
	a, b := s.run(build(), cfgA), s.run(build(), cfgB)
	a.awaitRunning()
	b.awaitRunning()
	s.send(500)
	s.cluster.AddPartitions(t, s.in, 6)
	s.send(500) // some of it into partitions that nobody reads
	for _, i := range []*app{a, b} {
		err := i.awaitError(fmt.Sprintf("%q has 3 partitions, and the topology needs 6", s.app+"-counts-changelog"),
			fmt.Sprintf("the input topic %q has 6", s.in), "Config.IgnoreAddedPartitions",
			"tidemark savepoint stop --brokers "+cfgA.Brokers[0]+" --application-id "+s.app,
			"tidemark savepoint rescale <its location>", "--replace")
		var topic *changelog.TopicError
		require.ErrorAs(t, err, &topic)
	}

	cfgA.IgnoreAddedPartitions, cfgB.IgnoreAddedPartitions = true, true
	a, b = s.run(build(), cfgA), s.run(build(), cfgB)
	awaitSettled(t, 3, a, b)
	ends := s.cluster.EndOffsets(t, s.in)
	eventually(t, "what is in the partitions of before is processed", func() bool {
		committed := s.cluster.CommittedOffsets(t, s.app)
		for tp, offset := range committed {
			if tp.Topic == s.in && offset < ends[tp.Partition] {
				return false
			}
		}
		return len(committed) >= 3
	})
	require.Positive(t, ends[3]+ends[4]+ends[5])
	require.Contains(t, a.log.String(), "partitions of an input are not read")
	made, err := a.app.StopWithSavepoint(t.Context(), tidemark.SavepointOptions{})
	require.NoError(t, err)
	<-a.done
	<-b.done
	require.NoError(t, a.err)
	require.NoError(t, b.err)
	_, err = tidemark.Restore(t.Context(), config(), made.Location, tidemark.RestoreOptions{Replace: true})
	require.NoError(t, err)

	a, b = s.run(build(), config()), s.run(build(), config())
	awaitTotal(t, 6, a, b)
	s.send(500)
	checkCounts(t, s.awaitOutputs(s.out, s.sent), s.sent)
	a.close()
	b.close()
}

// TestInputGrowsUnderATableOfIt: rows that are in the input itself cannot move. The application stops, also one that is
// started anew, until somebody says that it is meant; from then on that is the number of before.
func TestInputGrowsUnderATableOfIt(t *testing.T) {
	s := growing(t)
	rows := broker.Name(t, "rows")
	s.cluster.CreateTopic(t, rows, 3, map[string]string{"cleanup.policy": "compact"})
	build := func() *topology.Builder {
		b := topology.NewBuilder(topology.ReuseSourceTopics)
		topology.Table(b, rows, serde.String, serde.String, topology.As("rows")).ToStream().To(s.out)
		return b
	}
	stored := func(partitions int32) {
		eventually(t, fmt.Sprintf("a stored plan with %d partitions", partitions), func() bool {
			d, err := tidemark.StoredPlan(t.Context(), s.config())
			return err == nil && slices.ContainsFunc(d.Topics, func(topic topology.TopicDescription) bool {
				return topic.Name == rows && topic.Partitions == partitions
			})
		})
	}
	a := s.run(build(), s.config())
	a.awaitTasks(3)
	stored(3)
	s.cluster.AddPartitions(t, rows, 4)
	want := []string{
		fmt.Sprintf("topic %q had 3 partitions when the application ran last and has 4", rows),
		`the table "rows" is restored from its topic`, "Config.AllowStateLoss",
	}
	require.Error(t, a.awaitError(want...))
	require.Error(t, s.run(build(), s.config()).awaitError(want...))

	cfg := s.config()
	cfg.IgnoreAddedPartitions = true
	a = s.run(build(), cfg)
	a.awaitTasks(3)
	require.Contains(t, a.log.String(), "keys change between the partitions that are read")
	a.close()
	require.Error(t, s.run(build(), s.config()).awaitError(want...))

	cfg = s.config()
	cfg.AllowStateLoss = true
	a = s.run(build(), cfg)
	a.awaitTasks(4)
	stored(4)
	a.close()
	a = s.run(build(), s.config())
	a.awaitTasks(4)
	a.close()
}
