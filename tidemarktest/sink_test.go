package tidemarktest_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/eos"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/tidemarktest"
	"github.com/tidemarkio/tidemark/topology"
)

// toSinks counts words into one sink behind a repartition topic, and writes lines into another: two sub-topologies.
func toSinks(lines, counts *tidemarktest.Sink[string]) *topology.Builder {
	b := topology.NewBuilder()
	in := topology.Stream(b, "lines", serde.String, serde.String)
	topology.SinkTo(in, "lines-db", lines, func(r record.Record[string, string]) (string, error) { return r.Value, nil })
	words := topology.FlatMapValues(in, strings.Fields, serde.String)
	byWord := topology.GroupBy(words, func(_, w string) string { return w }, serde.String, topology.Named("by-word"))
	topology.SinkTo(topology.Count(byWord, topology.As("counts")).ToStream(), "counts-db", counts,
		func(r record.Record[string, int64]) (string, error) { return fmt.Sprint(r.Key, "=", r.Value), nil })
	return b
}

// Two crashes in any steps, also in the recovery from the first, leave each row in its sink exactly once, and nothing
// prepared.
func TestSinkCrashInEveryStep(t *testing.T) {
	t.Parallel()
	crash := errors.New("crash")
	crashedIn := make(map[tidemarktest.SinkStep]bool)
	run := func(at, again int) (steps int) {
		lines, counts := tidemarktest.NewSink[string](), tidemarktest.NewSink[string]()
		fault := func(step tidemarktest.SinkStep, _ eos.TransactionName) error {
			if steps++; steps == at || steps == again {
				crashedIn[step] = true
				return crash
			}
			return nil
		}
		d := tidemarktest.New(t, toSinks(lines, counts))
		lines.FailWith(fault)
		counts.FailWith(fault)
		in := tidemarktest.Input(d, "lines", serde.String, serde.String)
		restart := func() {
			for tries := 0; d.TryCrash() != nil; tries++ {
				require.Less(t, tries, 3)
			}
		}
		for i, line := range []string{"to be", "or not", "to be"} {
			in.Pipe("", line, int64(i))
			if i == 1 {
				restart() // what is not committed comes again
			}
			for tries := 0; ; tries++ {
				err := d.TryCommit()
				if err == nil {
					break
				}
				require.ErrorIs(t, err, crash)
				require.Less(t, tries, 3)
				restart()
			}
			require.Empty(t, lines.Prepared())
			require.Empty(t, counts.Prepared())
		}
		require.Equal(t, []string{"to be", "or not", "to be"}, lines.Rows(), "%d %d", at, again)
		require.Equal(t, []string{"to=1", "be=1", "or=1", "not=1", "to=2", "be=2"}, counts.Rows(), "%d %d", at, again)
		return steps
	}
	n := run(0, 0)
	require.Greater(t, n, 20)
	for at := 1; at <= n; at++ {
		for again := at; again <= at+12; again++ {
			run(at, again)
		}
	}
	require.Len(t, crashedIn, 9, "a crash in every step: %v", crashedIn)
}

func TestSinkUncommitted(t *testing.T) {
	t.Parallel()
	lines, counts := tidemarktest.NewSink[string](), tidemarktest.NewSink[string]()
	d := tidemarktest.New(t, toSinks(lines, counts))
	in := tidemarktest.Input(d, "lines", serde.String, serde.String)
	in.Pipe("", "a", 0)
	require.Empty(t, lines.Rows(), "nothing is in a sink before the commit")
	d.Commit()
	require.Equal(t, []string{"a"}, lines.Rows())
	in.Pipe("", "b", 1)
	d.Crash()
	require.Equal(t, []string{"a"}, lines.Rows())
	d.Commit()
	require.Equal(t, []string{"a", "b"}, lines.Rows())
}
