package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/examples/internal/demo"
	"github.com/tidemarkio/tidemark/examples/internal/demo/demotest"
)

// The records of the example, without a broker.
func TestTopology(t *testing.T) {
	require.Equal(t, []string{
		"ann: 09:00:00 to 09:01:00: 1 so far",
		"ann: 09:00:00 to 09:01:00: 2 so far",
		"ann: 08:59:30 to 09:00:30: 1 overlapping",
		"bob: 09:01:00 to 09:02:00: 1 so far",
		"ann: 09:00:00 to 09:01:00: 2 overlapping",
		"ann: 09:00:00 to 09:01:00: 3 so far",
		"bob: 09:01:00 to 09:02:00: 2 so far",
		"ann: 09:00:30 to 09:01:30: 2 overlapping",
		"bob: 09:00:30 to 09:01:30: 1 overlapping",
		"ann: 09:00:00 to 09:01:00: 3 final",
		"ann: too late: /thanks",
	}, demotest.Pipe(t, Topology(), clicks(), "results"))
}

// The same on the embedded broker, as go run does it.
func TestRun(t *testing.T) {
	require.NoError(t, demo.Run(t.Context(), "windows", Topology(), clicks(), "results", 11))
}
