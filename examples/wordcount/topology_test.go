package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/tidemarktest"
)

// The test of docs/guide/first-topology.md.
func TestTopology(t *testing.T) {
	d := tidemarktest.New(t, WordCount("lines", "word-counts"))
	in := tidemarktest.Input(d, "lines", serde.String, serde.String)
	out := tidemarktest.Output(d, "word-counts", serde.String, serde.Int64)
	in.Pipe("", "To be or not to be", 1000)
	last := map[string]int64{}
	for _, r := range out.ReadAll() {
		last[r.Key] = r.Value
	}
	require.Equal(t, map[string]int64{"to": 2, "be": 2, "or": 1, "not": 1}, last)
}
