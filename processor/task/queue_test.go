package task_test

import (
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/processor/task"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/topology"
)

func position(e *task.Epoch, topic string) task.Position { return e.Positions[tp(topic)] }

func TestPositionMovesOverMarkers(t *testing.T) {
	h := open(t, harnessConfig(t, through(&probe{})))
	h.add("in", 3, raw(0, 10, "a", "1"), raw(1, 5, "b", "2")) // offset 2 is a marker
	n, err := h.Process(1, 0)
	require.NoError(t, err)
	require.Equal(t, 1, n)
	e := h.seal()
	require.Equal(t, task.Position{Offset: 1, StreamTime: 10}, position(e, "in"), "in the middle of a batch")
	h.committedEpoch(e, -1)
	h.process()
	require.Equal(t, int64(0), h.Lag(tp("in")))
	e = h.seal()
	require.Equal(t, task.Position{Offset: 3, StreamTime: 10}, position(e, "in"), "behind the marker")
	h.committedEpoch(e, -1)

	require.False(t, h.Dirty())
	h.add("in", 4)
	require.True(t, h.Dirty(), "a lone marker is committed, or the lag would never be zero")
	e = h.seal()
	require.Equal(t, int64(4), position(e, "in").Offset)
	h.committedEpoch(e, -1)
	h.add("in", 4)
	require.False(t, h.Dirty(), "nothing new")
	h.add("in", 2)
	require.False(t, h.Dirty(), "a position does not go back")

	h.add("in", 5, raw(4, 11, "c", "3"))
	h.add("in", 7) // markers behind a record that waits
	h.add("in", 9, raw(7, 12, "d", "4"))
	n, err = h.Process(1, 0)
	require.NoError(t, err)
	require.Equal(t, 1, n)
	require.Equal(t, int64(7), position(h.seal(), "in").Offset)
}

func TestNothingToSeal(t *testing.T) {
	h := open(t, harnessConfig(t, through(&probe{})))
	e, err := h.Seal()
	require.NoError(t, err)
	require.Nil(t, e)
	n, err := h.Process(10, 0)
	require.NoError(t, err)
	require.Zero(t, n)
	require.False(t, h.Dirty())
}

func TestTokensAreReleasedOnce(t *testing.T) {
	h := open(t, harnessConfig(t, through(&probe{})))
	add := func(token string, next int64, records ...record.Raw) {
		h.Add(task.Input{TopicPartition: tp("in"), Records: records, Next: next, Token: token})
	}
	add("first", 2, raw(0, 1, "a", ""), raw(1, 2, "a", ""))
	add("second", 3, raw(2, 3, "a", ""))
	add("third", 4, raw(3, 4, "a", ""))
	require.Empty(t, h.Released())
	_, err := h.Process(1, 0)
	require.NoError(t, err)
	require.Empty(t, h.Released(), "a record of it is left")
	_, err = h.Process(2, 0)
	require.NoError(t, err)
	require.Equal(t, []any{"first", "second"}, h.Released())
	require.Empty(t, h.Released())
	add("markers", 5)
	require.Equal(t, []any{"markers"}, h.Released(), "nothing to keep")
	h.rollback()
	require.Equal(t, []any{"third"}, h.Released(), "unprocessed ones come back, too")
	require.False(t, h.Buffered())
}

// merged reads three topics and writes values in the order of processing.
func merged(opts ...topology.SourceOption) *topology.Builder {
	b := topology.NewBuilder()
	texts(b, "a", opts...).Merge(texts(b, "b")).Merge(texts(b, "c")).To("out")
	return b
}

func TestLowestTimestampFirst(t *testing.T) {
	h := open(t, harnessConfig(t, merged()))
	h.add("a", 3, raw(0, 10, "a", "10"), raw(1, 40, "a", "40"), raw(2, 20, "a", "20"))
	h.add("b", 2, raw(0, 15, "b", "15"), raw(1, 30, "b", "30"))
	h.add("c", 2, raw(0, 5, "c", "5"), raw(1, 35, "c", "35"))
	h.process()
	e := h.seal()
	require.Equal(t, []string{"c=5", "a=10", "b=15", "b=30", "c=35", "a=40", "a=20"}, written(e)["out"])
	require.Equal(t, task.Position{Offset: 3, StreamTime: 40}, position(e, "a"), "partition time does not go back")
	require.Equal(t, task.Position{Offset: 2, StreamTime: 30}, position(e, "b"))
	require.Equal(t, int64(40), h.StreamTime())
}

func TestExtractorDecidesOrderAndTime(t *testing.T) {
	var partitionTimes []int64
	extract := func(r *record.Raw, at processor.Extraction) (int64, error) {
		partitionTimes = append(partitionTimes, at.PartitionTime)
		if string(r.Value) == "x" {
			return -1, nil
		}
		return strconv.ParseInt(string(r.Value), 10, 64)
	}
	h := open(t, harnessConfig(t, merged(topology.WithTimestampExtractor(extract))))
	h.add("a", 2, raw(0, 999, "a", "20"), raw(1, 0, "a", "x"))
	h.add("a", 3, raw(2, 0, "a", "7"))
	h.add("b", 1, raw(0, 10, "b", "10"))
	h.process()
	e := h.seal()
	require.Equal(t, []string{"b=10", "a=20", "a=7"}, written(e)["out"])
	require.Equal(t, []int64{-1, 20, 20}, partitionTimes)
	require.Equal(t, task.Position{Offset: 3, StreamTime: 20}, position(e, "a"))
	require.Equal(t, uint64(1), h.Metrics().Dropped)
}

func TestCommitRequestStopsProcessing(t *testing.T) {
	var taskID record.TaskID
	h := open(t, harnessConfig(t, through(&probe{
		init: func(ctx processor.Context[string, string]) error { taskID = ctx.TaskID(); return nil },
		process: func(ctx processor.Context[string, string], r record.Record[string, string]) error {
			if r.Value == "commit" {
				ctx.Commit()
			}
			return ctx.Forward(r)
		},
	})))
	h.pipe("in", raw(0, 1, "a", "x"), raw(1, 1, "a", "commit"), raw(2, 1, "a", "y"))
	require.Equal(t, h.ID(), taskID)
	require.True(t, h.CommitRequested())
	require.True(t, h.Buffered())
	require.Equal(t, []string{"a=x", "a=commit"}, h.commit()["out"], "the record that asked is in")
	require.False(t, h.CommitRequested())
	h.process()
	require.Equal(t, []string{"a=y"}, h.commit()["out"])
}
