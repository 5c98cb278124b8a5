package integration

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark"
	"github.com/tidemarkio/tidemark/integration/broker"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/store"
	"github.com/tidemarkio/tidemark/topology"
)

// queried counts by key, with and without windows.
func (s *scenario) queried() *topology.Builder {
	b := topology.NewBuilder()
	in := topology.Stream(b, s.in, serde.String, serde.String)
	topology.Count(in.GroupByKey(), topology.As("counts")).ToStream().To(s.out)
	windowed := topology.WindowedBy(in.GroupByKey(), topology.Tumbling(time.Hour))
	topology.Count(windowed, topology.As("per-hour"))
	return b
}

// total asks two apps for all counts and adds them up.
func total(ctx context.Context, t *testing.T, apps ...*app) (n int64, keys int) {
	t.Helper()
	for _, a := range apps {
		for e, err := range tidemark.Query[string, int64](a.app, "counts").All(ctx) {
			if _, ok := errors.AsType[*tidemark.NotHereError](err); ok {
				break
			}
			require.NoError(t, err)
			n += e.Value
			keys++
		}
	}
	return n, keys
}

func TestQuery(t *testing.T) {
	s := newScenario(t, broker.Start(t))
	ctx := t.Context()
	s.keys = 600 // several pages in a partition
	one := s.run(s.queried(), s.config())
	counts := tidemark.Query[string, int64](one.app, "counts")
	one.awaitTasks(int(s.partitions))
	s.send(1800)
	eventually(t, "all records are counted and committed", func() bool {
		n, _ := total(ctx, t, one)
		return n == int64(s.sent)
	})
	_, keys := total(ctx, t, one)
	require.Equal(t, s.keys, keys)
	hour := time.Now().UnixMilli() / 3_600_000 * 3_600_000
	perHour := tidemark.QueryWindow[string, int64](one.app, "per-hour")
	for i := range 100 {
		key := fmt.Sprintf("key-%02d", i)
		n, found, err := counts.Get(ctx, key)
		require.NoError(t, err)
		require.True(t, found)
		require.Equal(t, int64(3), n)
		windows, err := perHour.FetchRange(ctx, key, hour-7_200_000, hour+3_600_000)
		require.NoError(t, err)
		inWindows := int64(0)
		for _, w := range windows {
			inWindows += w.Value
			n, found, err = perHour.Fetch(ctx, key, w.Start)
			require.NoError(t, err)
			require.True(t, found)
			require.Equal(t, w.Value, n)
		}
		require.Equal(t, int64(3), inWindows)
	}
	all, err := perHour.FetchAll(ctx, 0, 1<<50)
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(all), s.keys)
	_, found, err := counts.Get(ctx, "nobody")
	require.NoError(t, err)
	require.False(t, found)
	in := 0
	for e, err := range counts.Range(ctx, "key-10", "key-12") {
		require.NoError(t, err)
		require.GreaterOrEqual(t, e.Key, "key-10")
		in++
	}
	require.Equal(t, 23, in, "key-10 to key-12, with key-100 to key-119 between them")

	// Another instance takes half of the partitions: each answers for its own, and says what it has not got.
	cfg := s.config()
	two := s.run(s.queried(), cfg)
	awaitSettled(t, int(s.partitions), one, two)
	eventually(t, "the two share the keys", func() bool {
		n, keys := total(ctx, t, one, two)
		_, half := total(ctx, t, two)
		return n == int64(s.sent) && keys == s.keys && half > 0 && half < s.keys
	})
	here, elsewhere := 0, 0
	for i := range 100 {
		key := fmt.Sprintf("key-%02d", i)
		for _, a := range []*app{one, two} {
			n, found, err := tidemark.Query[string, int64](a.app, "counts").Get(ctx, key)
			if nh, ok := errors.AsType[*tidemark.NotHereError](err); ok {
				require.GreaterOrEqual(t, nh.Partition, int32(0))
				require.ErrorContains(t, err, `store "counts": partition`)
				elsewhere++
				continue
			}
			require.NoError(t, err)
			require.True(t, found)
			require.Equal(t, int64(3), n)
			here++
		}
	}
	require.Equal(t, 100, here)
	require.Equal(t, 100, elsewhere)
	two.close()
	_, _, err = tidemark.Query[string, int64](two.app, "counts").Get(ctx, "key-01")
	require.ErrorContains(t, err, "no partition of it is on this instance (CLOSED)")
}

func TestQueryMistakes(t *testing.T) {
	s := newScenario(t, broker.Start(t))
	b := s.queried()
	table := broker.Name(t, "table")
	s.cluster.CreateTopic(t, table, 1, map[string]string{"cleanup.policy": "compact"})
	s.cluster.Produce(t, table,
		broker.Record{Key: []byte("a"), Value: []byte("1")}, broker.Record{Key: []byte("b"), Value: []byte("2")})
	topology.GlobalTable(b, table, serde.String, serde.String, topology.As("global"))
	a := s.run(b, s.config())
	a.awaitTasks(int(s.partitions))
	ctx := t.Context()
	_, _, err := tidemark.Query[string, int64](a.app, "nope").Get(ctx, "k")
	require.ErrorContains(t, err, `the topology has no store "nope"`)
	_, _, err = tidemark.Query[string, string](a.app, "counts").Get(ctx, "k")
	require.ErrorContains(t, err, `"counts" is key-value with store.Serdes[string,int64], and the query is for key-value`)
	_, _, err = tidemark.QueryWindow[string, int64](a.app, "counts").Fetch(ctx, "k", 0)
	require.ErrorContains(t, err, "and the query is for window with store.Serdes[string,int64]")
	_, _, err = tidemark.Query[string, int64](a.app, "global").Get(ctx, "k")
	require.ErrorContains(t, err, "and the query is for key-value with store.Serdes[string,int64]")
	_, _, err = tidemark.Query[string, int64](a.app, "counts").Partition(9).Get(ctx, "k")
	require.ErrorContains(t, err, "partition 9 is not, or not yet, on this instance")

	global := tidemark.Query[string, string](a.app, "global")
	v, found, err := global.Get(ctx, "b")
	require.NoError(t, err)
	require.True(t, found)
	require.Equal(t, "2", v)
	var rows []store.KeyValueEntry[string, string]
	for e, err := range global.All(ctx) {
		require.NoError(t, err)
		rows = append(rows, e)
	}
	require.Len(t, rows, 2)

	ended, cancel := context.WithCancel(ctx)
	cancel()
	_, _, err = tidemark.Query[string, int64](a.app, "counts").Get(ended, "k")
	require.ErrorIs(t, err, context.Canceled)
}
