package topology_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/topology"
)

func TestJoinTable(t *testing.T) {
	b := topology.NewBuilder()
	s, table := textStreamOf(b, "s"), textTableOf(b, "t")
	topology.JoinTable(s, table, plus, nil).To("inner")
	topology.LeftJoinTableWithKey(s, table, func(k, v string, row maybeText) string {
		return k + ":" + plusMaybe(v, row)
	}, nil).To("left")
	d := run(t, b, false)
	take := func() [2][]string { return [2][]string{d.take("inner", text), d.take("left", text)} }
	d.pipe("s", kv("k", "a", 1))
	require.Equal(t, [2][]string{nil, {"k=k:a+none@1"}}, take())
	d.pipe("t", kv("k", "T", 9))
	require.Equal(t, [2][]string{}, take(), "an update of the table is no result")
	d.pipe("s", kv("k", "b", 2))
	require.Equal(t, [2][]string{{"k=b+T@2"}, {"k=k:b+T@2"}}, take(), "the time is the stream's")
	d.pipe("s", kv("k", "-", 3))
	d.pipe("s", kv("-", "-", 4))
	require.Equal(t, [2][]string{}, take(), "null values are dropped")
	d.pipe("s", kv("-", "c", 5))
	require.Equal(t, [2][]string{nil, {"-=:c+none@5"}}, take())
	d.pipe("t", kv("k", "-", 9))
	d.pipe("s", kv("k", "d", 6))
	require.Equal(t, [2][]string{nil, {"k=k:d+none@6"}}, take())
	require.Len(t, d.dropped, 5)
}

// TestJoinTableReadsThroughTables pins how rows are found that lie in no store: by the functions above.
func TestJoinTableReadsThroughTables(t *testing.T) {
	const stored = "t-STATE-STORE-0000000001"
	long := func(_, v string) bool { return len(v) > 1 }
	mark := func(v string) string { return v + "!" }
	both := func(b *topology.Builder, table textTable) textTable {
		return topology.JoinTables(table, textTableOf(b, "u"), plus, nil)
	}
	for name, c := range map[string]struct {
		table  func(b *topology.Builder, table textTable) textTable
		stores []string
		want   string
	}{
		"source": {func(_ *topology.Builder, t textTable) textTable { return t }, []string{stored}, "T2"},
		"filter": {func(_ *topology.Builder, t textTable) textTable { return t.Filter(long) }, []string{stored}, "T2"},
		"nothing": {func(_ *topology.Builder, t textTable) textTable {
			return t.FilterNot(long)
		}, []string{stored}, "none"},
		"mapped": {func(_ *topology.Builder, t textTable) textTable {
			return topology.MapTableValues(t.Filter(long), mark, nil)
		}, []string{stored}, "T2!"},
		"with a store": {func(_ *topology.Builder, t textTable) textTable {
			return topology.MapTableValues(t, mark, nil, topology.As("m"))
		}, []string{"m"}, "T2!"},
		"a join": {both, []string{stored, "u-STATE-STORE-0000000004"}, "T2+U2"},
		"an outer join, filtered": {func(b *topology.Builder, t textTable) textTable {
			return topology.OuterJoinTables(t.FilterNot(long), textTableOf(b, "u"), plusEither, nil).Filter(long)
		}, []string{stored, "u-STATE-STORE-0000000005"}, "none+U2"},
		"a left join of nothing": {func(b *topology.Builder, t textTable) textTable {
			return topology.LeftJoinTables(t.FilterNot(long), textTableOf(b, "u"), plusMaybe, nil)
		}, []string{stored, "u-STATE-STORE-0000000005"}, "none"},
		"an aggregate": {func(b *topology.Builder, _ textTable) textTable {
			return topology.Reduce(textStreamOf(b, "u").GroupByKey(), plus, topology.As("reduced"))
		}, []string{"reduced"}, "U1+U2"},
	} {
		t.Run(name, func(t *testing.T) {
			b := topology.NewBuilder()
			s := textStreamOf(b, "s")
			topology.LeftJoinTable(s, c.table(b, textTableOf(b, "t")),
				func(_ string, row maybeText) string { return row.Or("none") }, nil, topology.Named("join")).To("out")
			for _, n := range b.MustBuild().Nodes {
				if n.Name == "join" {
					require.Equal(t, c.stores, n.Stores)
				}
			}
			d := run(t, b, false)
			for i, v := range []string{"1", "2"} {
				d.pipe("t", kv("k", "T"+v, int64(i)))
				if d.sources["u"] != nil {
					d.pipe("u", kv("k", "U"+v, int64(i)))
				}
			}
			d.pipe("s", kv("k", "s", 5))
			require.Equal(t, []string{"k=" + c.want + "@5"}, d.take("out", text))
		})
	}
}

// TestNullKeysBeforeJoins pins KIP-962: null keys pass a repartition topic if a left join lies below, however far.
func TestNullKeysBeforeJoins(t *testing.T) {
	for name, c := range map[string]struct {
		left bool
		want []string
	}{
		"inner": {false, nil},
		"left":  {true, []string{"-=a+none@1"}},
	} {
		t.Run(name, func(t *testing.T) {
			b := topology.NewBuilder()
			table := textTableOf(b, "t")
			nullable := serde.Nullable(serde.String)
			s := topology.SelectKey(topology.Stream(b, "s", nullable, serde.String),
				func(*string, string) *string { return nil }, nullable)
			again := s.Repartition().Peek(func(*string, string) {})
			nullableTable := topology.Table(b, "n", nullable, serde.String)
			if c.left {
				topology.LeftJoinTable(again, nullableTable, plusMaybe, nil).To("out")
			} else {
				topology.JoinTable(again, nullableTable, plus, nil).To("out")
			}
			table.ToStream().To("elsewhere")
			d := run(t, b, false)
			d.pipe("s", kv("k", "a", 1))
			require.Equal(t, c.want, d.take("out", text))
		})
	}
}

// TestJoinWithCachedTable: a lookup sees what the cache holds back, as in Kafka Streams.
func TestJoinWithCachedTable(t *testing.T) {
	b := topology.NewBuilder()
	topology.JoinTable(textStreamOf(b, "s"), textTableOf(b, "t"), plus, nil).To("out")
	d := run(t, b, true)
	d.pipe("t", kv("k", "T", 1))
	d.pipe("s", kv("k", "s", 2))
	require.Equal(t, []string{"k=s+T@2"}, d.take("out", text))
}

func TestJoinMistakes(t *testing.T) {
	b, other := topology.NewBuilder(), topology.NewBuilder()
	s, table := textStreamOf(b, "s"), textTableOf(b, "t")
	topology.JoinTable[string, string, string, string](s, table, nil, nil)
	topology.JoinTable(s, textTableOf(other, "t"), plus, nil)
	topology.JoinTables[string, string, string, string](table, table, nil, nil)
	topology.JoinTables(table, textTableOf(other, "t"), plus, nil)
	untyped := topology.MapTableValues(table, func(string) int32 { return 0 }, nil)
	topology.ForeignKeyJoin(untyped, table, func(int32) string { return "" }, func(int32, string) string { return "" },
		serde.String)
	topology.ForeignKeyJoin(table, table, func(v string) string { return v }, plus, nil,
		topology.WithOtherPartitioner(func(string, int, int32) int32 { return 0 }))
	topology.ForeignKeyJoin[string, string, string, string, string](table, table, nil, plus, nil)
	_, err := b.Build()
	for _, problem := range []string{
		"JoinTable: the function is nil",
		"JoinTable: the two inputs belong to different builders",
		"JoinTables: the function is nil",
		"JoinTables: the two inputs belong to different builders",
		"ForeignKeyJoin: no value serde for the left table of a foreign-key join: give one to the operator above that " +
			"makes values of type int32",
		"ForeignKeyJoin: WithOtherPartitioner: topology.KeyPartitioner[int] is not for keys of type string",
		"ForeignKeyJoin: the function is nil",
	} {
		require.ErrorContains(t, err, problem)
	}
}

// TestJoinTableDoesNotAllocate pins that looking a row up and joining it costs no allocation beyond the joiner's.
func TestJoinTableDoesNotAllocate(t *testing.T) {
	b := topology.NewBuilder()
	s := topology.Stream(b, "s", serde.Int64, serde.Int64)
	table := topology.Table(b, "t", serde.Int64, serde.Int64)
	topology.LeftJoinTable(s, table, func(v int64, row topology.Optional[int64]) int64 { return v + row.Or(1) }, nil).
		To("out")
	d := run(t, b, false)
	d.discard = true
	r := in{Key: make([]byte, 8), Value: make([]byte, 8), Timestamp: 1}
	d.pipe("t", r)
	source := d.sources["s"]
	require.Zero(t, testing.AllocsPerRun(100, func() {
		if err := source.ReceiveRaw(&r); err != nil {
			panic(err)
		}
	}))
}
