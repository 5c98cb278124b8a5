package topology_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/store"
	"github.com/tidemarkio/tidemark/topology"
)

// TestDiff deploys one topology over another. Lines that say that something is kept are left out.
func TestDiff(t *testing.T) {
	type stream = *topology.KStream[string, string]
	byValue := func(_, v string) string { return v }
	in := func(b *topology.Builder) stream { return topology.Stream(b, "in", serde.String, serde.String) }
	count := func(s stream, name string, opts ...topology.StoreOption) {
		topology.Count(s.GroupByKey(), append(opts, topology.As(name))...)
	}
	rows := func(opts ...topology.TableOption) func(b *topology.Builder) {
		return func(b *topology.Builder) {
			topology.Table(b, "in", serde.String, serde.String, append(opts, topology.As("rows"))...)
		}
	}
	reuse := []topology.BuilderOption{topology.ReuseSourceTopics}
	for name, c := range map[string]struct {
		before, after         func(b *topology.Builder)
		optBefore, optAfter   []topology.BuilderOption
		partBefore, partAfter int32 // of in
		want                  string
		lost                  int
	}{
		"nothing": {
			before: func(b *topology.Builder) { count(in(b), "n"); in(b).To("out") },
			after: func(b *topology.Builder) {
				count(in(b).Filter(func(string, string) bool { return true }), "n")
				in(b).To("out")
			},
		},
		"a store renamed": {
			before: func(b *topology.Builder) { count(in(b), "n") },
			after:  func(b *topology.Builder) { count(in(b), "m") },
			want: "loses  store n: nothing uses it any more; if m is the same store, keep the name n (the rows stay in the " +
				"topic n-changelog, without what comes from now on)\n" +
				"adds   store m: it begins empty, and fills with the records that come from now on\n",
			lost: 1,
		},
		"a store without changelog removed": {
			before: func(b *topology.Builder) { count(in(b), "n", topology.WithoutLogging()) },
			after:  func(b *topology.Builder) { in(b).Foreach(func(string, string) {}) },
			want:   "drops  store n: its rows are only in local state, which is deleted\n",
		},
		"another value": {
			before: func(b *topology.Builder) { count(in(b), "n") },
			after: func(b *topology.Builder) {
				topology.Reduce(in(b).GroupByKey(), func(_, v string) string { return v }, topology.As("n"))
			},
			want: "alters store n: its rows were written by serde.int64Serde, and are read by serde.stringSerde, which must " +
				"understand them\n",
		},
		"another kind of store": {
			before: func(b *topology.Builder) { count(in(b), "n") },
			after: func(b *topology.Builder) {
				spec := store.KeyValueSpec("n", serde.String, serde.Int64)
				spec.Type = "window"
				b.AddStore(spec)
				topology.Process(in(b), newForwarder, nil, nil, topology.WithStores("n"))
			},
			want: "loses  store n: it was a key-value store and is a window store, which cannot read its rows: give it " +
				"another name, or reset the application\n",
			lost: 1,
		},
		"a topology above": {
			before: func(b *topology.Builder) { count(in(b), "n") },
			after: func(b *topology.Builder) {
				topology.Stream(b, "first", serde.String, serde.String).To("out")
				count(in(b), "n")
			},
			want: "moves  store n: its tasks were 0_n and are 1_n: it is restored from its changelog\n" +
				"moves  sub-topology 0: its tasks 0_n become 1_n; their positions are kept\n" +
				"adds   input topic first: it is read from the group's position, if it has one there, else as the offset reset " +
				"says\nadds   output topic out: it must exist\n",
		},
		"a repartition topic renamed": {
			before: func(b *topology.Builder) {
				topology.Count(topology.GroupBy(in(b), byValue, nil, topology.Named("a")), topology.As("n"))
			},
			after: func(b *topology.Builder) {
				topology.Count(topology.GroupBy(in(b), byValue, nil, topology.Named("b")), topology.As("n"))
			},
			want: "loses  repartition topic a-repartition: records that are in it and not processed yet are not read any " +
				"more: let the application finish them first (stop its input), or keep the name\n" +
				"adds   repartition topic b-repartition: it is created, empty\n",
		},
		"an input removed": {
			before: func(b *topology.Builder) {
				topology.Streams(b, []string{"in", "old"}, serde.String, serde.String).To("out")
			},
			after: func(b *topology.Builder) { in(b).To("elsewhere") },
			want: "drops  input topic old: it is not read any more; the group's position in it stays until it expires\n" +
				"drops  output topic out: it is not written any more\n" +
				"adds   output topic elsewhere: it must exist\n",
		},
		"more partitions": {
			before: func(b *topology.Builder) { count(in(b), "n") }, after: func(b *topology.Builder) { count(in(b), "n") },
			partBefore: 2, partAfter: 4,
			want: "alters input topic in: it had 2 partitions and has 4: tasks are made anew, and the keys of stores fall " +
				"into other partitions\n",
		},
		"logging off": {
			before: rows(), after: rows(topology.WithoutLogging()),
			want: "alters store rows: it has no changelog any more: its rows are only on the machines that have them\n",
		},
		"logging on": {
			before: rows(topology.WithoutLogging()), after: rows(),
			want: "alters store rows: its changelog begins empty: rows of before are only on the machines that have them\n",
		},
		"source topic reused": {
			before: rows(), after: rows(), optAfter: reuse,
			want: "moves  store rows: it is restored from the topic in\n",
		},
		"source topic not reused any more": {
			before: rows(), after: rows(), optBefore: reuse,
			want: "loses  store rows: its changelog begins empty: its rows are in the topic in, which is not read again: keep " +
				"topology.ReuseSourceTopics, or reset the application\n",
			lost: 1,
		},
		"a reused source topic's table removed": {
			before: rows(), after: func(b *topology.Builder) { in(b).Foreach(func(string, string) {}) }, optBefore: reuse,
			want: "drops  store rows: its rows are in the topic in\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			describe := func(
				declare func(b *topology.Builder), opts []topology.BuilderOption, partitions int32,
			) *topology.Description {
				b := topology.NewBuilder(opts...)
				declare(b)
				d := topology.NewDescription(b.MustBuild())
				for i := range d.Topics {
					if d.Topics[i].Name == "in" {
						d.Topics[i].Partitions = partitions
					}
				}
				return d
			}
			before := describe(c.before, c.optBefore, c.partBefore)
			after := describe(c.after, c.optAfter, c.partAfter)
			all := topology.Diff(before, after)
			require.Equal(t, c.want, all.With(topology.Loses, topology.Alters, topology.Moves, topology.Drops,
				topology.Adds).String())
			require.Len(t, all.LostStores(), c.lost)
			require.Empty(t, topology.Diff(before, before).With(topology.Loses, topology.Alters, topology.Moves,
				topology.Drops, topology.Adds))
		})
	}
}

func TestDiffSaysWhatIsKept(t *testing.T) {
	d := topology.NewDescription(described().MustBuild())
	require.Equal(t, `keeps  store counts: it goes on with its rows
keeps  store last: it goes on with its rows
keeps  store prices: it goes on with its rows
keeps  repartition topic again-repartition: records that are in it are processed
keeps  repartition topic by-item-repartition: records that are in it are processed
keeps  repartition topic last-repartition: records that are in it are processed
keeps  input topic orders: it goes on at the group's position
keeps  input topic prices: it goes on at the group's position
`, topology.Diff(d, d).String())
}
