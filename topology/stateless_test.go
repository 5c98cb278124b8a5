package topology_test

import (
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/topology"
)

type stringStream = *topology.KStream[string, string]

// TestStateless pipes the same records through each operator. Nulls are what differs.
func TestStateless(t *testing.T) {
	var peeked []string
	upper := strings.ToUpper
	for name, c := range map[string]struct {
		op   func(s stringStream) stringStream
		want []string
	}{
		"identity": {
			func(s stringStream) stringStream { return s },
			[]string{"k=v@1", "k=-@2", "-=v@3", "-=-@4", "k=a b@5"},
		},
		"Filter": {
			func(s stringStream) stringStream {
				return s.Filter(func(k, v string) bool { return k == "" || v == "" })
			},
			[]string{"k=-@2", "-=v@3", "-=-@4"},
		},
		"FilterNot": {
			func(s stringStream) stringStream {
				return s.FilterNot(func(k, v string) bool { return k == "" || v == "" })
			},
			[]string{"k=v@1", "k=a b@5"},
		},
		"MapValues": {
			func(s stringStream) stringStream { return topology.MapValues(s, upper, nil) },
			[]string{"k=V@1", "k=-@2", "-=V@3", "-=-@4", "k=A B@5"},
		},
		"MapValuesWithKey": {
			func(s stringStream) stringStream {
				return topology.MapValuesWithKey(s, func(k, v string) string { return k + v }, nil)
			},
			[]string{"k=kv@1", "k=-@2", "-=v@3", "-=-@4", "k=ka b@5"},
		},
		"FlatMapValues": {
			func(s stringStream) stringStream { return topology.FlatMapValues(s, strings.Fields, nil) },
			[]string{"k=v@1", "-=v@3", "k=a@5", "k=b@5"},
		},
		"FlatMapValuesWithKey": {
			func(s stringStream) stringStream {
				return topology.FlatMapValuesWithKey(s, func(k, v string) []string { return []string{v, k} }, nil)
			},
			[]string{"k=v@1", "k=k@1", "-=v@3", "-=@3", "k=a b@5", "k=k@5"},
		},
		"SelectKey": {
			func(s stringStream) stringStream {
				return topology.SelectKey(s, func(_, v string) string { return v }, nil)
			},
			[]string{"v=v@1", "=-@2", "v=v@3", "=-@4", "a b=a b@5"},
		},
		"Map": {
			func(s stringStream) stringStream {
				return topology.Map(s, func(k, v string) (string, string) { return v, k }, nil, nil)
			},
			[]string{"v=k@1", "=-@2", "v=@3", "=-@4", "a b=k@5"},
		},
		"FlatMap": {
			func(s stringStream) stringStream {
				return topology.FlatMap(s, func(k, v string) iter.Seq2[string, string] {
					if v == "" {
						return nil
					}
					return func(yield func(string, string) bool) { _ = yield(k, v) && yield(v, k) }
				}, nil, nil)
			},
			[]string{"k=v@1", "v=k@1", "=v@3", "v=@3", "k=a b@5", "a b=k@5"},
		},
		"Peek": {
			func(s stringStream) stringStream {
				return s.Peek(func(k, v string) { peeked = append(peeked, k+"/"+v) })
			},
			[]string{"k=v@1", "k=-@2", "-=v@3", "-=-@4", "k=a b@5"},
		},
		"Merge": {
			func(s stringStream) stringStream {
				noKeys := s.Filter(func(k, _ string) bool { return k == "" })
				return s.Filter(func(_, v string) bool { return v == "v" }).Merge(noKeys)
			},
			[]string{"k=v@1", "-=v@3", "-=v@3", "-=-@4"},
		},
		"Repartition": {
			func(s stringStream) stringStream { return s.Repartition() },
			[]string{"k=v@1", "k=-@2", "k=a b@5"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := topology.NewBuilder()
			c.op(topology.Stream(b, "in", serde.String, serde.String)).To("out")
			d := run(t, b, false)
			for _, r := range []in{kv("k", "v", 1), kv("k", "-", 2), kv("-", "v", 3), kv("-", "-", 4), kv("k", "a b", 5)} {
				d.pipe("in", r)
			}
			require.Equal(t, c.want, d.take("out", text))
		})
	}
	require.Equal(t, []string{"k/v", "k/", "/v", "/", "k/a b"}, peeked)
}

// TestStatelessNilable shows the same for types with a nil, which functions see and may return.
func TestStatelessNilable(t *testing.T) {
	type stream = *topology.KStream[*string, *string]
	str := serde.Nullable(serde.String)
	show := func(s *string) *string {
		text := "<nil>"
		if s != nil {
			text = *s
		}
		return &text
	}
	toNil := func(s *string) *string {
		if s != nil && *s == "v" {
			return nil
		}
		return show(s)
	}
	for name, c := range map[string]struct {
		op   func(s stream) stream
		want []string
	}{
		"MapValues": {
			func(s stream) stream { return topology.MapValues(s, toNil, nil) },
			[]string{"k=-@1", "k=<nil>@2", "-=<nil>@3"},
		},
		"FlatMapValues": {
			func(s stream) stream {
				return topology.FlatMapValues(s, func(v *string) []*string { return []*string{v, show(v)} }, nil)
			},
			[]string{"k=v@1", "k=v@1", "k=-@2", "k=<nil>@2", "-=-@3", "-=<nil>@3"},
		},
		"SelectKey": {
			func(s stream) stream { return topology.SelectKey(s, func(_, v *string) *string { return v }, nil) },
			[]string{"v=v@1", "-=-@2", "-=-@3"},
		},
		"Map": {
			func(s stream) stream {
				return topology.Map(s, func(k, v *string) (*string, *string) { return toNil(v), show(k) }, nil, nil)
			},
			[]string{"-=k@1", "<nil>=k@2", "<nil>=<nil>@3"},
		},
		"FlatMap": {
			func(s stream) stream {
				return topology.FlatMap(s, func(k, v *string) iter.Seq2[*string, *string] {
					return maps.All(map[*string]*string{v: k})
				}, nil, nil)
			},
			[]string{"v=k@1", "-=k@2", "-=-@3"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := topology.NewBuilder()
			c.op(topology.Stream(b, "in", str, str)).To("out")
			d := run(t, b, false)
			for _, r := range []in{kv("k", "v", 1), kv("k", "-", 2), kv("-", "-", 3)} {
				d.pipe("in", r)
			}
			require.Equal(t, c.want, d.take("out", text))
		})
	}
}

// TestChildrenFinishInOrder pins depth first, in order of declaration.
func TestChildrenFinishInOrder(t *testing.T) {
	b := topology.NewBuilder()
	var seen []string
	note := func(s stringStream, name string) stringStream {
		return s.Peek(func(_, v string) { seen = append(seen, name+v) })
	}
	s := topology.FlatMapValues(topology.Stream(b, "in", serde.String, serde.String), strings.Fields, nil)
	note(note(s, "a"), "b")
	note(s, "c")
	d := run(t, b, false)
	d.pipe("in", kv("k", "1 2", 1))
	require.Equal(t, []string{"a1", "b1", "c1", "a2", "b2", "c2"}, seen)
}

// TestEnterNamesTheNodeOfUserCode pins what a panic is attributed to.
func TestEnterNamesTheNodeOfUserCode(t *testing.T) {
	b := topology.NewBuilder()
	s := topology.Stream(b, "in", serde.String, serde.String)
	s = s.Filter(func(string, string) bool { return true }, topology.Named("first"))
	s = topology.FlatMap(s, func(k, v string) iter.Seq2[string, string] {
		return func(yield func(string, string) bool) {
			yield(k, v)
			panic("after the first")
		}
	}, nil, nil, topology.Named("second"))
	topology.MapValues(s, identity, nil, topology.Named("third"))
	d := run(t, b, false)
	require.Panics(t, func() { _ = d.tryPipe("in", kv("k", "v", 1)) })
	require.Equal(t, "second", d.entered)
}

func TestFlatMapStopsAtAnError(t *testing.T) {
	b := topology.NewBuilder()
	n := 0
	s := topology.FlatMap(topology.Stream(b, "in", serde.String, serde.String),
		func(k, v string) iter.Seq2[string, string] {
			return func(yield func(string, string) bool) {
				for more := true; more; n++ {
					more = yield(k, v)
				}
			}
		}, nil, nil)
	s.To("out", topology.WithSerdes[string, string](failing{}, nil))
	d := run(t, b, false)
	require.ErrorIs(t, d.tryPipe("in", kv("k", "v", 1)), errEncode)
	require.Equal(t, 1, n)
}

func ExampleMapValues() {
	b := topology.NewBuilder()
	lines := topology.Stream(b, "lines", serde.String, serde.String)
	lengths := topology.MapValues(lines, func(line string) int64 { return int64(len(line)) }, serde.Int64)
	lengths.Filter(func(_ string, n int64) bool { return n > 80 }).To("long-lines")
	plan, err := b.Build()
	fmt.Println(err, slices.Concat(plan.Subtopologies[0].SourceTopics, plan.Subtopologies[0].SinkTopics))
	// Output: <nil> [lines long-lines]
}
