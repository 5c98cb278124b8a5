package topology_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/topology"
)

func TestSuppressRefusesVersionedTables(t *testing.T) {
	b := topology.NewBuilder()
	rows := topology.Table(b, "in", serde.String, serde.String, topology.As("rows"), topology.Versioned(time.Hour))
	topology.Suppress(rows, topology.UntilTimeLimit(time.Second)).ToStream().To("out")
	_, err := b.Build()
	require.ErrorContains(t, err, "the table is versioned")
}
