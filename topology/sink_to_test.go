package topology_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/eos"
	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/tidemarktest"
	"github.com/tidemarkio/tidemark/topology"
)

func valueOf(r record.Record[string, string]) (string, error) {
	if r.Value == "bad" {
		return "", errors.New("no such row")
	}
	return r.Value, nil
}

func TestSinkToInPlan(t *testing.T) {
	t.Parallel()
	b := topology.NewBuilder()
	s := topology.Stream(b, "in", serde.String, serde.String)
	topology.SinkTo(s, "db", tidemarktest.NewSink[string](), valueOf)
	s.To("out")
	plan := b.MustBuild()
	require.Equal(t, `Topologies:
   Sub-topology: 0
    Source: KSTREAM-SOURCE-0000000000 (topics: [in])
      --> db, KSTREAM-SINK-0000000001
    Sink: db (external: memory)
      <-- KSTREAM-SOURCE-0000000000
    Sink: KSTREAM-SINK-0000000001 (topic: out)
      <-- KSTREAM-SOURCE-0000000000

`, topology.Describe(plan), "it uses no number up")
	require.True(t, plan.Nodes[1].TwoPhase)
	require.Equal(t, []string{"out"}, plan.Subtopologies[0].SinkTopics)
	require.Contains(t, topology.Mermaid(plan), "  x4[/\"memory\"/]\n  n1 --> x4\n")
	require.Contains(t, topology.DOT(plan), `"external db" [label="memory", shape=parallelogram];`)
	node := topology.NewDescription(plan).Subtopologies[0].Nodes[1]
	require.Equal(t, topology.NodeDescription{Name: "db", Kind: "sink", Operator: "SinkTo", External: "memory"}, node)
}

func TestSinkToMistakes(t *testing.T) {
	t.Parallel()
	for want, declare := range map[string]func(s *topology.KStream[string, string]){
		`the name "a b"`: func(s *topology.KStream[string, string]) {
			topology.SinkTo(s, "a b", tidemarktest.NewSink[string](), valueOf)
		},
		"the sink is nil": func(s *topology.KStream[string, string]) {
			topology.SinkTo(s, "db", eos.Sink[string](nil), valueOf)
		},
		"SinkTo: the sink is nil": func(s *topology.KStream[string, string]) {
			topology.SinkTo(s, "db", (*tidemarktest.Sink[string])(nil), valueOf)
		},
		"SinkTo: ": func(s *topology.KStream[string, string]) {
			topology.SinkTo[string, string, string](s, "db", tidemarktest.NewSink[string](), nil)
		},
		"already taken": func(s *topology.KStream[string, string]) {
			topology.SinkTo(s, "db", tidemarktest.NewSink[string](), valueOf)
			topology.SinkTo(s, "db", tidemarktest.NewSink[string](), valueOf)
		},
	} {
		b := topology.NewBuilder()
		declare(topology.Stream(b, "in", serde.String, serde.String))
		_, err := b.Build()
		require.ErrorContains(t, err, want)
	}
}

// A row that cannot be made is a matter of the handler, and a processor chooses among sinks by their names.
func TestSinkToFromProcessor(t *testing.T) {
	t.Parallel()
	left, right := tidemarktest.NewSink[string](), tidemarktest.NewSink[string]()
	b := topology.NewBuilder()
	s := topology.Process(topology.Stream(b, "in", serde.String, serde.String),
		func() processor.Processor[string, string, string, string] {
			return processor.Func[string, string, string, string](
				func(ctx processor.Context[string, string], r record.Record[string, string]) error {
					return ctx.ForwardTo(r.Key+"-db", r)
				})
		}, nil, nil)
	topology.SinkTo(s, "left-db", left, valueOf)
	topology.SinkTo(s, "right-db", right, valueOf)
	d := tidemarktest.New(t, b, tidemarktest.WithHandlers(nil, processor.Continue()))
	in := tidemarktest.Input(d, "in", serde.String, serde.String)
	in.Pipe("left", "1", 0)
	in.Pipe("right", "2", 0)
	in.Pipe("left", "bad", 0)
	in.Pipe("left", "3", 0)
	d.Commit()
	require.Equal(t, []string{"1", "3"}, left.Rows())
	require.Equal(t, []string{"2"}, right.Rows())

	failing := topology.NewBuilder()
	topology.SinkTo(topology.Stream(failing, "in", serde.String, serde.String), "db", left, valueOf)
	err := tidemarktest.Input(tidemarktest.New(t, failing), "in", serde.String, serde.String).TryPipe("k", "bad", 0)
	var user *processor.UserError
	require.ErrorAs(t, err, &user)
	require.Equal(t, "db", user.Node)
}
