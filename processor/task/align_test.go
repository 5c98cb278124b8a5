package task_test

import (
	"maps"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/checkpointing"
	"github.com/tidemarkio/tidemark/eos"
	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/processor/task"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/topology"
)

// upA and upB write the repartition topic "mid", which the tested task 2_0 reads.
var (
	upA = record.TaskID{Subtopology: 1}
	upB = record.TaskID{Subtopology: 1, Partition: 1}
)

// behindRepartition is a task that passes on what upA and upB send; what it has processed is in the topic "out".
func behindRepartition(t *testing.T) task.Config {
	t.Helper()
	b := topology.NewBuilder()
	texts(b, "in").Repartition(topology.Named("mid")).
		Peek(func(string, string) {}).To("out")
	cfg := harnessConfig(t, b)
	plan, err := b.Build()
	require.NoError(t, err)
	cfg.ID, cfg.Subtopology = record.TaskID{Subtopology: 2}, plan.Subtopologies[1]
	cfg.Inputs = []record.TopicPartition{tp("mid-repartition")}
	cfg.Channels = &task.Channels{Upstreams: map[string][]record.TaskID{"mid-repartition": {upA, upB}}}
	return cfg
}

func from(id record.TaskID, offset int64, key string) record.Raw {
	r := raw(offset, offset, key, "v")
	r.Headers = []record.Header{{Key: checkpointing.TaskHeader, Value: checkpointing.AppendTask(nil, id)}}
	return r
}

func barrier(id record.TaskID, offset int64, b checkpointing.Barrier) record.Raw {
	return record.Raw{Offset: offset, Timestamp: offset, Headers: []record.Header{
		{Key: checkpointing.BarrierHeader, Value: b.Append(nil)},
		{Key: checkpointing.TaskHeader, Value: checkpointing.AppendTask(nil, id)},
	}}
}

var one = checkpointing.Barrier{ID: 1}

// keys are the records that an epoch passed on.
func keys(e *task.Epoch) (keys []string) {
	for _, b := range e.Batches {
		for i := range b.Len() {
			keys = append(keys, string(b.At(i).Key))
		}
	}
	return keys
}

const mid = "mid-repartition"

// interleaved has a barrier of upA at 2 and of upB at 6.
func interleaved(b checkpointing.Barrier) []record.Raw {
	return []record.Raw{
		from(upA, 0, "a0"), from(upB, 1, "b0"), barrier(upA, 2, b), from(upA, 3, "a1"), from(upB, 4, "b1"),
		from(upA, 5, "a2"), barrier(upB, 6, b), from(upB, 7, "b2"), from(upA, 8, "a3"),
	}
}

func TestAlignedCut(t *testing.T) {
	h := open(t, behindRepartition(t))
	log := interleaved(one)
	h.pipe(mid, log[:6]...)
	require.False(t, h.CutDue())
	e := h.seal()
	require.Equal(t, []string{"a0", "b0", "b1"}, keys(e), "a1 and a2 are behind their barrier")
	require.Empty(t, e.Cuts)
	require.Equal(t, task.Position{
		Offset: 3, StreamTime: 4, Checkpoint: 1, Ahead: &eos.Ahead{Next: 6, Except: map[record.TaskID]int64{upA: 3}},
	}, position(e, mid))
	h.committedEpoch(e, 1)
	require.Equal(t, []any{int64(6)}, h.Released(), "copies are held back, not fetched batches")

	h.pipe(mid, log[6:]...)
	require.True(t, h.CutDue())
	e = h.seal()
	require.Empty(t, keys(e))
	require.Equal(t, []int64{1}, e.Cuts)
	require.Equal(t, int64(3), position(e, mid).Offset)
	h.committedEpoch(e, 1)
	cuts := h.Cuts()
	require.Len(t, cuts, 1)
	require.Equal(t, record.Epoch(2), cuts[0].Epoch)
	require.Empty(t, cuts[0].InFlight)
	require.False(t, cuts[0].Unaligned)
	require.Equal(t, []checkpointing.InputPosition{{
		Topic: mid, Offset: 3, StreamTimeMs: 4, Ahead: map[record.TaskID]int64{upB: 7},
	}}, cuts[0].Inputs)
	require.Empty(t, h.Cuts())

	h.process()
	e = h.seal()
	require.Equal(t, []string{"a1", "a2", "b2", "a3"}, keys(e))
	require.Equal(t, task.Position{Offset: 9, StreamTime: 8, Checkpoint: 1}, position(e, mid))
}

func TestUnalignedCut(t *testing.T) {
	h := open(t, behindRepartition(t))
	log := interleaved(checkpointing.Barrier{ID: 1, Unaligned: true})
	h.add(mid, 6, log[:6]...)
	require.True(t, h.CutDue(), "a barrier overtakes what is queued before it")
	n, err := h.Process(1, 0)
	require.NoError(t, err)
	require.Equal(t, 1, n)
	e := h.seal()
	require.Equal(t, []string{"a0"}, keys(e))
	require.Equal(t, []int64{1}, e.Cuts)
	h.process()
	h.committedEpoch(e, 1)
	require.Empty(t, h.Cuts(), "it is not known yet where what B has in flight ends")
	h.add(mid, 9, log[6:]...)
	cuts := h.Cuts()
	require.Len(t, cuts, 1)
	require.True(t, cuts[0].Unaligned)
	require.Equal(t, []checkpointing.Range{
		{Topic: mid, From: upA, Start: 1, End: 2}, {Topic: mid, From: upB, Start: 1, End: 6},
	}, cuts[0].InFlight)
	h.process()
	require.Equal(t, []string{"b0", "a1", "b1", "a2", "b2", "a3"}, keys(h.seal()))
}

func TestAlignmentEnds(t *testing.T) {
	timed := checkpointing.Barrier{ID: 1, AlignedTimeoutMs: 10, TimeoutMs: 50}
	for name, c := range map[string]struct {
		barrier checkpointing.Barrier
		buffer  int64
		end     func(t *testing.T, h *harness)
		cut     bool
	}{
		"aligned timeout": {barrier: timed, cut: true, end: func(t *testing.T, h *harness) {
			t.Helper()
			require.Equal(t, int64(10), h.IdleUntil())
			h.nowMs = 10
		}},
		"buffer full": {barrier: one, buffer: 1, cut: true, end: func(t *testing.T, h *harness) {
			t.Helper()
			require.True(t, h.CommitRequested(), "nothing is processed until the cut")
		}},
		"aborted": {barrier: one, end: func(t *testing.T, h *harness) { t.Helper(); h.Abandon(1) }},
		"declined": {barrier: one, end: func(t *testing.T, h *harness) {
			t.Helper()
			h.Decline(1, "because")
			require.Equal(t, []checkpointing.Decline{{ID: 1, Task: h.ID(), Reason: "because"}}, h.Declined())
		}},
		"timeout": {barrier: timed, end: func(t *testing.T, h *harness) { t.Helper(); h.nowMs = 50 }},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := behindRepartition(t)
			cfg.AlignmentBufferBytes = c.buffer
			h := open(t, cfg)
			log := interleaved(c.barrier)
			h.pipe(mid, log[:6]...)
			c.end(t, h)
			_, err := h.Process(1, h.nowMs)
			require.NoError(t, err)
			require.Equal(t, c.cut, h.CutDue())
			e := h.seal()
			require.Equal(t, c.cut, len(e.Cuts) == 1)
			h.committedEpoch(e, 1)
			h.process()
			got := keys(h.seal())
			require.Contains(t, got, "a2")
			h.pipe(mid, log[6:]...)
			require.Equal(t, c.cut, len(h.Cuts()) == 1)
		})
	}
}

// TestTooManyChannelsToHoldBack: an offset's metadata has room for so many tasks that lag behind.
func TestTooManyChannelsToHoldBack(t *testing.T) {
	const tasks = 400
	cfg := behindRepartition(t)
	var upstream []record.TaskID
	var log []record.Raw
	for i := range int32(tasks) {
		upstream = append(upstream, record.TaskID{Subtopology: 1, Partition: i})
		log = append(log, barrier(upstream[i], int64(i), one))
	}
	for i, id := range upstream {
		log = append(log, from(id, int64(tasks+i), "k"))
	}
	upstream = append(upstream, record.TaskID{Subtopology: 2}) // its barrier does not come
	cfg.Channels.Upstreams[mid] = upstream
	h := open(t, cfg)
	h.pipe(mid, log...)
	require.True(t, h.CutDue())
	require.True(t, h.CommitRequested())
	e := h.seal()
	require.Equal(t, []int64{1}, e.Cuts)
	p := position(e, mid)
	require.Greater(t, len(p.Ahead.Except), 100)
	require.Less(t, len(eos.Metadata{Checkpoint: p.Checkpoint, Ahead: p.Ahead}.Encode()), eos.AheadBytesMax)
	h.committedEpoch(e, 1)
	h.process()
	require.Len(t, keys(h.seal()), tasks)
}

func TestRollbackWhileAligning(t *testing.T) {
	h := open(t, behindRepartition(t))
	log := interleaved(one)
	h.pipe(mid, log[:3]...)
	h.commit()
	h.pipe(mid, log[3:7]...)
	e := h.seal()
	require.Equal(t, []int64{1}, e.Cuts)
	h.rollback()
	require.Equal(t, int64(3), h.committed[tp(mid)].Offset)
	require.False(t, h.CutDue(), "the barrier of B has to be read again")
	h.pipe(mid, interleaved(one)[3:]...)
	e = h.seal()
	require.Equal(t, []string{"b1"}, keys(e), "A's barrier was committed: what is behind it is held back again")
	require.Equal(t, []int64{1}, e.Cuts)
	h.committedEpoch(e, 1)
	require.Len(t, h.Cuts(), 1)
	h.process()
	require.Equal(t, []string{"a1", "a2", "b2", "a3"}, keys(h.seal()))
}

// TestRestartWhileAligning starts at a position with records ahead of it.
func TestRestartWhileAligning(t *testing.T) {
	cfg := behindRepartition(t)
	h := open(t, cfg)
	h.pipe(mid, interleaved(one)[:6]...)
	h.commit()
	committed := maps.Clone(h.committed)
	require.NoError(t, h.Close(false))

	tk, err := task.Open(t.Context(), cfg)
	require.NoError(t, err)
	h = &harness{t: t, cfg: cfg, committed: committed, Task: tk}
	t.Cleanup(func() { _ = tk.Close(false) })
	require.NoError(t, tk.Init(maps.Clone(committed), nil, 1, 0))
	h.Checkpoint(one)
	require.Equal(t, []checkpointing.Decline{{
		ID: 1, Task: h.ID(), Reason: "the task was started anew in the middle of it", NotRunning: true,
	}}, h.Declined())
	h.pipe(mid, interleaved(one)[3:]...)
	e := h.seal()
	require.Equal(t, []string{"a1", "a2", "b2", "a3"}, keys(e), "b1 is processed already, barriers mean nothing")
	require.Empty(t, e.Cuts)
	require.Equal(t, task.Position{Offset: 9, StreamTime: 8, Checkpoint: 1}, position(e, mid))
}

// TestSecondCheckpointWhileAligning follows two at a time.
func TestSecondCheckpointWhileAligning(t *testing.T) {
	two := checkpointing.Barrier{ID: 2}
	log := []record.Raw{
		barrier(upA, 0, one), from(upA, 1, "a0"), barrier(upA, 2, two), from(upA, 3, "a1"), from(upB, 4, "b0"),
		barrier(upB, 5, one), from(upB, 6, "b1"), barrier(upB, 7, two), from(upB, 8, "b2"),
	}
	h := open(t, behindRepartition(t))
	for i, want := range [][]string{{"b0"}, {"a0", "b1"}, {"a1", "b2"}} {
		if i == 0 {
			h.pipe(mid, log...)
		} else {
			h.process()
		}
		e := h.seal()
		require.Equal(t, want, keys(e), "between two cuts")
		h.committedEpoch(e, 1)
		if i < 2 {
			cuts := h.Cuts()
			require.Len(t, cuts, 1)
			require.Equal(t, int64(i+1), cuts[0].Barrier.ID)
			require.Empty(t, cuts[0].InFlight)
		}
	}
	require.Equal(t, int64(9), h.committed[tp(mid)].Offset)
}

func TestStop(t *testing.T) {
	h := open(t, behindRepartition(t))
	h.pipe(mid, interleaved(checkpointing.Barrier{ID: 1, Stop: true})...)
	h.commit()
	require.Len(t, h.Cuts(), 1)
	n, err := h.Process(10, 5)
	require.NoError(t, err)
	require.Zero(t, n)
	require.False(t, h.Dirty())
	h.Abandon(1)
	h.process()
	require.Equal(t, []string{"a1", "a2", "b2", "a3"}, keys(h.seal()))
}

func TestRecordsWithoutOrigin(t *testing.T) {
	h := open(t, behindRepartition(t))
	old := raw(0, 0, "old", "v")
	stranger := from(record.TaskID{Subtopology: 9}, 1, "stranger")
	h.pipe(mid, old, stranger)
	require.Equal(t, []string{"old", "stranger"}, keys(h.seal()))
	h.rollback()
	unaligned := checkpointing.Barrier{ID: 1, Unaligned: true}
	h.add(mid, 4, old, barrier(upA, 2, unaligned), barrier(upB, 3, unaligned))
	h.commit()
	require.Empty(t, h.Cuts())
	require.Len(t, h.Declined(), 1, "the old record is in flight")
	h.process()
	require.Equal(t, map[string][]string{"out": {"old=v"}}, h.commit())
}

// TestCheckpointsTurnedOff starts without checkpoints where they were on, in the middle of one.
func TestCheckpointsTurnedOff(t *testing.T) {
	cfg := behindRepartition(t)
	cfg.Channels = nil
	h := open(t, cfg)
	log := interleaved(one)
	h.pipe(mid, log[:3]...)
	require.Equal(t, map[string][]string{"out": {"a0=v", "b0=v"}}, h.commit(), "the barrier is no record")
	require.Equal(t, task.Position{Offset: 3, StreamTime: 1}, h.committed[tp(mid)])

	tk, err := task.Open(t.Context(), cfg)
	require.NoError(t, err)
	t.Cleanup(func() { _ = tk.Close(false) })
	h = &harness{t: t, cfg: cfg, committed: make(map[record.TopicPartition]task.Position), Task: tk}
	require.NoError(t, tk.Init(map[record.TopicPartition]task.Position{tp(mid): {
		Offset: 3, Checkpoint: 1, Ahead: &eos.Ahead{Next: 6, Except: map[record.TaskID]int64{upA: 3}},
	}}, nil, 1, 0))
	h.pipe(mid, log[3:]...)
	e := h.seal()
	require.Equal(t, []string{"a1", "a2", "b2", "a3"}, keys(e), "b1 was processed")
	for _, b := range e.Batches {
		require.Empty(t, b.At(0).Headers)
	}
	require.Equal(t, task.Position{Offset: 9, StreamTime: 8, Checkpoint: 1}, position(e, mid))
}

// TestUpstreamOfRepartition: records name their task, operators do not see it, barriers go to every partition.
func TestUpstreamOfRepartition(t *testing.T) {
	b := topology.NewBuilder()
	texts(b, "in").Repartition(topology.Named("mid")).To("out")
	cfg := harnessConfig(t, b)
	cfg.Partitions = func(string) (int32, error) { return 3, nil }
	cfg.Channels = &task.Channels{Downstream: []string{mid}}
	h := open(t, cfg)
	h.pipe("in", raw(0, 0, "k", "v"))
	h.Checkpoint(one)
	require.True(t, h.CutDue())
	e := h.seal()
	require.Equal(t, []int64{1}, e.Cuts)
	require.Len(t, e.Batches, 3)
	for _, batch := range e.Batches {
		origin, b, _ := checkpointing.SplitHeaders(batch.At(batch.Len() - 1).Headers)
		id, err := checkpointing.ParseTask(origin)
		require.NoError(t, err)
		require.Equal(t, h.ID(), id)
		got, err := checkpointing.ParseBarrier(b)
		require.NoError(t, err)
		require.Equal(t, one, got)
		if batch.Len() == 2 {
			origin, b, rest := checkpointing.SplitHeaders(batch.At(0).Headers)
			require.NotNil(t, origin)
			require.Nil(t, b)
			require.Empty(t, rest)
		}
	}
	h.committedEpoch(e, 1)
	require.Len(t, h.Cuts(), 1)
	h.Checkpoint(one)
	require.False(t, h.CutDue(), "it is over")
}

func TestOperatorsDoNotSeeOrigins(t *testing.T) {
	b := topology.NewBuilder()
	var seen []record.Header
	p := &probe{process: func(_ processor.Context[string, string], r record.Record[string, string]) error {
		seen = append(seen, r.Headers...)
		return nil
	}}
	topology.Process(texts(b, "in").Repartition(topology.Named("mid")),
		func() processor.Processor[string, string, string, string] { return p }, nil, nil)
	cfg := behindRepartition(t)
	plan, err := b.Build()
	require.NoError(t, err)
	cfg.Subtopology = plan.Subtopologies[1]
	h := open(t, cfg)
	r := from(upA, 0, "a")
	r.Headers = append([]record.Header{{Key: "user"}}, r.Headers...)
	h.pipe(mid, r)
	require.Equal(t, []record.Header{{Key: "user"}}, seen)
}

func TestChannelsOf(t *testing.T) {
	b := topology.NewBuilder()
	stream := topology.SelectKey(texts(b, "a"), func(k, _ string) string { return k }, nil)
	left := topology.Reduce(stream.GroupByKey(topology.Named("one")), func(_, v string) string { return v })
	right := topology.Table(b, "r", serde.String, serde.String)
	joined := topology.ForeignKeyJoin(left, right, func(v string) string { return v },
		func(l, _ string) string { return l }, serde.String, topology.Named("fk"))
	joined.ToStream().To("out")
	plan, err := b.Build()
	require.NoError(t, err)
	got := task.ChannelsOf(plan, func(topic string) string { return "app-" + topic },
		func(sub int32) int32 { return sub + 1 })
	const registration, response = "app-fk-subscription-registration-topic", "app-fk-subscription-response-topic"
	ids := func(sub int32) (ids []record.TaskID) {
		for p := range sub + 1 {
			ids = append(ids, record.TaskID{Subtopology: sub, Partition: p})
		}
		return ids
	}
	require.Equal(t, map[int32]*task.Channels{
		0: {
			Upstreams: map[string][]record.TaskID{}, Cyclic: map[string]bool{}, Downstream: []string{"app-one-repartition"},
		},
		1: {
			Upstreams: map[string][]record.TaskID{"app-one-repartition": ids(0), response: ids(2)},
			Cyclic:    map[string]bool{response: true}, Downstream: []string{registration},
		},
		2: {
			Upstreams: map[string][]record.TaskID{registration: ids(1)}, Cyclic: map[string]bool{registration: true},
			Downstream: []string{response},
		},
	}, got, "the join sends both ways between 1 and 2")
}
