package topology_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/topology"
)

// is matches a value.
func is(want string) func(string, string) bool { return func(_, v string) bool { return v == want } }

// starts matches a first byte.
func starts(with byte) func(string, string) bool {
	return func(_, v string) bool { return v != "" && v[0] == with }
}

func branchNames(m map[string]stringStream) []string { return slices.Sorted(maps.Keys(m)) }

func TestSplit(t *testing.T) {
	b := topology.NewBuilder()
	var asked []string
	all := topology.Stream(b, "in", serde.String, serde.String).Split(topology.Named("by-")).
		Branch(starts('a'), topology.Named("a")).
		Branch(func(k, v string) bool {
			asked = append(asked, k+"/"+v)
			return v == "ab" || v == "b"
		}).
		DefaultBranch(topology.Named("rest"))
	require.Equal(t, []string{"by-2", "by-a", "by-rest"}, branchNames(all))
	for name, s := range all {
		s.To(name, topology.Named("to-"+name))
	}
	d := run(t, b, false)
	for _, r := range []in{kv("k", "ab", 1), kv("k", "b", 2), kv("k", "-", 3), kv("-", "a", 4), kv("-", "-", 5)} {
		d.pipe("in", r)
	}
	require.Equal(t, []string{"k=ab@1", "-=a@4"}, d.take("by-a", text), "the first branch whose predicate holds")
	require.Equal(t, []string{"k=b@2"}, d.take("by-2", text))
	require.Equal(t, []string{"k=-@3", "-=-@5"}, d.take("by-rest", text))
	require.Equal(t, []string{"k/b", "k/", "/"}, asked, "a record that is taken is not shown to later branches")
}

func TestSplitWithoutDefaultDropsTheRest(t *testing.T) {
	b := topology.NewBuilder()
	all := topology.Stream(b, "in", serde.String, serde.String).Split().Branch(is("x")).Branch(is("y")).NoDefaultBranch()
	require.Equal(t, []string{"KSTREAM-BRANCH-00000000011", "KSTREAM-BRANCH-00000000012"}, branchNames(all))
	all["KSTREAM-BRANCH-00000000012"].To("y")
	d := run(t, b, false)
	for _, v := range []string{"x", "y", "z"} {
		d.pipe("in", kv("k", v, 1))
	}
	require.Equal(t, []string{"k=y@1"}, d.take("y", text))
	require.Empty(t, d.written)
}

func TestSplitOnlyDefault(t *testing.T) {
	b := topology.NewBuilder()
	all := topology.Stream(b, "in", serde.String, serde.String).Split(topology.Named("s-")).DefaultBranch()
	all["s-0"].To("out")
	d := run(t, b, false)
	d.pipe("in", kv("k", "v", 1))
	require.Equal(t, []string{"k=v@1"}, d.take("out", text))
}

func TestBranchChains(t *testing.T) {
	b := topology.NewBuilder()
	all := topology.Stream(b, "in", serde.String, serde.String).Split(topology.Named("s-")).
		Branch(is("f"), topology.Named("f"), topology.WithFunction(func(s stringStream) stringStream {
			return topology.MapValues(s, func(v string) string { return v + v }, nil)
		})).
		Branch(is("c"), topology.WithConsumer(func(s stringStream) { s.To("consumed") })).
		Branch(is("n"), topology.WithFunction(func(s stringStream) stringStream {
			s.To("nothing")
			return nil
		})).
		DefaultBranch(topology.Named("d"), topology.WithFunction(func(s stringStream) stringStream { return s }))
	require.Equal(t, []string{"s-d", "s-f"}, branchNames(all))
	all["s-f"].To("out")
	all["s-d"].To("default")
	d := run(t, b, false)
	for _, v := range []string{"f", "c", "n", "x"} {
		d.pipe("in", kv("k", v, 1))
	}
	require.Equal(t, []string{"k=ff@1"}, d.take("out", text))
	require.Equal(t, []string{"k=c@1"}, d.take("consumed", text))
	require.Equal(t, []string{"k=n@1"}, d.take("nothing", text))
	require.Equal(t, []string{"k=x@1"}, d.take("default", text))
}

// TestBranchKeepsPartitioning pins that a branch needs a repartition topic only if its stream did.
func TestBranchKeepsPartitioning(t *testing.T) {
	for rekeyed, want := range map[bool]int{false: 0, true: 1} {
		b := topology.NewBuilder()
		s := topology.Stream(b, "in", serde.String, serde.String)
		if rekeyed {
			s = topology.SelectKey(s, func(_, v string) string { return v }, nil)
		}
		all := s.Split(topology.Named("s-")).Branch(is("x")).NoDefaultBranch()
		topology.Count(all["s-1"].GroupByKey(), topology.As("n"))
		require.Len(t, b.MustBuild().Repartitions, want)
	}
}

// TestSplitPlanDoesNotChangeWithItsBuilder adds a branch after a plan was built.
func TestSplitPlanDoesNotChangeWithItsBuilder(t *testing.T) {
	b := topology.NewBuilder()
	split := topology.Stream(b, "in", serde.String, serde.String).Split(topology.Named("s-"))
	split.Branch(is("x"), topology.WithConsumer(func(s stringStream) { s.To("out") }))
	before := b.MustBuild()
	split.Branch(is("y")).DefaultBranch()
	d, err := start(t, before, false)
	require.NoError(t, err)
	d.pipe("in", kv("k", "y", 1))
	d.pipe("in", kv("k", "x", 2))
	require.Equal(t, []string{"k=x@2"}, d.take("out", text))
}

func TestSplitMistakes(t *testing.T) {
	for name, c := range map[string]struct {
		declare func(s stringStream)
		want    string
	}{
		"nil predicate": {
			func(s stringStream) { s.Split().Branch(nil).NoDefaultBranch() }, "Branch: the function is nil",
		},
		"nil function": {
			func(s stringStream) {
				s.Split().Branch(is("x"), topology.WithFunction[string, string](nil))
			}, "Branch: the function is nil",
		},
		"nil consumer": {
			func(s stringStream) {
				s.Split().DefaultBranch(topology.WithConsumer[string, string](nil))
			}, "DefaultBranch: the function is nil",
		},
		"of other types": {
			func(s stringStream) {
				s.Split().DefaultBranch(topology.WithConsumer(func(*topology.KStream[string, int]) {}))
			}, "DefaultBranch: topology.BranchConsumer[string,int] is not for a stream of keys of type string and values of " +
				"type string",
		},
		"a name twice": {
			func(s stringStream) {
				s.Split(topology.Named("s-")).Branch(is("x"), topology.Named("a")).Branch(is("y"), topology.Named("a"))
			}, `Branch: the name "s-a" is already taken by the node declared at `,
		},
		"a branch behind the default": {
			func(s stringStream) {
				split := s.Split()
				split.DefaultBranch()
				split.Branch(is("x"))
			}, "Branch: the split was ended at ",
		},
		"two ends": {
			func(s stringStream) {
				split := s.Split()
				split.NoDefaultBranch()
				split.DefaultBranch()
			}, "DefaultBranch: the split was ended at ",
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := topology.NewBuilder()
			c.declare(topology.Stream(b, "in", serde.String, serde.String))
			_, err := b.Build()
			require.ErrorContains(t, err, "split_test.go:")
			require.ErrorContains(t, err, c.want)
		})
	}
}

// TestSplitEntersItsNode pins whose an error is: the predicate's, not that of the operator above.
func TestSplitEntersItsNode(t *testing.T) {
	b := topology.NewBuilder()
	s := topology.Stream(b, "in", serde.String, serde.String)
	s.Peek(func(string, string) {}).Split(topology.Named("the-split")).
		Branch(func(string, string) bool { panic("in a predicate") })
	d := run(t, b, false)
	require.Panics(t, func() { _ = d.tryPipe("in", kv("k", "v", 1)) })
	require.Equal(t, "the-split", d.entered)
}

func TestForeach(t *testing.T) {
	b := topology.NewBuilder()
	var seen []string
	topology.Stream(b, "in", serde.String, serde.String).
		Foreach(func(k, v string) { seen = append(seen, k+"/"+v) }, topology.Named("each"))
	d := run(t, b, false)
	d.pipe("in", kv("k", "v", 1))
	d.pipe("in", kv("-", "-", 2))
	require.Equal(t, []string{"k/v", "/"}, seen)
	require.Equal(t, "each", d.entered)
	b = topology.NewBuilder()
	topology.Stream(b, "in", serde.String, serde.String).Foreach(nil)
	_, err := b.Build()
	require.ErrorContains(t, err, "Foreach: the function is nil")
}

// TestSplitBelowATable splits updates whose time is not the input record's.
func TestSplitBelowATable(t *testing.T) {
	b := topology.NewBuilder()
	s := topology.Stream(b, "in", serde.String, serde.String)
	topology.Count(s.GroupByKey(), topology.As("n")).ToStream().Split(topology.Named("n-")).
		Branch(func(_ string, n int64) bool { return n == 2 },
			topology.WithConsumer(func(s *topology.KStream[string, int64]) { s.To("two") })).
		NoDefaultBranch()
	d := run(t, b, false)
	d.pipe("in", kv("k", "v", 9))
	d.pipe("in", kv("k", "v", 3))
	require.Equal(t, []string{"k=2@9"}, d.take("two", number))
}

func ExampleKStream_Split() {
	b := topology.NewBuilder()
	orders := topology.Stream(b, "orders", serde.String, serde.Int64)
	branches := orders.Split(topology.Named("order-")).
		Branch(func(_ string, cents int64) bool { return cents > 100_00 }, topology.Named("large")).
		Branch(func(_ string, cents int64) bool { return cents == 0 },
			topology.WithConsumer(func(s *topology.KStream[string, int64]) { s.To("free-orders") })).
		DefaultBranch(topology.Named("usual"))
	branches["order-large"].To("large-orders")
	branches["order-usual"].To("orders-to-pack")
	fmt.Println(b.MustBuild().Subtopologies[0].SinkTopics)
	// Output: [free-orders large-orders orders-to-pack]
}
