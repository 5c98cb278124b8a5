package kafka

import (
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/record"
)

func rec(delta int64, value string) *sarama.Record {
	after := time.Duration(delta) * time.Millisecond
	return &sarama.Record{OffsetDelta: delta, TimestampDelta: after, Value: []byte(value)}
}

func set(b *sarama.RecordBatch) *sarama.Records {
	if b.LastOffsetDelta == 0 && len(b.Records) > 0 {
		b.LastOffsetDelta = int32(b.Records[len(b.Records)-1].OffsetDelta)
	}
	return &sarama.Records{RecordBatch: b}
}

func marker(offset, producer int64, commit bool) *sarama.Records {
	key := []byte{0, 0, 0, 0}
	if commit {
		key[3] = 1
	}
	return set(&sarama.RecordBatch{
		FirstOffset: offset, ProducerID: producer, Control: true, IsTransactional: true,
		Records: []*sarama.Record{{Key: key}},
	})
}

func TestDecodeTimestamps(t *testing.T) {
	first := time.UnixMilli(5000)
	for _, tc := range []struct {
		name  string
		batch sarama.RecordBatch
		want  int64
	}{
		{"create time", sarama.RecordBatch{FirstTimestamp: first}, 5001},
		{"log append time", sarama.RecordBatch{MaxTimestamp: time.UnixMilli(9000), LogAppendTime: true}, 9000},
		{"none", sarama.RecordBatch{}, -1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := tc.batch
			b.Records = []*sarama.Record{rec(0, "a"), rec(1, "b")}
			d, err := decodeBlock(&sarama.FetchResponseBlock{RecordsSet: []*sarama.Records{set(&b)}}, 1)
			require.NoError(t, err)
			require.Len(t, d.records, 1)
			require.Equal(t, tc.want, d.records[0].Timestamp)
			require.Equal(t, int64(2), d.next)
		})
	}
}

// TestDecodeAborted: the list is unsorted, a producer aborts and then commits, another is not in the list.
func TestDecodeAborted(t *testing.T) {
	txn := func(offset, producer int64, value string) *sarama.Records {
		return set(&sarama.RecordBatch{
			FirstOffset: offset, ProducerID: producer, IsTransactional: true, Records: []*sarama.Record{rec(0, value)},
		})
	}
	block := &sarama.FetchResponseBlock{
		AbortedTransactions: []*sarama.AbortedTransaction{{ProducerID: 2, FirstOffset: 6}, {ProducerID: 1, FirstOffset: 0}},
		RecordsSet: []*sarama.Records{
			txn(0, 1, "aborted"), txn(1, 2, "kept"), txn(2, 1, "aborted"), marker(3, 1, false), txn(4, 1, "kept"),
			marker(5, 2, true), txn(6, 2, "aborted"), marker(7, 1, true),
			set(&sarama.RecordBatch{FirstOffset: 8, ProducerID: 2, Records: []*sarama.Record{rec(0, "plain")}}),
			marker(9, 2, false), txn(10, 2, "kept"),
		},
	}
	d, err := decodeBlock(block, 0)
	require.NoError(t, err)
	require.Equal(t, []string{"kept", "kept", "plain", "kept"}, values(d.records))
	require.Equal(t, int64(11), d.next)
}

func TestDecodeIncomplete(t *testing.T) {
	cut := &sarama.Records{RecordBatch: &sarama.RecordBatch{FirstOffset: 7, PartialTrailingRecord: true}}
	d, err := decodeBlock(&sarama.FetchResponseBlock{RecordsSet: []*sarama.Records{cut}, LastStableOffset: 7}, 7)
	require.NoError(t, err)
	require.True(t, d.incomplete)

	d, err = decodeBlock(&sarama.FetchResponseBlock{LastStableOffset: 9}, 7)
	require.NoError(t, err)
	require.True(t, d.incomplete, "KIP-74 brokers send nothing instead of a part")

	d, err = decodeBlock(&sarama.FetchResponseBlock{LastStableOffset: 7}, 7)
	require.NoError(t, err)
	require.False(t, d.incomplete)
	require.Equal(t, int64(7), d.next)

	_, err = decodeBlock(&sarama.FetchResponseBlock{RecordsSet: []*sarama.Records{{MsgSet: &sarama.MessageSet{}}}}, 0)
	require.ErrorIs(t, err, errOldFormat)
}

// TestBehindEmptyBatches serves what compaction may leave: a response that holds nothing but an empty batch. It also
// guards the name of sarama's field.
func TestBehindEmptyBatches(t *testing.T) {
	tp := part("compacted", 0)
	broker := sarama.NewMockBroker(t, 1)
	defer broker.Close()
	fetched := &sarama.FetchResponse{Version: fetchVersion, Blocks: map[string]map[int32]*sarama.FetchResponseBlock{
		tp.Topic: {0: {
			LastStableOffset: 9, HighWaterMarkOffset: 9,
			RecordsSet: []*sarama.Records{{RecordBatch: &sarama.RecordBatch{Version: 2, FirstOffset: 5, LastOffsetDelta: 3}}},
		}},
	}}
	broker.SetHandlerByMap(map[string]sarama.MockResponse{
		"ApiVersionsRequest": sarama.NewMockApiVersionsResponse(t).SetApiKeys([]sarama.ApiVersionsResponseKey{
			{ApiKey: 1, MaxVersion: fetchVersion}, {ApiKey: 3, MaxVersion: 7}, {ApiKey: 18, MaxVersion: 3},
		}),
		"MetadataRequest": sarama.NewMockMetadataResponse(t).SetBroker(broker.Addr(), 1).
			SetLeader(tp.Topic, 0, 1),
		"FetchRequest": sarama.NewMockWrapper(fetched),
	})
	env := producerEnv{addrs: []string{broker.Addr()}}
	f := env.fetcher(t, FetcherConfig{})
	f.Add(tp, 5)
	b := next(t, f)
	require.NoError(t, b.Err)
	require.Empty(t, b.Records)
	require.Equal(t, int64(9), b.Next)

	var last int64
	err := NewReader(env.client(t)).Read(testContext(t), tp, 5, 9, func(_ []record.Raw, next int64) error {
		last = next
		return nil
	})
	require.NoError(t, err)
	require.Equal(t, int64(9), last)
}

// TestDecodeHeaders: records share arrays of headers, and yet nobody's headers run into another's.
func TestDecodeHeaders(t *testing.T) {
	header := func(key, value string) *sarama.RecordHeader {
		return &sarama.RecordHeader{Key: []byte(key), Value: []byte(value)}
	}
	b := sarama.RecordBatch{Records: []*sarama.Record{rec(0, "a"), rec(1, "b"), rec(2, "c"), rec(3, "d")}}
	b.Records[0].Headers = []*sarama.RecordHeader{header("k", "1")}
	b.Records[2].Headers = []*sarama.RecordHeader{header("k", "2"), header("l", "3"), header("k", "4"), header("m", "")}
	b.Records[3].Headers = []*sarama.RecordHeader{header("m", "5")}
	d, err := decodeBlock(&sarama.FetchResponseBlock{RecordsSet: []*sarama.Records{set(&b)}}, 0)
	require.NoError(t, err)
	want := [][]record.Header{
		{{Key: "k", Value: []byte("1")}},
		nil,
		{
			{Key: "k", Value: []byte("2")},
			{Key: "l", Value: []byte("3")},
			{Key: "k", Value: []byte("4")},
			{Key: "m", Value: []byte{}},
		},
		{{Key: "m", Value: []byte("5")}},
	}
	for i, r := range d.records {
		require.Equal(t, want[i], r.Headers)
		_ = append(r.Headers, record.Header{Key: "more"})
	}
	for i, r := range d.records {
		require.Equal(t, want[i], r.Headers, "after appends")
	}
}
