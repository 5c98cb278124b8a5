package record_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/record"
)

func TestHeadersAreNotChangedInPlace(t *testing.T) {
	roomy := make([]record.Header, 0, 8)
	first := record.Record[string, string]{
		Headers: append(roomy, record.Header{Key: "a"}, record.Header{Key: "b"}, record.Header{Key: "a", Value: []byte("2")}),
	}
	one, two := first.WithHeader("c", []byte("1")), first.WithHeader("c", []byte("2"))
	value, found := one.Header("c")
	require.True(t, found)
	require.Equal(t, "1", string(value), "two records do not share what is behind the headers")
	value, _ = two.Header("c")
	require.Equal(t, "2", string(value))
	less := first.WithoutHeader("a")
	require.Equal(t, []record.Header{{Key: "b"}}, less.Headers)
	_, found = less.Header("a")
	require.False(t, found)
	require.Equal(t, []record.Header{{Key: "a"}, {Key: "b"}, {Key: "a", Value: []byte("2")}}, first.Headers)
	require.Equal(t, first.Headers, first.WithoutHeader("none").Headers)
	require.Empty(t, record.Record[string, string]{}.WithoutHeader("a").Headers)
}
