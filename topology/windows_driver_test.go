package topology_test

import (
	"fmt"
	"testing"

	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/tidemarktest"
	"github.com/tidemarkio/tidemark/topology"
)

type (
	windowedKey   = record.Windowed[string]
	windowedTable = *topology.KTable[windowedKey, string]
	groupedInput  = *topology.KGroupedStream[string, string]
)

// windowed runs an aggregation of texts over the topics "in" (and what else it reads).
type windowed struct {
	*tidemarktest.Driver

	t   *testing.T
	out *[]string
}

// runWindowed runs what aggregate makes of the grouped stream of "in". What the table forwards is noted as text.
func runWindowed(
	t *testing.T, aggregate func(b *topology.Builder, g groupedInput) windowedTable, opts ...tidemarktest.Option,
) *windowed {
	t.Helper()
	b := topology.NewBuilder()
	out := new([]string)
	aggregate(b, topology.Stream(b, "in", serde.String, serde.String).GroupByKey()).ToStream().
		Foreach(func(k windowedKey, v string) {
			*out = append(*out, fmt.Sprintf("%s@%d/%d=%s", k.Key, k.Window.Start, k.Window.End, v))
		})
	return &windowed{tidemarktest.New(t, b, opts...), t, out}
}

func (w *windowed) pipe(key, value string, ts int64) {
	w.t.Helper()
	tidemarktest.Input(w.Driver, "in", serde.String, serde.String).Pipe(key, value, ts)
}

// take returns what was forwarded since the last time.
func (w *windowed) take() []string {
	got := *w.out
	*w.out = nil
	return got
}

func appended(_, v, aggregate string) string { return aggregate + v }

func nothing() string { return "" }

func joinText(_, a, b string) string { return a + b }

// overWindows aggregates texts in windows.
func overWindows(w topology.Windows, onClose bool, opts ...topology.StoreOption) func(
	*topology.Builder, groupedInput) windowedTable {
	return func(_ *topology.Builder, g groupedInput) windowedTable {
		by := topology.WindowedBy(g, w)
		if onClose {
			by = by.EmitOnClose()
		}
		return topology.Aggregate(by, nothing, appended, serde.String, opts...)
	}
}

// overSessions aggregates texts in sessions.
func overSessions(w topology.SessionWindows, onClose bool, opts ...topology.StoreOption) func(
	*topology.Builder, groupedInput) windowedTable {
	return func(_ *topology.Builder, g groupedInput) windowedTable {
		by := topology.SessionWindowedBy(g, w)
		if onClose {
			by = by.EmitOnClose()
		}
		return topology.AggregateSessions(by, nothing, appended, joinText, serde.String, opts...)
	}
}
