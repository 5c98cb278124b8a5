package topology_test

import (
	"io"
	"iter"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/store"
	"github.com/tidemarkio/tidemark/topology"
)

// TestDescribeIsKafkaStreams compares with what Kafka Streams 4.3.1 prints for the same programs: structure, generated
// names of nodes, stores and topics, and the format itself.
func TestDescribeIsKafkaStreams(t *testing.T) {
	want, err := os.ReadFile("testdata/kafka-streams-4.3.1.txt")
	require.NoError(t, err)
	programs := describedPrograms()
	sections := strings.Split(string(want), "=== ")[1:]
	require.Len(t, sections, len(programs))
	for _, section := range sections {
		name, text, _ := strings.Cut(section, "\n")
		t.Run(name, func(t *testing.T) {
			require.Contains(t, programs, name)
			b := topology.NewBuilder()
			programs[name](b)
			got := topology.Describe(b.MustBuild())
			if strings.HasPrefix(name, "split") {
				// Kafka Streams prints siblings by the number of nodes below them, and then by name.
				text, got = withoutOrder(text), withoutOrder(got)
			}
			require.Equal(t, text, got)
		})
	}
}

// withoutOrder sorts the nodes of each sub-topology, and the children of each node.
func withoutOrder(description string) string {
	subs := strings.Split(description, "  Sub-topology: ")
	for i, sub := range subs {
		var nodes []string
		for line := range strings.SplitSeq(sub, "\n") {
			if arrow, names, ok := strings.Cut(line, "--> "); ok {
				children := strings.Split(names, ", ")
				slices.Sort(children)
				line = arrow + "--> " + strings.Join(children, ", ")
			}
			if strings.HasPrefix(line, "      ") {
				nodes[len(nodes)-1] += "\n" + line
			} else {
				nodes = append(nodes, line)
			}
		}
		slices.Sort(nodes[1:]) // the first is the number
		subs[i] = strings.Join(nodes, "\n")
	}
	return strings.Join(subs, "  Sub-topology: ")
}

func describedPrograms() map[string]func(b *topology.Builder) {
	var (
		str     = serde.String
		named   = topology.Named
		byValue = func(_, v string) string { return v }
		yes     = func(string, string) bool { return true }
		swap    = func(k, v string) (string, string) { return v, k }
		first   = func(a, _ string) string { return a }
	)
	return map[string]func(b *topology.Builder){
		"wc": func(b *topology.Builder) {
			words := topology.FlatMapValues(topology.Stream(b, "lines", str, str), strings.Fields, str)
			topology.Count(topology.GroupBy(words, byValue, nil)).ToStream().To("out")
		},
		"wcnamed": declareWordCount,
		"reduce": func(b *topology.Builder) {
			s := topology.Map(topology.Stream(b, "in", str, str), swap, nil, nil)
			topology.Reduce(s.GroupByKey(), first).ToStream().To("out")
		},
		"repartition": func(b *topology.Builder) {
			topology.SelectKey(topology.Stream(b, "in", str, str), byValue, nil).
				Repartition().Peek(func(string, string) {}).To("out")
			topology.SelectKey(topology.Stream(b, "in2", str, str), byValue, nil).
				Repartition(named("r")).Filter(yes).To("out")
		},
		"totable": func(b *topology.Builder) {
			topology.SelectKey(topology.Stream(b, "in", str, str), byValue, nil).ToTable().Filter(yes).ToStream().To("out")
			t := topology.Stream(b, "in2", str, str).ToTable(topology.As("tt"))
			topology.MapTableValues(t, identity, nil, topology.As("mv")).ToStream().To("out")
		},
		"tablegroup": func(b *topology.Builder) {
			topology.CountTable(topology.GroupTableBy(topology.Table(b, "in", str, str), swap, nil, nil)).
				ToStream().To("out")
			t := topology.Table(b, "in2", str, str, topology.As("st"))
			topology.ReduceTable(topology.GroupTableBy(t, swap, nil, nil, named("g")), first, first, topology.As("rr")).
				ToStream().To("out")
		},
		"misc": func(b *topology.Builder) {
			s := topology.Stream(b, "in", str, str)
			merged := s.Merge(topology.Streams(b, []string{"x", "y"}, str, str))
			flat := topology.FlatMap(merged, func(string, string) iter.Seq2[string, string] { return nil }, nil, nil)
			topology.MapValues(flat.FilterNot(yes), identity, nil).To("out")
		},
		"process": func(b *topology.Builder) {
			topology.Process(topology.Stream(b, "in", str, str), newForwarder, nil, nil).To("out")
		},
		"split": func(b *topology.Builder) {
			all := topology.Stream(b, "in", str, str).Split().Branch(yes).
				Branch(yes, topology.WithConsumer(func(s stringStream) { s.To("consumed") })).
				Branch(yes, topology.WithFunction(mapIdentity)).DefaultBranch()
			for _, name := range branchNames(all) {
				all[name].To("out")
			}
		},
		"splitnamed": func(b *topology.Builder) {
			all := topology.Stream(b, "in", str, str).Split(named("by-")).Branch(yes, named("a")).Branch(yes).
				Branch(yes, topology.WithConsumer(func(s stringStream) { s.To("consumed") }), named("b")).
				Branch(yes, topology.WithFunction(mapIdentity), named("c")).
				Branch(yes, topology.WithFunction(func(stringStream) stringStream { return nil }), named("n")).
				NoDefaultBranch()
			for _, name := range branchNames(all) {
				all[name].To("out")
			}
			topology.Stream(b, "in2", str, str).Split(named("d-")).Branch(yes).DefaultBranch(named("rest"))
			topology.Stream(b, "in3", str, str).Split(named("e-")).Branch(yes).DefaultBranch()
		},
		"processvalues": func(b *topology.Builder) {
			s := topology.ProcessValues(topology.Stream(b, "in", str, str), newFixedForwarder, nil)
			topology.Count(s.GroupByKey(), topology.As("n")).ToStream().To("out")
			topology.ProcessValues(topology.Stream(b, "in2", str, str), newFixedForwarder, nil, named("pv")).To("out")
			topology.Process(topology.Stream(b, "in3", str, str), newForwarder, nil, nil, named("p")).To("out")
		},
		"print": func(b *topology.Builder) {
			topology.Stream(b, "in", str, str).Print(io.Discard, topology.WithLabel("l"))
			topology.Stream(b, "in2", str, str).Print(io.Discard, named("pp"))
			topology.Stream(b, "in3", str, str).To("out")
		},
		"tostream": func(b *topology.Builder) {
			topology.ToStreamBy(topology.Table(b, "in", str, str, topology.As("st")), byValue, nil).To("out")
			s := topology.ToStreamBy(topology.Table(b, "in2", str, str), byValue, nil, named("ts"))
			topology.Count(s.GroupByKey(), topology.As("n2"))
		},
		"global": func(b *topology.Builder) {
			g := topology.GlobalTable(b, "g", str, str)
			topology.JoinGlobal(topology.Stream(b, "in", str, str), g, byValue, first, nil).To("out")
		},
		"globalnamed": func(b *topology.Builder) {
			s := topology.Stream(b, "in", str, str)
			g := topology.GlobalTable(b, "g", str, str, named("ref"), topology.As("prices"))
			topology.LeftJoinGlobal(topology.SelectKey(s, byValue, nil), g, byValue,
				func(v string, _ topology.Optional[string]) string { return v }, nil, named("lookup")).To("out")
			topology.Count(topology.Stream(b, "in2", str, str).GroupByKey()).ToStream().To("out2")
		},
		"globalstore": func(b *topology.Builder) {
			topology.AddGlobalStore(b, store.KeyValueSpec("rows", str, str), "g", str, str, ignoring)
			topology.Stream(b, "in", str, str).Filter(yes).To("out")
		},
		"foreach": func(b *topology.Builder) {
			topology.Stream(b, "in", str, str).Foreach(func(string, string) {})
			topology.Stream(b, "in2", str, str).Foreach(func(string, string) {}, named("fe"))
		},
		"named": func(b *topology.Builder) {
			s := topology.Stream(b, "in", str, str, named("src")).Filter(yes, named("f"))
			topology.Count(topology.MapValues(s, identity, nil).GroupByKey(named("gg")), named("cc"), topology.As("cs")).
				ToStream(named("ts")).To("out", named("sink"))
			t := topology.Table(b, "t", str, str, named("tsrc")).Filter(yes, named("tf"))
			topology.CountTable(topology.GroupTableBy(t, swap, nil, nil), named("tc")).ToStream().To("o2")
			topology.SelectKey(topology.Stream(b, "in3", str, str), byValue, nil).ToTable(named("tot")).ToStream().To("o3")
		},
	}
}

func mapIdentity(s stringStream) stringStream { return topology.MapValues(s, identity, nil) }

// TestSinkThatChooses prints the function as Kafka Streams prints the class of a TopicNameExtractor.
func TestSinkThatChooses(t *testing.T) {
	b := topology.NewBuilder()
	topology.Stream(b, "in", serde.String, serde.String).ToEach(chooseByValue)
	const function = "github.com/tidemarkio/tidemark/topology_test.chooseByValue"
	plan := b.MustBuild()
	require.Equal(t, function, plan.Nodes[1].Chooser)
	require.Contains(t, topology.Describe(plan), "    Sink: KSTREAM-SINK-0000000001 (extractor class: "+function+")\n"+
		"      <-- KSTREAM-SOURCE-0000000000\n")
	require.Contains(t, topology.Mermaid(plan), `  t3(["chosen by `+function+`"])`+"\n  n1 --> t3\n")
	require.Empty(t, plan.Subtopologies[0].SinkTopics)
}

func TestMermaid(t *testing.T) {
	require.Equal(t, `flowchart TD
  subgraph sub0["sub-topology 0"]
    n0["KSTREAM-SOURCE-0000000000"]
    n1["KSTREAM-FLATMAPVALUES-0000000001"]
    n2["by-word"]
    n3["by-word-repartition-filter"]
    n4["by-word-repartition-sink"]
  end
  subgraph sub1["sub-topology 1"]
    n5["by-word-repartition-source"]
    n6["KSTREAM-AGGREGATE-0000000003"]
    n7["KTABLE-TOSTREAM-0000000007"]
    n8["KSTREAM-SINK-0000000008"]
    s9[("counts")]
  end
  t10(["lines"])
  t10 --> n0
  n0 --> n1
  n1 --> n2
  n2 --> n3
  n3 --> n4
  t11(["by-word-repartition"])
  n4 --> t11
  t11 --> n5
  n5 --> n6
  n6 --> n7
  n6 -.- s9
  n7 --> n8
  t12(["word-counts"])
  n8 --> t12
`, topology.Mermaid(wordCount().MustBuild()))
}
