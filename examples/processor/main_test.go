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
		"ann: please pay for your tea",
		"cid: please pay for your salt",
	}, demotest.Pipe(t, Topology(), events(), "results"))
}

// The same on the embedded broker, as go run does it.
func TestRun(t *testing.T) {
	require.NoError(t, demo.Run(t.Context(), "processor", Topology(), events(), "results", 2))
}
