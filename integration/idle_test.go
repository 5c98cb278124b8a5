package integration

import (
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark"
	"github.com/tidemarkio/tidemark/integration/broker"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/topology"
)

// produceAt writes records with these event times, which are their values, to a topic of one partition.
func (s *scenario) produceAt(topic string, times ...int64) {
	s.t.Helper()
	records := make([]broker.Record, len(times))
	for i, ts := range times {
		records[i] = broker.Record{
			Key: []byte("k"), Value: []byte(strconv.FormatInt(ts, 10)), Timestamp: time.UnixMilli(ts),
		}
	}
	s.cluster.Produce(s.t, topic, records...)
}

// mergeOf merges the scenario's input with another topic.
func (s *scenario) mergeOf(other string) *topology.Builder {
	b := topology.NewBuilder()
	one, two := topology.Stream(b, s.in, serde.String, serde.String), topology.Stream(b, other, serde.String, serde.String)
	one.Merge(two).To(s.out)
	return b
}

// Two inputs of very different sizes come out in the order of time: the task waits for what the broker has.
func TestInputsMergeByTime(t *testing.T) {
	s := onePartition(t, broker.Start(t))
	other := broker.Name(t, "other")
	s.cluster.CreateTopic(t, other, 1, nil)
	const base = 1_700_000_000_000
	var many, few, all []int64
	for i := range int64(5000) {
		many = append(many, base+2*i)
		if i%500 == 0 {
			few = append(few, base+2*i+1)
		}
	}
	for i, part := range slices.Collect(slices.Chunk(many, 1000)) {
		s.produceAt(s.in, part...)
		if i == 2 {
			s.produceAt(other, few...)
		}
	}
	all = slices.Sorted(slices.Values(slices.Concat(many, few)))
	want := make([]string, len(all))
	for i, ts := range all {
		want[i] = strconv.FormatInt(ts, 10)
	}

	a := s.run(s.mergeOf(other), s.config())
	require.Equal(t, want, values(s.awaitOutputs(s.out, len(want))))

	// The end of both is known: what comes now on one of them waits for nobody, also after a restart.
	s.produceAt(s.in, base+20_000)
	s.awaitOutputs(s.out, len(want)+1)
	a.close()
	s.produceAt(other, base+20_001)
	s.run(s.mergeOf(other), s.config())
	s.awaitOutputs(s.out, len(want)+2)
}

// With MaxTaskIdle a task also waits for records that nobody has written yet.
func TestMaxTaskIdleWaitsForNewRecords(t *testing.T) {
	s := onePartition(t, broker.Start(t))
	other := broker.Name(t, "other")
	s.cluster.CreateTopic(t, other, 1, nil)
	const base = 1_700_000_000_000
	s.produceAt(s.in, base+10, base+20)
	cfg := s.config()
	cfg.MaxTaskIdle = time.Minute
	a := s.run(s.mergeOf(other), cfg)
	a.awaitRunning()
	s.produceAt(other, base+5, base+30)
	got := values(s.awaitOutputs(s.out, 3))
	for i, ts := range []int64{5, 10, 20} {
		require.Equal(t, strconv.FormatInt(base+ts, 10), got[i])
	}
	a.close()

	cfg = s.config()
	cfg.MaxTaskIdle = 50 * time.Millisecond
	s.run(s.mergeOf(other), cfg)
	s.awaitOutputs(s.out, 4)

	cfg.MaxTaskIdle = -2
	_, err := tidemark.New(s.mergeOf(other), cfg)
	require.ErrorContains(t, err, "MaxTaskIdle")
}
