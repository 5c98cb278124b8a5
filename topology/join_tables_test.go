package topology_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/topology"
)

// TestJoinTables goes through all that can happen to both sides, with what reads old values below and without.
func TestJoinTables(t *testing.T) {
	joins := map[string]func(l, r textTable, opts ...topology.StoreOption) textTable{
		"inner": func(l, r textTable, opts ...topology.StoreOption) textTable {
			return topology.JoinTables(l, r, plus, nil, opts...)
		},
		"left": func(l, r textTable, opts ...topology.StoreOption) textTable {
			return topology.LeftJoinTables(l, r, plusMaybe, nil, opts...)
		},
		"outer": func(l, r textTable, opts ...topology.StoreOption) textTable {
			return topology.OuterJoinTables(l, r, plusEither, nil, opts...)
		},
	}
	steps := []struct {
		topic, value string
		timestamp    int64
		want         map[string]string // of the row k; absent: nothing
	}{
		{"l", "-", 1, nil},
		{"l", "a", 5, map[string]string{"left": "k=a+none@5", "outer": "k=a+none@5"}},
		{"r", "x", 3, map[string]string{"inner": "k=a+x@5", "left": "k=a+x@5", "outer": "k=a+x@5"}},
		{"l", "b", 4, map[string]string{"inner": "k=b+x@4", "left": "k=b+x@4", "outer": "k=b+x@4"}},
		{"r", "-", 6, map[string]string{"inner": "k=-@6", "left": "k=b+none@6", "outer": "k=b+none@6"}},
		{"r", "-", 7, map[string]string{"inner": "k=-@7", "left": "k=b+none@7", "outer": "k=b+none@7"}},
		{"l", "-", 8, map[string]string{"left": "k=-@8", "outer": "k=-@8"}},
		{"r", "y", 9, map[string]string{"outer": "k=none+y@9"}},
		{"l", "-", 10, map[string]string{"inner": "k=-@10", "left": "k=-@10", "outer": "k=none+y@10"}},
	}
	for name, join := range joins {
		for _, store := range []string{"", "joined"} {
			t.Run(name+store, func(t *testing.T) {
				b := topology.NewBuilder()
				var opts []topology.StoreOption
				if store != "" {
					opts = append(opts, topology.As(store))
				}
				join(textTableOf(b, "l"), textTableOf(b, "r"), opts...).ToStream().To("out")
				d := run(t, b, false)
				for i, s := range steps {
					d.pipe(s.topic, kv("k", s.value, s.timestamp))
					var want []string
					if s.want[name] != "" {
						want = []string{s.want[name]}
					}
					require.Equal(t, want, d.take("out", text), "step %d", i)
				}
			})
		}
	}
}

// TestJoinedTablesKnowOldValues groups a join: what a row was has to be taken out of its group.
func TestJoinedTablesKnowOldValues(t *testing.T) {
	for _, caching := range []bool{false, true} {
		b := topology.NewBuilder()
		// With caches, both sides of the inner join are flushed after both have changed: only its store knows that the
		// second update brings nothing new.
		inner := topology.JoinTables(textTableOf(b, "l"), textTableOf(b, "r"), plus, nil, topology.As("inner"))
		joined := topology.OuterJoinTables(inner, textTableOf(b, "x"), plusEither, nil)
		topology.CountTable(topology.GroupTableBy(joined, func(_, v string) (string, string) { return v, v }, nil, nil),
			topology.As("n")).ToStream().To("out")
		d := run(t, b, caching)
		d.pipe("l", kv("k", "a", 1))
		d.pipe("r", kv("k", "b", 1))
		d.flush()
		require.Contains(t, d.take("out", number), "a+b+none=1@1")
		d.pipe("x", kv("k", "c", 2))
		d.flush()
		require.Equal(t, []string{"a+b+none=0@2", "a+b+c=1@2"}, d.take("out", number))
		d.pipe("l", kv("k", "-", 3))
		d.flush()
		require.Equal(t, []string{"a+b+c=0@3", "none+c=1@3"}, d.take("out", number))
	}
}

// TestJoinOfATableWithItself: both sides see the update, the left one first.
func TestJoinOfATableWithItself(t *testing.T) {
	b := topology.NewBuilder()
	table := textTableOf(b, "t")
	topology.JoinTables(table, table, plus, nil).ToStream().To("out")
	d := run(t, b, false)
	d.pipe("t", kv("k", "a", 1))
	require.Equal(t, []string{"k=a+a@1", "k=a+a@1"}, d.take("out", text))
}
