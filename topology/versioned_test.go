package topology_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/store"
	"github.com/tidemarkio/tidemark/tidemarktest"
	"github.com/tidemarkio/tidemark/topology"
)

const historyOfTests = 50 * time.Millisecond

func TestVersionedMistakes(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		declare func(b *topology.Builder, s *topology.KStream[string, string], t *topology.KTable[string, string])
		want    string
	}{
		"no history": {func(b *topology.Builder, _ *topology.KStream[string, string], _ *topology.KTable[string, string]) {
			topology.Table(b, "t2", serde.String, serde.String, topology.Versioned(-1))
		}, "Table: Versioned(-1ns): want a history retention of 0 or more"},
		"an aggregate": {func(_ *topology.Builder, s *topology.KStream[string, string], _ *topology.KTable[string, string]) {
			topology.Count(s.GroupByKey(), topology.As("c"), topology.Versioned(time.Hour))
		}, "Count: Versioned is for Table and ToTable"},
		"a windowed aggregate": {
			func(_ *topology.Builder, s *topology.KStream[string, string], _ *topology.KTable[string, string]) {
				topology.Count(topology.WindowedBy(s.GroupByKey(), topology.Tumbling(time.Second)), topology.Versioned(time.Hour))
			}, "Count: Versioned is for Table and ToTable",
		},
		"a filter's store": {func(_ *topology.Builder, _ *topology.KStream[string, string],
			t *topology.KTable[string, string],
		) {
			t.Filter(func(_, _ string) bool { return true }, topology.As("f"), topology.Versioned(time.Hour))
		}, "Filter: Versioned is for Table and ToTable"},
		"grace without history": {
			func(_ *topology.Builder, s *topology.KStream[string, string], t *topology.KTable[string, string]) {
				topology.JoinTable(s, t, func(a, b string) string { return a + b }, nil, topology.JoinGrace(0))
			}, "JoinTable: JoinGrace: the table is not versioned",
		},
		"a store ends the history": {
			func(b *topology.Builder, s *topology.KStream[string, string], _ *topology.KTable[string, string]) {
				t := topology.Table(b, "t2", serde.String, serde.String, topology.Versioned(time.Hour)).
					Filter(func(_, _ string) bool { return true }, topology.As("f"))
				topology.LeftJoinTable(s, t, func(a string, _ topology.Optional[string]) string { return a }, nil,
					topology.JoinGrace(0))
			}, "LeftJoinTable: JoinGrace: the table is not versioned",
		},
		"negative grace": {
			func(b *topology.Builder, s *topology.KStream[string, string], _ *topology.KTable[string, string]) {
				t := topology.Table(b, "t2", serde.String, serde.String, topology.Versioned(time.Hour))
				topology.JoinTable(s, t, func(a, b string) string { return a + b }, nil, topology.JoinGrace(-1))
			}, "JoinGrace(-1ns): want 0 or more",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := topology.NewBuilder()
			s := topology.Stream(b, "s", serde.String, serde.String)
			c.declare(b, s, topology.Table(b, "t", serde.String, serde.String))
			_, err := b.Build()
			require.ErrorContains(t, err, c.want)
		})
	}
}

// What is too old is dropped, what is late is passed on, and only what is neither reaches a grouping.
func TestVersionedUpdates(t *testing.T) {
	t.Parallel()
	b := topology.NewBuilder()
	table := topology.Stream(b, "in", serde.String, serde.String).
		ToTable(topology.As("rows"), topology.Versioned(historyOfTests))
	table.ToStream().To("all")
	topology.CountTable(topology.GroupTableBy(table, func(_, v string) (string, string) { return v, v },
		serde.String, serde.String), topology.As("counts")).ToStream().To("counts")
	// A filter with a store of its own has no history: for it, the last to arrive wins.
	kept := table.Filter(func(_, v string) bool { return v != "no" }, topology.As("kept"), topology.WithoutCaching())
	topology.CountTable(topology.GroupTableBy(kept, func(_, v string) (string, string) { return v, v },
		serde.String, serde.String), topology.As("kept-counts"))

	d := tidemarktest.New(t, b, tidemarktest.SingleTask())
	in := tidemarktest.Input(d, "in", serde.String, serde.String)
	in.Pipe("k", "new", 100)
	in.Pipe("k", "late", 50)
	in.Pipe("k", "older", 49)
	require.Equal(t, 2, d.Dropped(), "the one that is too old, and the late one at the grouping")
	var all []string
	for _, r := range tidemarktest.Output(d, "all", serde.String, serde.String).ReadAll() {
		all = append(all, r.Value)
	}
	require.Equal(t, []string{"new", "late"}, all)
	value := func(name, key string) int64 {
		n, _, err := tidemarktest.Store[*store.KeyValue[string, int64]](d, name).Get(key)
		require.NoError(t, err)
		return n
	}
	require.Equal(t, int64(1), value("counts", "new"))
	require.Equal(t, int64(0), value("counts", "late"))
	require.Equal(t, int64(0), value("kept-counts", "new"))
	require.Equal(t, int64(1), value("kept-counts", "late"))
}

// Headers wait with their record, and a null key does not wait.
func TestJoinGraceRecords(t *testing.T) {
	t.Parallel()
	b := topology.NewBuilder()
	table := topology.Table(b, "rows", serde.String, serde.String, topology.Versioned(historyOfTests), topology.InMemory())
	topology.LeftJoinTable(topology.Stream(b, "in", serde.Nullable(serde.String), serde.String),
		topology.MapTableValues(topology.ToStreamBy(table, func(k, _ string) *string { return &k },
			serde.Nullable(serde.String)).ToTable(topology.As("by"), topology.Versioned(historyOfTests)),
			func(v string) string { return v }, serde.String),
		func(v string, row topology.Optional[string]) string { return v + row.Or("-") }, nil,
		topology.JoinGrace(10*time.Millisecond)).To("out")
	d := tidemarktest.New(t, b, tidemarktest.SingleTask())
	in := tidemarktest.Input(d, "in", serde.Nullable(serde.String), serde.String)
	out := tidemarktest.Output(d, "out", serde.Nullable(serde.String), serde.String)
	k := "k"
	h := []record.Header{{Key: "h", Value: []byte("1")}, {Key: "nil"}, {Key: "empty", Value: []byte{}}}
	in.Pipe(&k, "a", 100, h...)
	in.Pipe(nil, "null", 100)
	require.Equal(t, "null-", out.Read().Value)
	require.Zero(t, out.Len())
	d.Commit()
	d.Crash()
	in = tidemarktest.Input(d, "in", serde.Nullable(serde.String), serde.String)
	in.Pipe(&k, "b", 110)
	r := out.Read()
	require.Equal(t, "a-", r.Value)
	require.Equal(t, h, r.Headers)
	require.Zero(t, out.Len())
}
