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
		"bob: came at 09:05:00 for 0s: /",
		"ann: came at 09:00:00 for 45m0s: / /buy /pay",
	}, demotest.Pipe(t, Topology(), clicks(), "results"))
}

// The same on the embedded broker, as go run does it.
func TestRun(t *testing.T) {
	require.NoError(t, demo.Run(t.Context(), "sessions", Topology(), clicks(), "results", 2))
}
