package checkpointing_test

import (
	"bytes"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/checkpointing"
	"github.com/tidemarkio/tidemark/record"
)

// TestHeadersGolden pins the format (docs/format/barrier.md).
func TestHeadersGolden(t *testing.T) {
	t.Parallel()
	for want, b := range map[string]checkpointing.Barrier{
		"\x01\x00\x07\x00\x00\x00": {ID: 7},
		"\x01\x03\xac\x02\x05\x80\x01\x01": {
			ID: 300, Unaligned: true, Stop: true, AlignedTimeoutMs: 5, TimeoutMs: 128, TriggeredMs: 1,
		},
	} {
		require.Equal(t, []byte(want), b.Append(nil))
		got, err := checkpointing.ParseBarrier([]byte(want))
		require.NoError(t, err)
		require.Equal(t, b, got)
	}
	id := record.TaskID{Subtopology: 3, Partition: 200}
	require.Equal(t, []byte("\x01\x03\xc8\x01"), checkpointing.AppendTask(nil, id))
	got, err := checkpointing.ParseTask([]byte("\x01\x03\xc8\x01"))
	require.NoError(t, err)
	require.Equal(t, id, got)
	require.Equal(t, "__tm.t", checkpointing.TaskHeader)
	require.Equal(t, "__tm.b", checkpointing.BarrierHeader)
}

func TestMalformedHeaders(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{
		"", "\x01", "\x02\x00\x07\x00\x00\x00", "\x01\x04\x07\x00\x00\x00", "\x01\x00\x07\x00\x00",
		"\x01\x00\x00\x00\x00\x00",
		"\x01\x00\x07\x00\x00\x00\x00", "\x01\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x00\x00\x00",
	} {
		_, err := checkpointing.ParseBarrier([]byte(bad))
		require.Error(t, err, "%q", bad)
	}
	for _, bad := range []string{
		"", "\x01", "\x01\x01", "\x02\x01\x01", "\x01\x01\x01\x01", "\x01\xff\xff\xff\xff\x0f\x01",
	} {
		_, err := checkpointing.ParseTask([]byte(bad))
		require.Error(t, err, "%q", bad)
	}
}

func TestSplitHeaders(t *testing.T) {
	t.Parallel()
	user := record.Header{Key: checkpointing.TaskHeader, Value: []byte("a user's")}
	task := record.Header{Key: checkpointing.TaskHeader, Value: []byte{1, 0, 0}}
	barrier := record.Header{Key: checkpointing.BarrierHeader, Value: []byte{1}}
	for name, c := range map[string]struct {
		in, rest        []record.Header
		origin, barrier []byte
	}{
		"none":     {},
		"a record": {in: []record.Header{user, task}, rest: []record.Header{user}, origin: task.Value},
		"a barrier": {
			in: []record.Header{barrier, task}, rest: []record.Header{}, origin: task.Value, barrier: barrier.Value,
		},
		"of a user's name": {in: []record.Header{task, barrier}, rest: []record.Header{task, barrier}},
	} {
		origin, b, rest := checkpointing.SplitHeaders(c.in)
		require.Equal(t, c.rest, rest, name)
		require.Equal(t, c.origin, origin, name)
		require.Equal(t, c.barrier, b, name)
		if c.origin != nil {
			require.Equal(t, len(rest), cap(rest), "%s: an append must not write over our headers", name)
		}
	}
}

func FuzzHeaders(f *testing.F) {
	f.Add(checkpointing.Barrier{ID: 1, TimeoutMs: math.MaxInt64}.Append(nil))
	f.Add(checkpointing.AppendTask(nil, record.TaskID{Subtopology: math.MaxInt32}))
	f.Fuzz(func(t *testing.T, data []byte) {
		if b, err := checkpointing.ParseBarrier(data); err == nil {
			again, err := checkpointing.ParseBarrier(b.Append(nil))
			require.NoError(t, err)
			require.Equal(t, b, again)
		}
		if id, err := checkpointing.ParseTask(data); err == nil {
			require.LessOrEqual(t, len(checkpointing.AppendTask(nil, id)), len(data))
			require.True(t, bytes.HasPrefix(data, []byte{1}))
		}
	})
}
