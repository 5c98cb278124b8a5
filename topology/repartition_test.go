package topology

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/serde"
)

// TestAnyBelow looks through internal topics, as the null-key filter above a left join has to.
func TestAnyBelow(t *testing.T) {
	b := NewBuilder()
	s := Stream(b, "in", serde.String, serde.String)
	upper := s.Repartition(Named("upper"))
	lower := upper.Repartition(Named("lower"))
	lower.Peek(func(string, string) {}, Named("end"))
	s.To("in") // a cycle through a topic
	is := func(name string) func(n *graphNode) bool {
		return func(n *graphNode) bool { return n.name == name }
	}
	require.True(t, b.anyBelow(b.byName["upper-repartition-filter"], is("end")))
	require.False(t, b.anyBelow(lower.node, is("upper-repartition-filter")))
	require.False(t, b.anyBelow(s.node, is("nowhere")))
	b.byName["end"].keepsNullKeys = true
	require.True(t, b.anyBelow(upper.node, func(n *graphNode) bool { return n.keepsNullKeys }))
}
