package integration

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark"
	"github.com/tidemarkio/tidemark/integration/broker"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/topology"
)

// TestDeployAnotherTopology runs an application, asks what another topology would do to it, and deploys that, on a
// machine that has never seen the application.
func TestDeployAnotherTopology(t *testing.T) {
	s := onePartition(t, broker.Start(t))
	_, err := tidemark.StoredPlan(t.Context(), s.config())
	require.ErrorIs(t, err, tidemark.ErrNoPlan)
	_, err = tidemark.DiffStored(t.Context(), countTopology(s.in, s.out), s.config())
	require.ErrorIs(t, err, tidemark.ErrNoPlan)

	first := s.run(countTopology(s.in, s.out), s.config())
	var plan *topology.Description
	eventually(t, "a stored plan", func() bool {
		plan, err = tidemark.StoredPlan(t.Context(), s.config())
		return err == nil
	})
	require.Equal(t, "counts", plan.Stores[0].Name)
	require.Equal(t, int32(1), plan.Topics[0].Partitions)
	unchanged, err := tidemark.DiffStored(t.Context(), countTopology(s.in, s.out), s.config()) // while it runs
	require.NoError(t, err)
	require.Len(t, unchanged.With(topology.Keeps), len(unchanged))
	first.close()

	renamed := func() *topology.Builder {
		b := topology.NewBuilder()
		topology.Count(topology.Stream(b, s.in, serde.String, serde.Bytes).GroupByKey(), topology.As("totals"))
		return b
	}
	changes, err := tidemark.DiffStored(t.Context(), renamed(), s.config())
	require.NoError(t, err)
	require.Len(t, changes.LostStores(), 1)
	topics := s.cluster.Topics(t)
	refused := s.run(renamed(), s.config()).
		awaitError("would lose", "store counts", "keep the name counts", "AllowStateLoss")
	var loss *tidemark.StateLossError
	require.ErrorAs(t, refused, &loss)
	require.Equal(t, changes, loss.Changes)
	require.ElementsMatch(t, topics, s.cluster.Topics(t), "a refused topology makes nothing")

	cfg := s.config()
	cfg.AllowStateLoss = true
	allowed := s.run(renamed(), cfg)
	eventually(t, "the new plan", func() bool {
		plan, err = tidemark.StoredPlan(t.Context(), s.config())
		return err == nil && plan.Stores[0].Name == "totals"
	})
	require.Contains(t, allowed.log.String(), `effect=loses subject=store name=counts`)
	allowed.close()
	again := s.run(renamed(), s.config()) // the loss was accepted
	again.awaitRunning()
	again.close()
}

// TestTableRestoredFromItsSource has no changelog: a new machine reads the table's topic, up to where the application
// has processed it.
func TestTableRestoredFromItsSource(t *testing.T) {
	s := onePartition(t, broker.Start(t))
	table := broker.Name(t, "table")
	s.cluster.CreateTopic(t, table, 1, map[string]string{"cleanup.policy": "compact"})
	build := func() *topology.Builder {
		b := topology.NewBuilder(topology.OptimizeAll())
		rows := topology.Table(b, table, serde.String, serde.String, topology.As("rows"))
		// A row that is updated tells its old value: the store must have it.
		sums := topology.ReduceTable(topology.GroupTableBy(rows, func(_, v string) (string, string) { return "all", v },
			nil, nil, topology.Named("g")), func(a, v string) string { return a + "+" + v },
			func(a, v string) string { return a + "-" + v }, topology.As("sums"), topology.WithoutCaching())
		sums.ToStream().To(s.out)
		return b
	}
	put := func(key, value string) {
		s.cluster.Produce(t, table, broker.Record{Key: []byte(key), Value: []byte(value)})
	}
	a := s.run(build(), s.config())
	put("x", "1")
	put("y", "2")
	s.awaitOutputs(s.out, 2)
	a.close()
	put("x", "3") // not processed yet when the next machine starts
	b := s.run(build(), s.config())
	outputs := values(s.awaitOutputs(s.out, 3))
	require.Equal(t, "1+2-1+3", outputs[2])
	b.close()
	require.False(t, slices.ContainsFunc(s.cluster.Topics(t), func(topic string) bool {
		return topic == s.app+"-rows-changelog"
	}))

	// The broker would delete rows: that is no changelog.
	deleting := broker.Name(t, "deleting")
	s.cluster.CreateTopic(t, deleting, 1, map[string]string{"cleanup.policy": "delete", "retention.ms": "1000"})
	wrong := topology.NewBuilder(topology.ReuseSourceTopics)
	topology.Table(wrong, deleting, serde.String, serde.String, topology.As("rows"))
	cfg := s.config()
	cfg.ApplicationID += "-2"
	_ = s.run(wrong, cfg).
		awaitError(deleting, "is the changelog of the table", "retention.ms=1000", "cleanup.policy=compact")
}
