package topology_test

import (
	"iter"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/topology"
)

// headersOf makes headers whose values are their names.
func headersOf(names ...string) []record.Header {
	var headers []record.Header
	for _, n := range names {
		headers = append(headers, record.Header{Key: n, Value: []byte(n)})
	}
	return headers
}

// TestOperatorsPassHeaders pins that what an operator makes of a record has its headers.
func TestOperatorsPassHeaders(t *testing.T) {
	keep := func(string, string) bool { return true }
	drop := func(string, string) bool { return false }
	swap := func(k, v string) (string, string) { return v, k }
	both := func(k, v string) string { return k + v }
	add := func(a, v string) string { return a + v }
	for name, op := range map[string]func(b *topology.Builder, s stringStream) stringStream{
		"Filter":    func(_ *topology.Builder, s stringStream) stringStream { return s.Filter(keep) },
		"FilterNot": func(_ *topology.Builder, s stringStream) stringStream { return s.FilterNot(drop) },
		"MapValues": func(_ *topology.Builder, s stringStream) stringStream { return mapIdentity(s) },
		"MapValuesWithKey": func(_ *topology.Builder, s stringStream) stringStream {
			return topology.MapValuesWithKey(s, both, nil)
		},
		"Map": func(_ *topology.Builder, s stringStream) stringStream { return topology.Map(s, swap, nil, nil) },
		"FlatMap": func(_ *topology.Builder, s stringStream) stringStream {
			return topology.FlatMap(s, func(k, v string) iter.Seq2[string, string] {
				return func(yield func(string, string) bool) { yield(v, k) }
			}, nil, nil)
		},
		"FlatMapValues": func(_ *topology.Builder, s stringStream) stringStream {
			return topology.FlatMapValues(s, func(v string) []string { return []string{v} }, nil)
		},
		"SelectKey": func(_ *topology.Builder, s stringStream) stringStream { return topology.SelectKey(s, both, nil) },
		"Peek": func(_ *topology.Builder, s stringStream) stringStream {
			return s.Peek(func(string, string) {})
		},
		"Merge": func(b *topology.Builder, s stringStream) stringStream {
			return s.Merge(topology.Stream(b, "other", serde.String, serde.String))
		},
		"Split": func(_ *topology.Builder, s stringStream) stringStream {
			return s.Split(topology.Named("s")).DefaultBranch()["s0"]
		},
		"Repartition": func(_ *topology.Builder, s stringStream) stringStream { return s.Repartition() },
		"Process": func(_ *topology.Builder, s stringStream) stringStream {
			return topology.Process(s, newForwarder, nil, nil)
		},
		"ProcessValues": func(_ *topology.Builder, s stringStream) stringStream {
			return topology.ProcessValues(s, newFixedForwarder, nil)
		},
		"Table": func(b *topology.Builder, s stringStream) stringStream {
			s.To("rows")
			return topology.Table(b, "rows", serde.String, serde.String, topology.As("rows")).ToStream()
		},
		"ToTable": func(_ *topology.Builder, s stringStream) stringStream { return s.ToTable().ToStream() },
		"KTable.Filter": func(_ *topology.Builder, s stringStream) stringStream {
			return s.ToTable().Filter(keep, topology.As("kept")).ToStream()
		},
		"MapTableValues": func(_ *topology.Builder, s stringStream) stringStream {
			return topology.MapTableValues(s.ToTable(), identity, nil).ToStream()
		},
		"Reduce": func(_ *topology.Builder, s stringStream) stringStream {
			return topology.Reduce(s.GroupByKey(), add, topology.As("r")).ToStream()
		},
		"Aggregate": func(_ *topology.Builder, s stringStream) stringStream {
			return topology.Aggregate(s.GroupByKey(), func() string { return "" },
				func(_, v, a string) string { return a + v }, serde.String, topology.As("a")).ToStream()
		},
		"ReduceTable": func(_ *topology.Builder, s stringStream) stringStream {
			return topology.ReduceTable(topology.GroupTableBy(s.ToTable(), swap, nil, nil), add, add).ToStream()
		},
	} {
		for cached, when := range map[bool]string{false: "at once", true: "at a flush"} {
			t.Run(name+" "+when, func(t *testing.T) {
				b := topology.NewBuilder()
				op(b, topology.Stream(b, "in", serde.String, serde.String)).To("out")
				d := run(t, b, cached)
				r := kv("k", "v", 1)
				r.Headers = headersOf("a", "b")
				d.pipe("in", r)
				d.flush()
				require.Len(t, d.written["out"], 1)
				require.Equal(t, headersOf("a", "b"), d.written["out"][0].Headers)
			})
		}
	}
}

// TestProcessorsChangeHeaders adds and removes headers on forward, and pins that neither the processor's siblings nor
// the input see it.
func TestProcessorsChangeHeaders(t *testing.T) {
	b := topology.NewBuilder()
	s := topology.Stream(b, "in", serde.String, serde.String)
	topology.Process(s, func() processor.Processor[string, string, string, string] {
		return processor.Func[string, string, string, string](func(ctx textContext, r textRecord) error {
			return ctx.Forward(r.WithHeader("c", []byte("c")).WithoutHeader("a"))
		})
	}, nil, nil).To("processed")
	topology.ProcessValues(s, func() processor.FixedKeyProcessor[string, string, string] {
		return processor.FixedKeyFunc[string, string, string](
			func(ctx processor.FixedKeyContext[string, string], r fixedRecord) error {
				_, found := r.Header("a")
				require.True(t, found)
				return ctx.Forward(r.WithoutHeader("a").WithHeader("d", []byte("d")))
			})
	}, nil).To("values")
	s.To("plain")
	d := run(t, b, false)
	r := kv("k", "v", 1)
	r.Headers = append(make([]record.Header, 0, 8), headersOf("a", "b", "a")...)
	d.pipe("in", r)
	require.Equal(t, headersOf("b", "c"), d.written["processed"][0].Headers)
	require.Equal(t, headersOf("b", "d"), d.written["values"][0].Headers)
	require.Equal(t, headersOf("a", "b", "a"), d.written["plain"][0].Headers)
}
