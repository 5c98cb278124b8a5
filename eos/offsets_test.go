package eos_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/eos"
	"github.com/tidemarkio/tidemark/record"
)

// TestMetadataGolden pins the format (docs/format/offset-metadata.md).
func TestMetadataGolden(t *testing.T) {
	t.Parallel()
	for want, m := range map[string]eos.Metadata{
		"1;app-p-0;300;-1;": {TransactionalID: "app-p-0", Epoch: 300, StreamTime: -1},
		"1;;1;1700000000000;app-p": {
			Epoch: 1, StreamTime: 1_700_000_000_000, Departed: "app-p",
		},
		"2;app-p-0;300;-1;;7;": {TransactionalID: "app-p-0", Epoch: 300, StreamTime: -1, Checkpoint: 7},
		"2;a;1;2;;0;120:":      {TransactionalID: "a", Epoch: 1, StreamTime: 2, Ahead: &eos.Ahead{Next: 120}},
		"2;a;1;2;d;7;120:0_1=k,2_0=0": {
			TransactionalID: "a", Epoch: 1, StreamTime: 2, Departed: "d", Checkpoint: 7, Ahead: &eos.Ahead{
				Next: 120, Except: map[record.TaskID]int64{{Partition: 1}: 100, {Subtopology: 2}: 120},
			},
		},
	} {
		require.Equal(t, want, m.Encode())
		got, err := eos.ParseMetadata(want)
		require.NoError(t, err)
		require.Equal(t, m, got)
	}
	for _, foreign := range []string{
		"", "AgAAAX", "2;a;1;1;", "1;a;1", "1;a;1;2;3;4", "1;a;x;1;", "1;a;-1;1;", "1;a;1;x;", "0;a;1;1;",
		"3;a;1;1;;7;", "1;a;1;1;;7;", "2;a;1;1;;x;", "2;a;1;1;;-1;", "2;a;1;1;;7;x:", "2;a;1;1;;7;5", "2;a;1;1;;7;-1:",
		"2;a;1;1;;7;5:0_1", "2;a;1;1;;7;5:0_1=-1", "2;a;1;1;;7;5:0_1=6", "2;a;1;1;;7;5:x=1", "2;a;1;1;;7;5:0_1=1,",
	} {
		m, err := eos.ParseMetadata(foreign)
		require.ErrorIs(t, err, eos.ErrForeignMetadata, foreign)
		require.Equal(t, eos.Metadata{StreamTime: -1}, m)
	}
}

func TestAheadProcessed(t *testing.T) {
	t.Parallel()
	one, two := record.TaskID{Partition: 1}, record.TaskID{Partition: 2}
	var none *eos.Ahead
	require.False(t, none.Processed(one, 0))
	a := &eos.Ahead{Next: 10, Except: map[record.TaskID]int64{one: 5}}
	require.True(t, a.Processed(one, 4))
	require.False(t, a.Processed(one, 5), "held back")
	require.True(t, a.Processed(two, 9))
	require.False(t, a.Processed(two, 10), "not looked at")
}

// TestMetadataSize checks the bound by which a task decides to hold back no more channels.
func TestMetadataSize(t *testing.T) {
	t.Parallel()
	bare := eos.Metadata{Checkpoint: math.MaxInt64, Epoch: math.MaxUint64, StreamTime: math.MinInt64}
	m, bound := bare, 0
	m.Ahead = &eos.Ahead{Next: math.MaxInt64, Except: make(map[record.TaskID]int64)}
	for i := range int32(100) {
		id := record.TaskID{Subtopology: i * 1000, Partition: math.MaxInt32 - i}
		m.Ahead.Except[id] = 0
		bound += eos.ExceptionBytes(id)
	}
	got := len(m.Encode()) - len(bare.Encode())
	require.LessOrEqual(t, got, bound+20)
	require.Less(t, len(bare.Encode())+eos.AheadBytesMax, 4096-512, "room for two ids of the longest kind")
}
