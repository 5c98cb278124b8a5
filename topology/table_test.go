package topology_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/store"
	"github.com/tidemarkio/tidemark/topology"
)

type stringTable = *topology.KTable[string, string]

// rowsOf returns the rows of a store of text.
func rowsOf(t *testing.T, d *driver, name string) map[string]string {
	t.Helper()
	kv, ok := d.stores[name].(*store.KeyValue[string, string])
	require.True(t, ok)
	out := map[string]string{}
	for e, err := range kv.All() {
		require.NoError(t, err)
		out[e.Key] = e.Value
	}
	return out
}

func TestTable(t *testing.T) {
	b := topology.NewBuilder()
	topology.Table(b, "in", serde.String, serde.String, topology.As("rows")).ToStream().To("out")
	d := run(t, b, false)
	for _, r := range []in{kv("a", "1", 5), kv("-", "x", 6), kv("a", "2", 3), kv("b", "", 7), kv("c", "-", 8)} {
		d.pipe("in", r)
	}
	require.Equal(t, []string{"a=1@5", "a=2@3", "b=@7", "c=-@8"}, d.take("out", text), "the last to arrive wins")
	require.Equal(t, map[string]string{"a": "2", "b": ""}, rowsOf(t, d, "rows"))
	d.pipe("in", kv("a", "-", 1))
	require.Equal(t, map[string]string{"b": ""}, rowsOf(t, d, "rows"))
	require.Equal(t, []string{"null key in a table"}, d.dropped)
}

func TestTableIsMaterializedOnlyIfNeeded(t *testing.T) {
	b := topology.NewBuilder()
	plain := topology.Table(b, "in", serde.String, serde.String)
	topology.MapTableValues(plain, strings.ToUpper, nil).ToStream().To("out")
	require.Empty(t, b.MustBuild().Stores)
	topology.CountTable(topology.GroupTableBy(topology.MapTableValues(plain, identity, nil),
		func(k, v string) (string, string) { return v, k }, nil, nil), topology.As("n"))
	plan := b.MustBuild()
	require.Len(t, plan.Stores, 2, "the group needs the source's old values")
	require.Equal(t, "in-STATE-STORE-0000000000", plan.Stores[0].Name)
	require.Contains(t, plan.Stores[0].Position, "table_test.go")
}

// TestTableFilter pins which tombstones go out: all, unless the filter knows old values.
func TestTableFilter(t *testing.T) {
	long := func(_, v string) bool { return len(v) > 1 }
	events := []in{kv("k", "s", 1), kv("k", "long", 2), kv("k", "s", 3), kv("k", "-", 4), kv("k", "-", 5)}
	all := []string{"k=-@1", "k=long@2", "k=-@3", "k=-@4", "k=-@5"}
	changes := []string{"k=long@2", "k=-@3"}
	for name, c := range map[string]struct {
		table func(b *topology.Builder) stringTable
		want  []string
	}{
		"of a table without a store": {func(b *topology.Builder) stringTable {
			return topology.Table(b, "in", serde.String, serde.String).Filter(long)
		}, all},
		"of a table with a store": {func(b *topology.Builder) stringTable {
			return topology.Table(b, "in", serde.String, serde.String, topology.As("rows")).Filter(long)
		}, changes},
		"with a store, of a table without": {func(b *topology.Builder) stringTable {
			return topology.Table(b, "in", serde.String, serde.String).Filter(long, topology.As("long"))
		}, all},
		"with a store, of a table with one": {func(b *topology.Builder) stringTable {
			return topology.Table(b, "in", serde.String, serde.String, topology.As("rows")).Filter(long, topology.As("long"))
		}, changes},
		"FilterNot": {func(b *topology.Builder) stringTable {
			return topology.Table(b, "in", serde.String, serde.String, topology.As("rows")).
				FilterNot(func(k, v string) bool { return !long(k, v) })
		}, changes},
		"behind MapTableValues": {func(b *topology.Builder) stringTable {
			rows := topology.Table(b, "in", serde.String, serde.String, topology.As("rows"))
			return topology.MapTableValues(rows, identity, nil).Filter(long)
		}, changes},
	} {
		t.Run(name, func(t *testing.T) {
			b := topology.NewBuilder()
			table := c.table(b)
			table.ToStream().To("out")
			d := run(t, b, false)
			for _, r := range events {
				d.pipe("in", r)
			}
			require.Equal(t, c.want, d.take("out", text))
			if _, ok := d.stores["long"]; ok {
				require.Empty(t, rowsOf(t, d, "long"))
				d.pipe("in", kv("k", "long", 6))
				require.Equal(t, map[string]string{"k": "long"}, rowsOf(t, d, "long"))
			}
		})
	}
}

func TestMapTableValues(t *testing.T) {
	b := topology.NewBuilder()
	rows := topology.Table(b, "in", serde.String, serde.String)
	topology.MapTableValuesWithKey(rows, func(k, v string) string { return k + v }, nil, topology.As("mapped")).
		ToStream().To("out")
	d := run(t, b, false)
	d.pipe("in", kv("k", "v", 1))
	d.pipe("in", kv("k", "-", 2))
	d.pipe("in", kv("l", "w", 3))
	require.Equal(t, []string{"k=kv@1", "k=-@2", "l=lw@3"}, d.take("out", text))
	require.Equal(t, map[string]string{"l": "lw"}, rowsOf(t, d, "mapped"))
}

func TestToStreamBy(t *testing.T) {
	b := topology.NewBuilder()
	rows := topology.Table(b, "in", serde.String, serde.String)
	byLength := func(_, v string) int64 { return int64(len(v)) }
	s := topology.ToStreamBy(rows, byLength, serde.Int64, topology.Named("updates"))
	topology.MapValuesWithKey(s, func(k int64, v string) string { return strings.Repeat(v, int(k)) }, nil).To("out",
		topology.WithSerdes[int64, string](lengthSerde{}, nil))
	topology.Count(s.GroupByKey(), topology.As("n"))
	require.Len(t, b.MustBuild().Repartitions, 1)
	d := run(t, b, false)
	d.pipe("in", kv("a", "xy", 1))
	d.pipe("in", kv("a", "-", 2))
	require.Equal(t, []string{"2=xyxy@1", "0=-@2"}, d.take("out", text))
	topology.ToStreamBy[string, string, string](rows, nil, nil)
	_, err := b.Build()
	require.ErrorContains(t, err, "ToStreamBy: the function is nil")
}

// lengthSerde writes a digit.
type lengthSerde struct{ serde.Serde[int64] }

func (lengthSerde) Append(dst []byte, n int64) ([]byte, error) { return append(dst, byte('0'+n)), nil }

func TestToTable(t *testing.T) {
	b := topology.NewBuilder()
	s := topology.Stream(b, "in", serde.String, serde.String)
	s.ToTable(topology.As("direct")).ToStream().To("a")
	topology.SelectKey(s, func(_, v string) string { return v }, nil).ToTable(topology.As("rekeyed")).ToStream().To("b")
	d := run(t, b, false)
	d.pipe("in", kv("k", "v", 1))
	d.pipe("in", kv("k", "-", 2))
	require.Equal(t, []string{"k=v@1", "k=-@2"}, d.take("a", text))
	require.Equal(t, []string{"v=v@1", "=-@2"}, d.take("b", text))
	require.Equal(t, map[string]string{"v": "v"}, rowsOf(t, d, "rekeyed"))
}

// TestGroupedTable moves rows between groups: a row that stays gives one result, one that moves two.
func TestGroupedTable(t *testing.T) {
	b := topology.NewBuilder()
	rows := topology.Table(b, "in", serde.String, serde.String)
	byFirst := func(k, v string) (string, string) { return v[:1], v }
	g := topology.GroupTableBy(rows, byFirst, nil, nil, topology.Named("by-first"))
	topology.CountTable(g, topology.As("n")).ToStream().To("counts")
	topology.ReduceTable(g, func(a, v string) string { return a + v },
		func(a, v string) string { return strings.Replace(a, v, "", 1) }, topology.As("r")).ToStream().To("reduced")
	topology.AggregateTable(g, func() string { return "0" }, func(_, v, a string) string { return a + "+" + v },
		func(_, v, a string) string { return a + "-" + v }, serde.String, topology.As("a")).ToStream().To("folded")
	d := run(t, b, false)
	for _, r := range []in{kv("1", "ax", 10), kv("2", "ay", 5), kv("1", "az", 7), kv("1", "bz", 12), kv("2", "-", 1)} {
		d.pipe("in", r)
	}
	require.Equal(t, []string{"a=1@10", "a=2@10", "a=2@10", "a=1@12", "b=1@12", "a=0@12"}, d.take("counts", number))
	require.Equal(t, []string{"a=ax@10", "a=axay@10", "a=ayaz@10", "a=ay@12", "b=bz@12", "a=@12"}, d.take("reduced", text))
	require.Equal(t, []string{
		"a=0+ax@10", "a=0+ax+ay@10", "a=0+ax+ay-ax+az@10", "a=0+ax+ay-ax+az-az@12", "b=0+bz@12",
		"a=0+ax+ay-ax+az-az-ay@12",
	}, d.take("folded", text))
}

// TestCachedTables runs a chain of caching stores: only the last state of each epoch goes out, at every step.
func TestCachedTables(t *testing.T) {
	b := topology.NewBuilder()
	rows := topology.Table(b, "in", serde.String, serde.String, topology.As("rows"))
	rows.ToStream().To("rows-out")
	g := topology.GroupTableBy(rows, func(k, v string) (string, string) { return v, k }, nil, nil, topology.Named("g"))
	topology.CountTable(g, topology.As("n")).ToStream().To("counts")
	d := run(t, b, true)
	for _, r := range []in{kv("1", "a", 1), kv("1", "b", 2), kv("2", "b", 3), kv("3", "c", 4), kv("3", "-", 5)} {
		d.pipe("in", r)
	}
	d.flush()
	rowsOut := d.take("rows-out", text)
	require.Contains(t, rowsOut, "1=b@2")
	require.NotContains(t, rowsOut, "1=a@1")
	require.Equal(t, []string{"b=2@3"}, d.take("counts", number))
	d.pipe("in", kv("1", "a", 6))
	d.pipe("in", kv("1", "c", 7))
	d.flush()
	require.Equal(t, []string{"b=1@7", "c=1@7"}, d.take("counts", number))
}

// TestFlushGivesStoresBelowTheUpdatesTime pins that a flush does not lend its updates the time of the last input
// record.
func TestFlushGivesStoresBelowTheUpdatesTime(t *testing.T) {
	b := topology.NewBuilder()
	s := topology.Stream(b, "in", serde.String, serde.String)
	counts := topology.Count(s.GroupByKey(), topology.As("counts")).ToStream()
	topology.Process(counts, newStamper, serde.String, serde.Int64).To("out")
	d := run(t, b, true)
	d.pipe("in", kv("a", "x", 7))
	d.pipe("in", kv("b", "x", 3))
	d.flush()
	require.Equal(t, []string{"a=7@7", "b=3@3"}, d.take("out", number))
	require.Equal(t, int64(3), d.current.Timestamp)
}
