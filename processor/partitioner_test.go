package processor_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/processor"
)

// TestMurmur2 holds the values of UtilsTest.testMurmur2 of Apache Kafka.
func TestMurmur2(t *testing.T) {
	for key, want := range map[string]int32{
		"21":                         -973932308,
		"foobar":                     -790332482,
		"a-little-bit-long-string":   -985981536,
		"a-little-bit-longer-string": -1486304829,
		"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
		"abc": 479470107,
	} {
		require.Equal(t, want, int32(processor.Murmur2([]byte(key))), key)
	}
}

func TestDefaultPartition(t *testing.T) {
	// -973932308 & 0x7fffffff = 1173551340.
	require.Equal(t, int32(0), processor.DefaultPartition([]byte("21"), 10))
	require.Equal(t, int32(1173551340%7), processor.DefaultPartition([]byte("21"), 7))
	require.Equal(t, int32(0), processor.DefaultPartition(nil, 1))
	for _, key := range []string{"", "a", "ab", "abc", "abcd", "foobar"} {
		p := processor.DefaultPartition([]byte(key), 12)
		require.True(t, p >= 0 && p < 12)
	}
}

func BenchmarkMurmur2(b *testing.B) {
	key := []byte("customer-00012345")
	for b.Loop() {
		processor.DefaultPartition(key, 12)
	}
}
