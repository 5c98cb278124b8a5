package cases

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestFunctions(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]int64{"5": 5, "-12": -12, "": 0, "1x": 0, "+4": 0, "1234567890": 0, "-": 0} {
		require.Equal(t, want, integer(in), in)
	}
	require.Equal(t, "a|b", *joined(Some("a"), "|", "b"))
	require.Equal(t, "b", *joined(nil, "|", "b"))
	require.Equal(t, "a|c", *without(Some("a|b|c"), "|", "b"))
	require.Equal(t, "a", *without(Some("a"), "|", "b"))
	_, err := aggregatorOf("juggle:1")
	require.EqualError(t, err, `conformance: unknown aggregator "juggle:1"`)
}
