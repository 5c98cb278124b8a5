package record_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/record"
)

func TestPartitionOf(t *testing.T) {
	t.Parallel()
	// Values of UtilsTest.testMurmur2 of Apache Kafka.
	require.Equal(t, int32(-973932308), int32(record.Murmur2([]byte("21"))))
	require.Equal(t, int32(479470107), int32(record.Murmur2([]byte("abc"))))
	require.Equal(t, int32(1173551340%7), record.PartitionOf([]byte("21"), 7)) // -973932308 & 0x7fffffff
	require.Equal(t, record.PartitionOf([]byte("21"), 7), record.PartitionOfHash(record.Murmur2([]byte("21")), 7))
}
