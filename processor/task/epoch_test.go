package task_test

import (
	"encoding/binary"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/processor/task"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/store"
	"github.com/tidemarkio/tidemark/topology"
)

// counting counts the keys of "in" and writes the counts to "out".
func counting(opts ...topology.StoreOption) *topology.Builder {
	b := topology.NewBuilder()
	topology.Count(texts(b, "in").GroupByKey(), append(opts, topology.As("counts"))...).ToStream().To("out")
	return b
}

// numbers decodes the last number of each key that an epoch wrote to a topic.
func numbers(e *task.Epoch, topic string) map[string]int64 {
	out := make(map[string]int64)
	for _, b := range e.Batches {
		if b.TopicPartition.Topic != topic {
			continue
		}
		for i := range b.Len() {
			r := b.At(i)
			out[string(r.Key)] = int64(binary.BigEndian.Uint64(r.Value))
		}
	}
	return out
}

// counts reads the store, what is not committed included.
func (h *harness) counts() map[string]int64 {
	h.t.Helper()
	s, ok := h.Stores().Store("counts")
	require.True(h.t, ok)
	kv, ok := s.(*store.KeyValue[string, int64])
	require.True(h.t, ok)
	out := make(map[string]int64)
	for e, err := range kv.All() {
		require.NoError(h.t, err)
		out[e.Key] = e.Value
	}
	return out
}

func TestRollbackGoesBackExactly(t *testing.T) {
	h := open(t, harnessConfig(t, counting()))
	h.pipe("in", raw(0, 10, "a", ""), raw(1, 10, "b", ""), raw(2, 20, "a", ""))
	e := h.seal()
	require.Equal(t, record.Epoch(1), e.Number)
	require.True(t, e.IsChangelog(0))
	require.False(t, e.IsChangelog(1))
	require.Equal(t, "app-counts-changelog", e.Batches[0].TopicPartition.Topic)
	require.Equal(t, map[string]int64{"a": 2, "b": 1}, numbers(e, "app-counts-changelog"))
	require.Equal(t, map[string]int64{"a": 2, "b": 1}, numbers(e, "out"))
	h.committedEpoch(e, 2)
	before := h.counts()

	h.pipe("in", raw(3, 50, "a", ""), raw(4, 50, "c", ""))
	h.seal()
	require.True(t, h.InFlight())
	h.add("in", 7, raw(5, 60, "a", ""), raw(6, 70, "d", ""))
	_, err := h.Process(1, 0)
	require.NoError(t, err)
	require.Equal(t, map[string]int64{"a": 4, "b": 1, "c": 1}, h.counts())
	h.rollback()
	require.False(t, h.InFlight())
	require.False(t, h.Dirty())
	require.False(t, h.Buffered())
	require.Equal(t, before, h.counts(), "the sealed and the active epoch are gone")
	require.Equal(t, int64(20), h.StreamTime())
	require.Zero(t, h.UncommittedBytes())

	h.pipe("in", raw(3, 50, "a", ""), raw(4, 50, "c", ""))
	e = h.seal()
	require.Equal(t, record.Epoch(3), e.Number, "a number that was given to an epoch that failed is not used again")
	require.Equal(t, map[string]int64{"a": 3, "c": 1}, numbers(e, "out"))
	require.Equal(t, task.Position{Offset: 5, StreamTime: 50}, position(e, "in"))
	h.committedEpoch(e, 4)
	require.Equal(t, map[string]int64{"a": 3, "b": 1, "c": 1}, h.counts())
}

func TestProcessingGoesOnWhileAnEpochIsInFlight(t *testing.T) {
	h := open(t, harnessConfig(t, counting()))
	h.pipe("in", raw(0, 10, "a", ""))
	first := h.seal()
	h.pipe("in", raw(1, 11, "a", ""), raw(2, 11, "b", ""))
	require.Equal(t, map[string]int64{"a": 1}, numbers(first, "out"), "a sealed epoch does not change")
	require.Panics(t, func() { _, _ = h.Seal() }, "one epoch is in flight at a time")
	h.committedEpoch(first, 1)
	second := h.seal()
	require.Equal(t, map[string]int64{"a": 2, "b": 1}, numbers(second, "out"))
	require.Equal(t, map[string]int64{"a": 2, "b": 1}, numbers(second, "app-counts-changelog"))
}

func TestUnknownEndKeepsTheOlderPosition(t *testing.T) {
	cfg := harnessConfig(t, counting())
	h := open(t, cfg)
	h.pipe("in", raw(0, 10, "a", ""))
	h.committedEpoch(h.seal(), 7)
	h.pipe("in", raw(1, 10, "a", ""))
	h.committedEpoch(h.seal(), -1)
	h.add("in", 3) // an epoch that changes no store
	h.committedEpoch(h.seal(), 99)
	require.NoError(t, h.Close(true))

	tk, err := task.Open(t.Context(), cfg)
	require.NoError(t, err)
	defer tk.Close(false)
	cp, found := tk.Stores().Checkpoint()
	require.True(t, found)
	require.Equal(t, map[string]int64{"counts": 7}, cp.Changelog)
	require.Equal(t, map[record.TopicPartition]int64{tp("in"): 3}, cp.Inputs)
	require.Equal(t, record.Epoch(3), cp.Epoch)
}

func TestCacheForwardsAKeyOncePerEpoch(t *testing.T) {
	for cached, want := range map[bool]int{true: 1, false: 3} {
		cfg := harnessConfig(t, counting())
		cfg.Stores.CachingEnabled = cached
		h := open(t, cfg)
		h.pipe("in", raw(0, 10, "a", ""), raw(1, 10, "a", ""), raw(2, 20, "a", ""))
		require.Len(t, h.commit()["out"], want)
		h.pipe("in", raw(3, 30, "a", ""))
		h.rollback()
		require.False(t, h.Dirty())
		h.pipe("in", raw(3, 30, "a", ""))
		require.Equal(t, map[string]int64{"a": 4}, numbers(h.seal(), "out"), "nothing of what was rolled back")
	}
}

func TestSealReportsUserErrorsOfCachedUpdates(t *testing.T) {
	b := topology.NewBuilder()
	counts := topology.Count(texts(b, "in").GroupByKey(), topology.As("counts"))
	topology.MapValues(counts.ToStream(), func(n int64) int64 {
		if n == 2 {
			panic("two")
		}
		return n
	}, serde.Int64, topology.Named("mapper")).To("out")
	h := open(t, harnessConfig(t, b))
	h.pipe("in", raw(0, 10, "a", ""))
	h.commit()
	h.pipe("in", raw(1, 10, "a", ""))
	_, err := h.Seal()
	ue, ok := errors.AsType[*processor.UserError](err)
	require.True(t, ok, "%v", err)
	require.Equal(t, "mapper", ue.Node)
	require.NotEmpty(t, ue.Stack)
	h.rollback()
	require.Equal(t, map[string]int64{"a": 1}, h.counts())
}

func TestOpenAndInitReportMistakes(t *testing.T) {
	cfg := harnessConfig(t, through(&probe{}))
	cfg.Inputs = append(cfg.Inputs, tp("other"))
	_, err := task.Open(t.Context(), cfg)
	require.ErrorContains(t, err, "no source reads other-0")

	tk, err := task.Open(t.Context(), harnessConfig(t, through(&probe{})))
	require.NoError(t, err)
	defer tk.Close(false)
	require.ErrorContains(t, tk.Init(nil, nil, 0, 0), "no position for input in-0")

	broken := &probe{init: func(processor.Context[string, string]) error { panic("init") }}
	tk, err = task.Open(t.Context(), harnessConfig(t, through(broken)))
	require.NoError(t, err)
	defer tk.Close(false)
	err = tk.Init(map[record.TopicPartition]task.Position{tp("in"): {}}, nil, 0, 0)
	ue, ok := errors.AsType[*processor.UserError](err)
	require.True(t, ok)
	require.Equal(t, "probe", ue.Node)
}

func TestOutputsAreSeenBeforeTheyAreSealed(t *testing.T) {
	h := open(t, harnessConfig(t, through(&probe{})))
	require.Empty(t, h.outputsOf())
	_, ok := h.HeadTimestamp()
	require.False(t, ok)
	h.add("in", 2, raw(0, 7, "a", "1"), raw(1, 3, "b", "2"))
	at, ok := h.HeadTimestamp()
	require.True(t, ok)
	require.Equal(t, int64(7), at)
	_, err := h.Process(1, 0)
	require.NoError(t, err)
	require.Equal(t, map[string][]string{"out": {"a=1"}}, h.outputsOf())
	at, _ = h.HeadTimestamp()
	require.Equal(t, int64(3), at)
	h.process()
	require.Equal(t, map[string][]string{"out": {"a=1", "b=2"}}, h.outputsOf())
	require.Equal(t, h.outputsOf(), h.commit())
	require.Empty(t, h.outputsOf())
}
