package topology_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/store"
	"github.com/tidemarkio/tidemark/tidemarktest"
	"github.com/tidemarkio/tidemark/topology"
)

type ttlUpdate struct {
	key  string
	n    int64
	null bool
	ts   int64
}

// A row that expires leaves the table before the record that moves time is processed, and once, whatever crashes.
func TestTTLOfAnAggregate(t *testing.T) {
	t.Parallel()
	for _, crash := range []bool{false, true} {
		b := topology.NewBuilder()
		topology.Count(topology.Stream(b, "in", serde.String, serde.String).GroupByKey(),
			topology.As("counts"), topology.TTL(store.TTL{After: 100 * time.Millisecond})).ToStream().To("out")
		d := tidemarktest.New(t, b)
		in := tidemarktest.Input(d, "in", serde.String, serde.String)
		out := tidemarktest.Output(d, "out", serde.String, serde.Int64)
		for _, r := range []ttlUpdate{
			{key: "a", ts: 0},
			{key: "b", ts: 50},
			{key: "b", ts: 20},
			{key: "a", ts: 99},
			{key: "b", ts: 150},
			{key: "c", ts: 500},
		} {
			in.Pipe(r.key, "x", r.ts)
			d.Commit()
			if crash {
				d.Crash()
			}
		}
		var got []ttlUpdate
		for _, r := range out.ReadAll() {
			got = append(got, ttlUpdate{r.Key, r.Value, r.NullValue, r.Timestamp})
		}
		require.Equal(t, []ttlUpdate{
			{"a", 1, false, 0},
			{"b", 1, false, 50},
			{"b", 2, false, 50},
			{"a", 2, false, 99},
			{"b", 0, true, 150},
			{"b", 1, false, 150},
			{"a", 0, true, 199},
			{"b", 0, true, 250},
			{"c", 1, false, 500},
		}, got)
		_, found, err := tidemarktest.Store[*store.KeyValue[string, int64]](d, "counts").Get("a")
		require.NoError(t, err)
		require.False(t, found)
	}
}

// With a cache the tombstone leaves with the commit, and with it the old value for those who ask for it.
func TestTTLOfACachedTable(t *testing.T) {
	t.Parallel()
	b := topology.NewBuilder()
	table := topology.Table(b, "in", serde.String, serde.String,
		topology.As("rows"), topology.TTL(store.TTL{After: time.Minute, Time: store.WallClock}))
	table.ToStream().To("out")
	d := tidemarktest.New(t, b, tidemarktest.WithCaching())
	in := tidemarktest.Input(d, "in", serde.String, serde.String)
	out := tidemarktest.Output(d, "out", serde.String, serde.String)
	in.Pipe("a", "1", 5)
	d.Commit()
	d.AdvanceWallClock(59 * time.Second)
	in.Pipe("b", "1", 6)
	d.AdvanceWallClock(time.Second)
	d.Commit()
	var got []ttlUpdate
	for _, r := range out.ReadAll() {
		got = append(got, ttlUpdate{key: r.Key, null: r.NullValue})
	}
	require.Equal(t, []ttlUpdate{{key: "a"}, {key: "b"}, {key: "a", null: true}}, got)
}

func TestTTLMistakes(t *testing.T) {
	t.Parallel()
	ttl := topology.TTL(store.TTL{After: time.Hour})
	b := topology.NewBuilder()
	s := topology.Stream(b, "in", serde.String, serde.String)
	topology.Count(topology.WindowedBy(s.GroupByKey(), topology.Tumbling(time.Minute)), topology.As("w"), ttl)
	topology.Table(b, "t", serde.String, serde.String).Filter(func(string, string) bool { return true }, ttl)
	topology.GlobalTable(b, "g", serde.String, serde.String, topology.As("g"), ttl)
	_, err := b.Build()
	require.ErrorContains(t, err, "Count: TTL: windows expire by Retention")
	require.ErrorContains(t, err, "Filter: TTL: the table has no store: give it one with As")
	require.ErrorContains(t, err, "GlobalTable: store \"g\": TTL: a global store is what its topic is")
}

// An input topic does not know of what expires, so it is no changelog then.
func TestTTLAndReuseSource(t *testing.T) {
	t.Parallel()
	b := topology.NewBuilder(topology.OptimizeAll())
	topology.Table(b, "a", serde.String, serde.String, topology.As("a"), topology.TTL(store.TTL{After: time.Hour})).
		ToStream().To("out")
	topology.Table(b, "b", serde.String, serde.String, topology.As("b")).ToStream().To("out")
	plan := b.MustBuild()
	require.Empty(t, plan.Stores[0].SourceTopic)
	require.Equal(t, "b", plan.Stores[1].SourceTopic)
	require.Equal(t, store.TypeTTLKeyValue, plan.Stores[0].Type)
}
