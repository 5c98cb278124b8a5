package record_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/record"
)

func TestBatch(t *testing.T) {
	var b record.Batch
	b.Append([]byte("k"), []byte("value"), 10, []record.Header{{Key: "h", Value: []byte("1")}, {Key: "h"}})
	b.Append(nil, []byte{}, 20, nil)
	b.Append([]byte{}, nil, 30, []record.Header{{Key: "x"}})
	want := []record.Raw{
		{
			Key: []byte("k"), Value: []byte("value"), Timestamp: 10, Offset: 0,
			Headers: []record.Header{{Key: "h", Value: []byte("1")}, {Key: "h"}},
		},
		{Value: []byte{}, Timestamp: 20, Offset: 1},
		{Key: []byte{}, Timestamp: 30, Offset: 2, Headers: []record.Header{{Key: "x"}}},
	}
	require.Equal(t, 3, b.Len())
	require.Equal(t, 6, b.Bytes())
	for i, w := range want {
		require.Equal(t, w, b.At(i), "null and empty are different things")
	}
	first := b.At(0)
	_ = append(first.Key, "overwritten"...)
	require.Equal(t, want[0], b.At(0), "a slice that grows does not reach its neighbour")
	b.Remove(0)
	require.Equal(t, 2, b.Len())
	require.Equal(t, int64(20), b.At(0).Timestamp)
	require.Equal(t, want[2].Headers, b.At(1).Headers)
	b.Reset()
	require.Zero(t, b.Len())
	require.Zero(t, b.Bytes())
	b.Append([]byte("new"), nil, 1, nil)
	require.Equal(t, record.Raw{Key: []byte("new"), Timestamp: 1}, b.At(0))
}

func TestBatchOfNothingButEmptyKeysAndValues(t *testing.T) {
	var b record.Batch
	b.Append([]byte{}, []byte{}, 1, nil)
	require.Equal(t, record.Raw{Key: []byte{}, Value: []byte{}, Timestamp: 1}, b.At(0), "empty is not null")
}

func TestBatchCopies(t *testing.T) {
	var b record.Batch
	key := []byte("key")
	b.Append(key, nil, 0, nil)
	key[0] = 'x'
	require.Equal(t, "key", string(b.At(0).Key))
}

func TestBatchReuseDoesNotAllocate(t *testing.T) {
	var b record.Batch
	key, value := []byte("key"), make([]byte, 100)
	require.Zero(t, testing.AllocsPerRun(100, func() {
		for range 100 {
			b.Append(key, value, 1, nil)
		}
		b.Reset()
	}))
}

func TestHeaderReturnsTheLast(t *testing.T) {
	r := record.Record[string, string]{Headers: []record.Header{
		{Key: "a", Value: []byte("1")}, {Key: "b"}, {Key: "a", Value: []byte("2")},
	}}
	v, ok := r.Header("a")
	require.True(t, ok)
	require.Equal(t, "2", string(v))
	v, ok = r.Header("b")
	require.True(t, ok)
	require.Nil(t, v)
	_, ok = r.Header("c")
	require.False(t, ok)
	r.Timestamp = 1500
	require.Equal(t, int64(1500), r.Time().UnixMilli())
}

func TestIDs(t *testing.T) {
	tp := record.TopicPartition{Topic: "a-b", Partition: 3}
	require.Equal(t, "a-b-3", tp.String())
	require.Negative(t, tp.Compare(record.TopicPartition{Topic: "b"}))
	require.Positive(t, tp.Compare(record.TopicPartition{Topic: "a-b", Partition: 2}))
	same := tp
	require.Zero(t, tp.Compare(same))
	id := record.TaskID{Subtopology: 1, Partition: 10}
	require.Equal(t, "1_10", id.String())
	require.Positive(t, id.Compare(record.TaskID{Subtopology: 1, Partition: 9}), "by number, not by text")
	require.Negative(t, id.Compare(record.TaskID{Subtopology: 2}))
}

func TestParseTaskID(t *testing.T) {
	for _, s := range []string{"0_0", "0_3", "12_345", "2147483647_2147483647"} {
		id, err := record.ParseTaskID(s)
		require.NoError(t, err)
		require.Equal(t, s, id.String())
	}
	for _, s := range []string{"", "_", "1", "1_", "_1", "-1_0", "0_-1", "a_b", "1_2_3", "2147483648_0", "1 _2"} {
		_, err := record.ParseTaskID(s)
		require.ErrorContains(t, err, fmt.Sprintf("%q is not a task id", s))
	}
}

// FuzzParseTaskID checks that what parses is what prints.
func FuzzParseTaskID(f *testing.F) {
	for _, s := range []string{"0_3", "", "1_", "+1_2", "01_2", "9999999999_1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		id, err := record.ParseTaskID(s)
		if err != nil {
			require.Zero(t, id)
			return
		}
		again, err := record.ParseTaskID(id.String())
		require.NoError(t, err)
		require.Equal(t, id, again)
		require.GreaterOrEqual(t, id.Subtopology, int32(0))
		require.GreaterOrEqual(t, id.Partition, int32(0))
	})
}
