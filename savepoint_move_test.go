package tidemark

import (
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/checkpointing"
	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/store"
	"github.com/tidemarkio/tidemark/topology"
)

// joinedPlan is the plan of a foreign-key join of tables behind repartition topics, and of counts by window.
func joinedPlan(t *testing.T, opts ...topology.ForeignKeyJoinOption) *processor.Plan {
	t.Helper()
	b := topology.NewBuilder()
	table := func(name string) *topology.KTable[string, string] {
		return topology.Stream(b, name+"-in", serde.String, serde.String).
			Repartition(topology.Named(name), topology.Partitions(4)).ToTable(topology.As(name))
	}
	left := table("left")
	topology.ForeignKeyJoin(left, table("right"), func(v string) string { return v },
		func(l, r string) string { return l + r }, serde.String,
		append(opts, topology.Named("join"), topology.As("joined"))...)
	counts := topology.Count(topology.WindowedBy(left.ToStream().GroupByKey(), topology.Tumbling(time.Minute)),
		topology.As("minutes"), topology.ChangelogConfig(map[string]string{"segment.ms": "1000"}))
	topology.Suppress(counts, topology.UntilWindowCloses(), topology.As("waiting"))
	plan, err := b.Build()
	require.NoError(t, err)
	return plan
}

// manifestOf is a manifest that an application with the plan would publish.
func manifestOf(plan *processor.Plan) *checkpointing.Manifest {
	m := &checkpointing.Manifest{ApplicationID: "was", Topology: topologyOf(plan)}
	for _, sub := range plan.Subtopologies {
		for _, s := range sub.Stores {
			info := storeInfo(s, sub.ID, plan)
			if s.Changelogged() {
				info.Changelog = "was-" + s.Name + "-changelog"
			}
			m.Stores = append(m.Stores, info)
		}
	}
	return m
}

// TestPlanOfManifest: what a manifest says of a topology is what a start needs.
func TestPlanOfManifest(t *testing.T) {
	plan := joinedPlan(t)
	m := manifestOf(plan)
	got, err := planOf(m)
	require.NoError(t, err)
	require.Equal(t, plan.ForeignKeyJoins, got.ForeignKeyJoins)
	require.Len(t, got.Repartitions, len(plan.Repartitions))
	for i, r := range plan.Repartitions {
		require.Equal(t, r.Name, got.Repartitions[i].Name)
		require.Equal(t, r.Partitions, got.Repartitions[i].Partitions)
	}
	require.Len(t, got.Subtopologies, len(plan.Subtopologies))
	stores := 0
	for i, sub := range plan.Subtopologies {
		now := got.Subtopologies[i]
		require.Equal(t, sub.ID, now.ID)
		require.Equal(t, sub.SourceTopics, now.SourceTopics)
		require.Equal(t, sub.SinkTopics, now.SinkTopics)
		require.Len(t, now.Stores, len(sub.Stores))
		for j, s := range sub.Stores {
			a, b := s.Spec, now.Stores[j].Spec
			for _, key := range []string{"", "\x00x", "\x01abcdefghijklmnopqrstuvwxyz", "\x01\x00\x00\x00\x01abcdefghijklm"} {
				was, part, err := a.Place(record.Raw{Key: []byte(key)})
				is, same, otherErr := b.Place(record.Raw{Key: []byte(key)})
				require.Equal(t, err, otherErr)
				require.Equal(t, was, is)
				require.Equal(t, part, same)
			}
			require.Equal(t, snapshotType(s), b.Type)
			a.New, a.NewGlobal, a.PartitionKey, a.CachingEnabled, a.InMemory, a.Type = nil, nil, nil, false, false, b.Type
			a.Serdes, b.PartitionKey = nil, nil
			require.Equal(t, a, b)
			stores++
		}
	}
	require.Equal(t, 6, stores)

	for _, bad := range []func(m *checkpointing.Manifest){
		func(m *checkpointing.Manifest) { m.Topology.Subtopologies[0].Sources = nil },
		func(m *checkpointing.Manifest) { m.Topology.Repartitions[0].Partitions = -1 },
		func(m *checkpointing.Manifest) { m.Topology.ForeignKeyJoins[0].LeftWindowBytes = -1 },
		func(m *checkpointing.Manifest) { m.Stores[0].KeyWindows = []int{-1} },
		func(m *checkpointing.Manifest) { m.Stores[0].Name = "" },
	} {
		m := manifestOf(plan)
		bad(m)
		_, err := planOf(m)
		require.Error(t, err)
	}
	own := manifestOf(plan)
	for i := range own.Stores {
		own.Stores[i].OwnPartitionKey = own.Stores[i].Name == "left"
	}
	got, err = planOf(own)
	require.NoError(t, err)
	for _, sub := range got.Subtopologies {
		for _, s := range sub.Stores {
			if s.Name == "left" {
				_, _, err := s.Place(record.Raw{Key: []byte("k")})
				require.ErrorIs(t, err, errOwnPartitionKey)
			}
		}
	}
}

const (
	requestsTopic = "join-subscription-registration-topic"
	answersTopic  = "join-subscription-response-topic"
)

// move is a start with other numbers of partitions: of the left table and of the right one.
func move(t *testing.T, plan *processor.Plan, leftBefore, leftNow, rightBefore, rightNow int32) *starting {
	t.Helper()
	s := &starting{
		plan: plan, manifest: manifestOf(plan), cfg: &Config{ApplicationID: "now"},
		had: map[string]int32{"was-" + requestsTopic: rightBefore, "was-" + answersTopic: leftBefore},
	}
	s.topics = &topics{applicationID: "now", plan: plan, partitions: map[string]int32{
		"now-" + requestsTopic: rightNow, "now-" + answersTopic: leftNow,
	}}
	return s
}

// subscription is one of a left row with hash, as docs/format/foreign-key-join.md has it.
func subscription(partition int32, leftKey string) []byte {
	data := binary.BigEndian.AppendUint32([]byte{1, 4}, uint32(partition))
	return append(append(data, make([]byte, 16)...), leftKey...)
}

func TestMoveInFlight(t *testing.T) {
	plan := joinedPlan(t)
	for _, c := range []struct{ leftBefore, leftNow, rightBefore, rightNow int32 }{
		{4, 7, 4, 7}, {7, 3, 5, 5}, {4, 4, 5, 2}, {4, 4, 4, 4}, {1, 8, 1, 1},
	} {
		s := move(t, plan, c.leftBefore, c.leftNow, c.rightBefore, c.rightNow)
		for i := range 50 {
			foreign, left := fmt.Appendf(nil, "foreign-%d", i), fmt.Sprintf("left-%d", i)
			was, now := record.PartitionOf([]byte(left), c.leftBefore), record.PartitionOf([]byte(left), c.leftNow)
			request := record.Raw{Key: foreign, Value: subscription(was, left)}
			at := record.PartitionOf(foreign, c.rightBefore)
			to, err := s.moveInFlight(requestsTopic, &request, at, c.rightBefore, c.rightNow)
			require.NoError(t, err)
			require.Equal(t, record.PartitionOf(foreign, c.rightNow), to)
			require.Equal(t, subscription(now, left), request.Value)

			request = record.Raw{Value: subscription(was, left)} // without a foreign key
			to, err = s.moveInFlight(requestsTopic, &request, 0, c.rightBefore, c.rightNow)
			require.NoError(t, err)
			require.Less(t, to, c.rightNow)
			require.Equal(t, subscription(now, left), request.Value)

			answer := record.Raw{Key: []byte(left), Value: []byte{1, 0}}
			to, err = s.moveInFlight(answersTopic, &answer, was, c.leftBefore, c.leftNow)
			require.NoError(t, err)
			require.Equal(t, now, to)
		}
	}
	s := move(t, plan, 4, 7, 4, 7)
	key := []byte("left-1")
	elsewhere := (record.PartitionOf(key, 4) + 1) % 4
	wrong := record.Raw{Key: []byte("f"), Value: subscription(elsewhere, "left-1")}
	_, err := s.moveInFlight(requestsTopic, &wrong, 0, 4, 7)
	require.ErrorContains(t, err, "its input is partitioned in another way")
	_, err = s.moveInFlight(answersTopic, &record.Raw{Key: key}, elsewhere, 4, 7)
	require.ErrorContains(t, err, "its input is partitioned in another way")
	_, err = s.moveInFlight(requestsTopic, &record.Raw{Key: []byte("f"), Value: []byte{9}}, 0, 4, 7)
	require.ErrorContains(t, err, "want version 1")
	to, err := s.moveInFlight("left-repartition", &record.Raw{Key: key}, 1, 4, 7)
	require.NoError(t, err)
	require.Equal(t, record.PartitionOf(key, 7), to)
	to, err = s.moveInFlight("left-repartition", &record.Raw{Offset: 9}, 1, 4, 7)
	require.NoError(t, err)
	require.Equal(t, int32(2), to)

	custom := joinedPlan(t, topology.WithOtherPartitioner(func(string, string, int32) int32 { return 0 }))
	s = move(t, custom, 1, 1, 1, 7)
	_, err = s.moveInFlight(requestsTopic, &record.Raw{Key: []byte("f"), Value: subscription(0, "l")}, 0, 1, 7)
	require.ErrorContains(t, err, "WithOtherPartitioner")
	s = move(t, custom, 4, 7, 3, 3) // the right table stays where it is
	request := record.Raw{Key: []byte("f"), Value: subscription(record.PartitionOf(key, 4), "left-1")}
	to, err = s.moveInFlight(requestsTopic, &request, 2, 3, 3)
	require.NoError(t, err)
	require.Equal(t, int32(2), to)
	require.Equal(t, subscription(record.PartitionOf(key, 7), "left-1"), request.Value)
}

// TestPlacer: a row whose key did not choose its partition by murmur2 does not move.
func TestPlacer(t *testing.T) {
	spec := &processor.StoreSpec{Spec: store.KeyValueSpec("s", serde.String, serde.Int64)}
	s := &starting{}
	key := []byte("k")
	was := record.PartitionOf(key, 4)
	place := s.placer(&restoredStore{now: spec}, 4, 7)
	where, to, err := place(record.TaskID{Partition: was}, record.Raw{Key: key})
	require.NoError(t, err)
	require.Equal(t, store.ByKey, where)
	require.Equal(t, record.PartitionOf(key, 7), to)
	_, _, err = place(record.TaskID{Partition: (was + 1) % 4}, record.Raw{Key: key})
	require.ErrorContains(t, err, "partitioned in another way")
	place = s.placer(&restoredStore{now: spec}, 4, 4)
	_, to, err = place(record.TaskID{Partition: (was + 1) % 4}, record.Raw{Key: key})
	require.NoError(t, err)
	require.Equal(t, (was+1)%4, to)
}
