package checkpointing

import (
	"encoding/hex"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/store"
)

func goldenInFlight() InFlightRecord {
	return InFlightRecord{
		Topic: "r", Partition: 2, From: record.TaskID{Subtopology: 1, Partition: 300},
		Raw: record.Raw{
			Key: []byte("k"), Value: nil, Timestamp: 1000, Offset: 77,
			Headers: []record.Header{{Key: "h", Value: []byte{}}, {Key: "i"}},
		},
	}
}

// TestInFlightGolden pins docs/format/in-flight.md.
func TestInFlightGolden(t *testing.T) {
	t.Parallel()
	r := goldenInFlight()
	key := appendInFlightKey(nil, r.Topic, r.Partition, r.Offset)
	value := appendInFlightValue(nil, r.From, r.Raw)
	require.Equal(t, "72"+"00"+"00000002"+"000000000000004d", hex.EncodeToString(key))
	require.Equal(t, "01"+"01"+"ac02"+"d00f"+"026b"+"00"+"02"+"0268"+"01"+"0269"+"00", hex.EncodeToString(value))
	got, err := decodeInFlight(store.Entry{Key: key, Value: value})
	require.NoError(t, err)
	require.Equal(t, r, got)
}

func FuzzDecodeInFlight(f *testing.F) {
	r := goldenInFlight()
	key, value := appendInFlightKey(nil, r.Topic, r.Partition, r.Offset), appendInFlightValue(nil, r.From, r.Raw)
	f.Add(key, value)
	for at := range value {
		f.Add(key, value[:at])
	}
	f.Fuzz(func(t *testing.T, key, value []byte) {
		r, err := decodeInFlight(store.Entry{Key: key, Value: value})
		if err != nil {
			return
		}
		require.Equal(t, key, appendInFlightKey(nil, r.Topic, r.Partition, r.Offset))
		again, err := decodeInFlight(store.Entry{Key: key, Value: appendInFlightValue(nil, r.From, r.Raw)})
		require.NoError(t, err)
		require.Equal(t, r, again)
	})
}
