package record_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/record"
)

func TestNullness(t *testing.T) {
	var (
		str       = "x"
		wrapped   any
		nilBytes  []byte
		nilMap    map[string]int
		nilString *string
	)
	require.False(t, record.NullnessOf[string]().IsNull("", false))
	require.True(t, record.NullnessOf[string]().IsNull("", true))
	require.False(t, record.NullnessOf[string]().Nilable())
	require.True(t, record.NullnessOf[*string]().Nilable())
	require.True(t, record.NullnessOf[*string]().IsNull(nilString, false))
	require.False(t, record.NullnessOf[*string]().IsNull(&str, true), "the value decides, not the flag")
	require.True(t, record.NullnessOf[[]byte]().IsNull(nilBytes, false))
	require.False(t, record.NullnessOf[[]byte]().IsNull([]byte{}, false))
	require.True(t, record.NullnessOf[map[string]int]().IsNull(nilMap, false))
	require.False(t, record.NullnessOf[map[string]int]().IsNull(map[string]int{}, false))
	require.True(t, record.NullnessOf[any]().IsNull(wrapped, false))
	require.False(t, record.NullnessOf[any]().IsNull(1, false))
}

func TestNullnessDoesNotAllocate(t *testing.T) {
	n := record.NullnessOf[[]byte]()
	b := []byte("x")
	require.Zero(t, testing.AllocsPerRun(100, func() { n.IsNull(b, false) }))
}

func TestWithKeyAndValueClearTheNullFlags(t *testing.T) {
	r := record.Record[string, int64]{Key: "k", NullValue: true, Timestamp: 7}
	require.Equal(t, record.Record[string, bool]{Key: "k", Value: true, Timestamp: 7}, record.WithValue(r, true))
	r = record.Record[string, int64]{NullKey: true, Value: 3}
	require.Equal(t, record.Record[int, int64]{Key: 1, Value: 3}, record.WithKey(r, 1))
}
