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
		"north: 1 in the minute from 09:00:00",
		"south: 1 in the minute from 09:00:00",
		"unknown: 1 in the minute from 09:00:00",
		"south: 2 in the minute from 09:00:00",
		"south: 1 in the minute from 09:01:00",
	}, demotest.Pipe(t, Topology(), views(), "results"))
}

// The same on the embedded broker, as go run does it.
func TestRun(t *testing.T) {
	require.NoError(t, demo.Run(t.Context(), "pageviews", Topology(), views(), "results", 5))
}
