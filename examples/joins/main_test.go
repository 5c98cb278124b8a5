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
		"c1: Ann ordered tea, paid 350",
		"c2: somebody ordered milk, not paid",
		"c1: Ann ordered salt, paid 99",
	}, demotest.Pipe(t, Topology(), events(), "results"))
}

// The same on the embedded broker, as go run does it.
func TestRun(t *testing.T) {
	require.NoError(t, demo.Run(t.Context(), "joins", Topology(), events(), "results", 3))
}
