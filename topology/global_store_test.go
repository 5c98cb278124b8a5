package topology_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/store"
	"github.com/tidemarkio/tidemark/tidemarktest"
	"github.com/tidemarkio/tidemark/topology"
)

type (
	fillContext   = processor.Context[processor.Void, processor.Void]
	fillProcessor = processor.Processor[string, string, processor.Void, processor.Void]
)

// filler fills a global store by a function.
type filler struct {
	init    func(ctx fillContext) error
	process func(kv *store.KeyValue[string, string], r record.Record[string, string]) error

	kv *store.KeyValue[string, string]
}

func (p *filler) Init(ctx fillContext) (err error) {
	if p.init != nil {
		return p.init(ctx)
	}
	p.kv, err = processor.StateStore[*store.KeyValue[string, string]](ctx, "rows")
	return err
}

func (p *filler) Process(_ fillContext, r record.Record[string, string]) error {
	return p.process(p.kv, r)
}

func ignoring() fillProcessor {
	return &filler{process: func(*store.KeyValue[string, string], record.Record[string, string]) error { return nil }}
}

// upside stores a row under its value.
func upside() fillProcessor {
	return &filler{process: func(kv *store.KeyValue[string, string], r record.Record[string, string]) error {
		return kv.Put(r.Value, r.Key)
	}}
}

func TestAddGlobalStore(t *testing.T) {
	t.Parallel()
	b := topology.NewBuilder()
	declareGlobal(store.KeyValueSpec("rows", serde.String, serde.String), upside)(b)
	topology.Stream(b, "in", serde.String, serde.String).To("out")
	d := tidemarktest.New(t, b)
	in := tidemarktest.Input(d, "g", serde.String, serde.String)
	in.Pipe("a", "1", 5)
	rows := tidemarktest.Store[*store.Global[string, string]](d, "rows")
	v, ts, found, err := rows.GetWithTimestamp("1")
	require.NoError(t, err)
	require.True(t, found)
	require.Equal(t, "a", v)
	require.Equal(t, int64(5), ts)
	d.Crash()
	in.Pipe("b", "2", 6)
	rows = tidemarktest.Store[*store.Global[string, string]](d, "rows")
	n, err := rows.ApproximateCount()
	require.NoError(t, err)
	require.Equal(t, int64(2), n, "the topic was read again")
}

// What a processor of a global store may not do is an error that says so.
func TestGlobalStoreProcessorLimits(t *testing.T) {
	t.Parallel()
	build := func(p func() fillProcessor) *topology.Builder {
		b := topology.NewBuilder()
		topology.AddGlobalStore(b, store.KeyValueSpec("rows", serde.String, serde.String), "g", serde.String, serde.String, p)
		topology.Stream(b, "in", serde.String, serde.String).To("out")
		return b
	}
	_, err := tidemarktest.Open(build(func() fillProcessor {
		return &filler{init: func(ctx fillContext) error {
			ctx.Schedule(1e9, processor.WallClockTime, func(int64) error { return nil })
			return nil
		}}
	}))
	require.ErrorContains(t, err, "has no punctuators")
	require.ErrorContains(t, err, "-1_-1")

	d, err := tidemarktest.Open(build(func() fillProcessor {
		return &filler{process: func(*store.KeyValue[string, string], record.Record[string, string]) error { panic("boom") }}
	}), tidemarktest.WithHandlers(nil, processor.DeadLetter("dlq")))
	require.NoError(t, err)
	err = tidemarktest.Input(d, "g", serde.String, serde.String).TryPipe("k", "v", 1)
	require.ErrorContains(t, err, "part of no transaction")
	require.NoError(t, d.Close())
}

func TestGlobalMistakes(t *testing.T) {
	t.Parallel()
	str := serde.String
	for name, c := range map[string]struct {
		declare func(b *topology.Builder)
		want    string
	}{
		"topic read before": {
			func(b *topology.Builder) {
				topology.Stream(b, "g", str, str)
				topology.GlobalTable(b, "g", str, str)
			},
			`topic "g" is already read at`,
		},
		"topic read after": {
			func(b *topology.Builder) {
				topology.GlobalTable(b, "g", str, str)
				topology.Stream(b, "g", str, str)
			},
			`topic "g" already fills a global store`,
		},
		"topic of two": {
			func(b *topology.Builder) {
				topology.GlobalTable(b, "g", str, str)
				topology.GlobalTable(b, "g", str, str)
			},
			`topic "g" is already read at`,
		},
		"store of two": {
			func(b *topology.Builder) {
				topology.GlobalTable(b, "g", str, str, topology.As("s"))
				topology.Table(b, "t", str, str, topology.As("s"))
			},
			`store "s" was already declared`,
		},
		"name of two": {
			func(b *topology.Builder) {
				topology.GlobalTable(b, "g", str, str, topology.Named("n"))
				topology.Stream(b, "in", str, str, topology.Named("n"))
			},
			`the name "n" is already taken`,
		},
		"connected": {
			func(b *topology.Builder) {
				topology.GlobalTable(b, "g", str, str, topology.As("s"))
				topology.Process(topology.Stream(b, "in", str, str), func() processor.Processor[string, string, string, string] {
					return nil
				}, nil, nil, topology.WithStores("s"))
			},
			`the store "s" is global`,
		},
		"no serde": {
			func(b *topology.Builder) { topology.GlobalTable[string, string](b, "g", str, nil) }, "no value serde",
		},
		"no topic":     {func(b *topology.Builder) { topology.GlobalTable(b, "", str, str) }, "a topic needs a name"},
		"no processor": {declareGlobal(store.KeyValueSpec("s", str, str), nil), "the function is nil"},
		"no name":      {declareGlobal(store.KeyValueSpec("", str, str), ignoring), "a store needs a name"},
		"kind of store": {
			declareGlobal(store.Spec{Name: "s", New: store.NewKeyValue("s", str, str)}, ignoring), "use store.KeyValueSpec",
		},
		"offset reset": {
			func(b *topology.Builder) {
				topology.GlobalTable(b, "g", str, str, topology.WithOffsetReset(processor.ResetLatest))
			},
			"WithOffsetReset: a global store is always filled from the beginning",
		},
		"changelog": {
			func(b *topology.Builder) {
				topology.GlobalTable(b, "g", str, str, topology.ChangelogConfig(map[string]string{"a": "b"}))
			},
			`no changelog to configure: topic "g" is it`,
		},
		"other builder": {
			func(b *topology.Builder) {
				g := topology.GlobalTable(topology.NewBuilder(), "g", str, str)
				first := func(a, _ string) string { return a }
				topology.JoinGlobal(topology.Stream(b, "in", str, str), g, first, first, nil)
			},
			"different builders",
		},
		"no joiner": {
			func(b *topology.Builder) {
				topology.JoinGlobal[string, string, string, string, string](
					topology.Stream(b, "in", str, str), topology.GlobalTable(b, "g", str, str), nil, nil, nil)
			},
			"the function is nil",
		},
		"nothing else": {
			func(b *topology.Builder) { topology.GlobalTable(b, "g", str, str) }, "only global stores were declared",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := topology.NewBuilder()
			c.declare(b)
			_, err := b.Build()
			require.ErrorContains(t, err, c.want)
			require.ErrorContains(t, err, "global_store_test.go:")
		})
	}
}

func declareGlobal(spec store.Spec, p func() fillProcessor) func(b *topology.Builder) {
	return func(b *topology.Builder) {
		topology.AddGlobalStore(b, spec, "g", serde.String, serde.String, p)
	}
}

func TestGlobalInMermaid(t *testing.T) {
	t.Parallel()
	b := topology.NewBuilder()
	topology.GlobalTable(b, "g", serde.String, serde.String, topology.As("prices"))
	topology.Stream(b, "in", serde.String, serde.String)
	require.Equal(t, `flowchart TD
  subgraph sub1["sub-topology 1"]
    n0["KSTREAM-SOURCE-0000000002"]
  end
  subgraph sub0["sub-topology 0, global"]
    n1["KSTREAM-SOURCE-0000000000"]
    n2["KTABLE-SOURCE-0000000001"]
    s3[("prices")]
  end
  t4(["g"])
  t4 --> n1
  n1 --> n2
  n2 -.- s3
  t5(["in"])
  t5 --> n0
`, topology.Mermaid(b.MustBuild()))
}
