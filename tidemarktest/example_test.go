package tidemarktest_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/store"
	"github.com/tidemarkio/tidemark/tidemarktest"
	"github.com/tidemarkio/tidemark/topology"
)

// In a test, New(t, b) takes the place of Open: it fails the test on an error, and closes the driver at its end.
func Example() {
	b := topology.NewBuilder()
	lines := topology.Stream(b, "lines", serde.String, serde.String)
	words := topology.FlatMapValues(lines, strings.Fields, serde.String)
	byWord := topology.GroupBy(words, func(_, w string) string { return w }, serde.String, topology.Named("by-word"))
	topology.Count(byWord, topology.As("counts")).ToStream().To("word-counts")

	d, err := tidemarktest.Open(b)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer d.Close()
	in := tidemarktest.Input(d, "lines", serde.String, serde.String)
	out := tidemarktest.Output(d, "word-counts", serde.String, serde.Int64)

	in.Pipe("", "to be or not to be", 1000)
	for _, r := range out.ReadAll() {
		fmt.Println(r.Key, r.Value, r.Timestamp)
	}
	n, _, _ := tidemarktest.Store[*store.KeyValue[string, int64]](d, "counts").Get("be")
	fmt.Println("be:", n)
	// Output:
	// to 1 1000
	// be 1 1000
	// or 1 1000
	// not 1 1000
	// to 2 1000
	// be 2 1000
	// be: 2
}

// A crash undoes what was not committed, and processes it once more.
func ExampleDriver_Crash() {
	b := topology.NewBuilder()
	topology.Count(topology.Stream(b, "in", serde.String, serde.String).GroupByKey(), topology.As("counts")).
		ToStream().To("out")
	d, err := tidemarktest.Open(b)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer d.Close()
	in := tidemarktest.Input(d, "in", serde.String, serde.String)
	in.Pipe("k", "first", 1)
	d.Commit()
	in.Pipe("k", "second", 2)
	d.Crash()
	for _, r := range tidemarktest.Output(d, "out", serde.String, serde.Int64).ReadAll() {
		fmt.Println(r.Key, r.Value)
	}
	// Output:
	// k 1
	// k 2
}

// Errors of user code come back from the methods whose names begin with Try.
func ExampleInputTopic_TryPipe() {
	b := topology.NewBuilder()
	topology.Stream(b, "in", serde.String, serde.String).
		Peek(func(_, v string) { _ = v[10] }, topology.Named("peek")).To("out")
	d, err := tidemarktest.Open(b)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer d.Close()
	err = tidemarktest.Input(d, "in", serde.String, serde.String).TryPipe("k", "short", 0)
	if user, ok := errors.AsType[*processor.UserError](err); ok {
		fmt.Println(user.Node, user.TopicPartition, user.Err)
	}
	// Output:
	// peek in-0 runtime error: index out of range [10] with length 5
}

// BenchmarkPipe is what one record costs: a test of a hundred takes well under a millisecond.
func BenchmarkPipe(b *testing.B) {
	tb := topology.NewBuilder()
	topology.Process(topology.Stream(tb, "in", serde.String, serde.String),
		func() processor.Processor[string, string, string, string] {
			return processor.Func[string, string, string, string](
				func(ctx processor.Context[string, string], r record.Record[string, string]) error {
					return ctx.Forward(r)
				})
		}, nil, nil).To("out")
	d := tidemarktest.New(b, tb)
	in := tidemarktest.Input(d, "in", serde.String, serde.String)
	for b.Loop() {
		in.Pipe("k", "v", 0)
	}
}
