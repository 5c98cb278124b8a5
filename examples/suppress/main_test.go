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
		"oven: alarm: 3 times in the minute from 09:00:00",
		"oven: now 350",
		"fridge: now 9",
	}, demotest.Pipe(t, Topology(), measured(), "results"))
}

// The same on the embedded broker, as go run does it.
func TestRun(t *testing.T) {
	require.NoError(t, demo.Run(t.Context(), "suppress", Topology(), measured(), "results", 3))
}
