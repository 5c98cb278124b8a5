package topology_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/topology"
)

// TestUnnamed declares, in each case, what keeps something under a name, and lists what has a generated one.
func TestUnnamed(t *testing.T) {
	byValue := func(_, v string) string { return v }
	swap := func(k, v string) (string, string) { return v, k }
	for name, c := range map[string]struct {
		declare func(b *topology.Builder, s *topology.KStream[string, string])
		want    []string // resource, name, operator, hint
	}{
		"nothing is kept": {
			func(_ *topology.Builder, s *topology.KStream[string, string]) {
				topology.SelectKey(s.Filter(func(string, string) bool { return true }), byValue, nil).To("out")
			}, nil,
		},
		"an aggregate": {
			func(_ *topology.Builder, s *topology.KStream[string, string]) { topology.Count(s.GroupByKey()) },
			[]string{`store KSTREAM-AGGREGATE-STATE-STORE-0000000001 Count topology.As("...")`},
		},
		"an aggregate with a name": {
			func(_ *topology.Builder, s *topology.KStream[string, string]) {
				topology.Count(topology.GroupBy(s, byValue, nil), topology.As("n"))
			}, nil,
		},
		"an aggregate behind a topic": {
			func(_ *topology.Builder, s *topology.KStream[string, string]) {
				topology.Reduce(topology.GroupBy(s, byValue, nil), func(_, v string) string { return v })
			},
			[]string{
				`store KSTREAM-REDUCE-STATE-STORE-0000000002 Reduce topology.As("...")`,
				`repartition topic KSTREAM-REDUCE-STATE-STORE-0000000002-repartition Reduce topology.As("...") for it and ` +
					`its store, or topology.Named("...") at the group`,
			},
		},
		"a group with a name": {
			func(_ *topology.Builder, s *topology.KStream[string, string]) {
				topology.Count(topology.GroupBy(s, byValue, nil, topology.Named("g")))
			},
			[]string{`store KSTREAM-AGGREGATE-STATE-STORE-0000000002 Count topology.As("...")`},
		},
		"a repartition": {
			func(_ *topology.Builder, s *topology.KStream[string, string]) { s.Repartition().To("out") },
			[]string{`repartition topic KSTREAM-REPARTITION-0000000001-repartition Repartition topology.Named("...")`},
		},
		"a table of a stream, with a store": {
			func(_ *topology.Builder, s *topology.KStream[string, string]) {
				topology.SelectKey(s, byValue, nil).ToTable(topology.As("rows"))
			},
			[]string{`repartition topic KSTREAM-TOTABLE-0000000002-repartition ToTable topology.Named("...")`},
		},
		"a table without a store": {
			func(b *topology.Builder, _ *topology.KStream[string, string]) {
				topology.Table(b, "t", serde.String, serde.String).ToStream().To("out")
			}, nil,
		},
		"a table that got a store from below": {
			func(b *topology.Builder, _ *topology.KStream[string, string]) {
				rows := topology.Table(b, "t", serde.String, serde.String)
				topology.CountTable(topology.GroupTableBy(rows, swap, nil, nil), topology.As("n"))
			},
			[]string{`store t-STATE-STORE-0000000001 Table topology.As("...")`},
		},
		"a name that only looks generated": {
			func(_ *topology.Builder, s *topology.KStream[string, string]) {
				topology.Count(s.GroupByKey(), topology.As("orders-2026010100"))
			}, nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := topology.NewBuilder()
			c.declare(b, topology.Stream(b, "in", serde.String, serde.String))
			var got []string
			for _, u := range b.MustBuild().Unnamed {
				require.Contains(t, u.Position, "naming_test.go:")
				got = append(got, string(u.Resource)+" "+u.Name+" "+u.Operator+" "+u.Hint)
			}
			require.Equal(t, c.want, got)
		})
	}
}

// TestNamesAreStable inserts operators above: named stores and topics stay where they were.
func TestNamesAreStable(t *testing.T) {
	build := func(insert bool) (names []string) {
		b := topology.NewBuilder()
		s := topology.Stream(b, "in", serde.String, serde.String)
		if insert {
			topology.Count(s.GroupByKey(), topology.As("another"))
			s = topology.MapValues(s.Filter(func(string, string) bool { return true }), identity, nil)
		}
		byValue := topology.GroupBy(s, func(_, v string) string { return v }, nil, topology.Named("by-value"))
		topology.Count(byValue, topology.As("counts"))
		topology.SelectKey(s, func(_, v string) string { return v }, nil).Repartition(topology.Named("r")).
			ToTable(topology.As("rows"))
		plan := b.MustBuild()
		require.Empty(t, plan.Unnamed)
		for _, s := range plan.Stores {
			names = append(names, s.Name)
		}
		for _, r := range plan.Repartitions {
			names = append(names, r.Name)
		}
		return names
	}
	before := build(false)
	require.Equal(t, []string{"counts", "rows", "by-value-repartition", "r-repartition"}, before)
	require.Subset(t, build(true), before)
}
