package task_test

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/processor/task"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/topology"
)

// idling is a task with the inputs "a" and "b".
func idling(t *testing.T, maxIdle time.Duration) *harness {
	t.Helper()
	b := topology.NewBuilder()
	texts(b, "a").Merge(texts(b, "b")).To("out")
	cfg := harnessConfig(t, b)
	cfg.MaxTaskIdle = maxIdle
	return open(t, cfg)
}

// fetch adds a batch of records with these timestamps, which are their values; end is the end of the partition.
func (h *harness) fetch(topic string, from, end int64, times ...int64) {
	records := make([]record.Raw, len(times))
	for i, ts := range times {
		records[i] = raw(from+int64(i), ts, topic, "")
	}
	h.Add(task.Input{
		TopicPartition: tp(topic), Records: records, Next: from + int64(len(times)), HighWatermark: end,
	})
}

// at processes what may be processed at a time, and returns the topics that were read, in order.
func (h *harness) at(now int64) string {
	h.t.Helper()
	before := len(h.outputsOf()["out"])
	for {
		n, err := h.Process(10, now)
		require.NoError(h.t, err)
		if n == 0 {
			break
		}
	}
	var read []byte
	for _, kv := range h.outputsOf()["out"][before:] {
		read = append(read, kv[0])
	}
	return string(read)
}

func TestWaitsForWhatTheBrokerHas(t *testing.T) {
	h := idling(t, 0)
	h.fetch("a", 0, 2, 10, 20)
	require.Empty(t, h.at(0), "nobody knows about b")
	require.Equal(t, int64(math.MaxInt64), h.IdleUntil(), "the fetch wakes the worker")
	h.fetch("b", 0, 2, 5)
	require.Equal(t, "b", h.at(0), "b has one more")
	h.fetch("b", 1, 2, 15)
	require.Equal(t, "aba", h.at(0), "b is at its end")
	require.Equal(t, uint64(1), h.Metrics().Enforced)
	h.fetch("a", 2, 3, 30)
	require.Equal(t, "a", h.at(0))
	h.fetch("b", 2, 3, 25)
	require.Equal(t, "b", h.at(0), "late, but there was no way to know")
}

func TestAnEmptyInputIsHeardOf(t *testing.T) {
	h := idling(t, 0)
	h.fetch("a", 0, 1, 10)
	require.Empty(t, h.at(0))
	h.fetch("b", 0, 0)
	require.False(t, h.Dirty(), "there is nothing to commit")
	require.Equal(t, "a", h.at(0))

	h.commit()
	h.rollback()
	h.fetch("a", 1, 2, 10)
	require.Empty(t, h.at(0), "what was known before a rollback may be old")
	h.fetch("b", 0, 0)
	require.Equal(t, "a", h.at(0))
}

// Markers and aborted records only move the position; then the end is reached without a record.
func TestWaitEndsAtMarkers(t *testing.T) {
	h := idling(t, 0)
	h.fetch("a", 0, 1, 10)
	h.fetch("b", 0, 3, 5)
	require.Equal(t, "b", h.at(0))
	h.add("b", 3)
	require.Equal(t, "a", h.at(0))
}

func TestWaitsForNewRecords(t *testing.T) {
	h := idling(t, 100*time.Millisecond)
	h.fetch("a", 0, 2, 10, 20)
	h.fetch("b", 0, 0)
	require.Empty(t, h.at(1000))
	require.Equal(t, int64(1100), h.IdleUntil())
	require.Empty(t, h.at(1099))
	require.Equal(t, "aa", h.at(1100))
	require.Equal(t, uint64(2), h.Metrics().Enforced)
	h.fetch("a", 2, 3, 30)
	require.Equal(t, "a", h.at(1101), "given up until it has a record again")
	require.Equal(t, int64(math.MaxInt64), h.IdleUntil())

	h.fetch("b", 0, 1, 40)
	h.fetch("a", 3, 5, 50, 60)
	require.Equal(t, "b", h.at(1200), "a has records, b has none again")
	require.Equal(t, int64(1300), h.IdleUntil())
	h.fetch("b", 1, 2, 55)
	require.Equal(t, "ab", h.at(1250))
	require.Equal(t, int64(1350), h.IdleUntil())
	require.Equal(t, "a", h.at(1350))
}

func TestNeverWaits(t *testing.T) {
	h := idling(t, -1)
	h.fetch("a", 0, 1, 10)
	require.Equal(t, "a", h.at(0))
	h.fetch("b", 0, 5, 5)
	h.fetch("a", 1, 2, 20)
	require.Equal(t, "ba", h.at(0))
	require.Zero(t, h.Metrics().Enforced)
}

// A batch that waits for another input is not lost to a rollback, and goes back to the fetcher.
func TestWaitingBatchesAreReleasedByRollback(t *testing.T) {
	h := idling(t, 0)
	h.add("a", 1, raw(0, 10, "a", ""))
	require.Empty(t, h.at(0))
	require.Empty(t, h.Released())
	h.rollback()
	require.Len(t, h.Released(), 1)
}
