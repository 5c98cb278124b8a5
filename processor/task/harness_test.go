package task_test

import (
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/processor/task"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/store"
	"github.com/tidemarkio/tidemark/topology"
)

// harness is a task with all that its worker would keep beside it.
type harness struct {
	*task.Task

	t         *testing.T
	cfg       task.Config
	committed map[record.TopicPartition]task.Position
	nowMs     int64
}

func tp(topic string) record.TopicPartition { return record.TopicPartition{Topic: topic} }

// harnessConfig is a configuration for the topology's first sub-topology; inputs are partition 0 of its sources.
func harnessConfig(t *testing.T, b *topology.Builder) task.Config {
	t.Helper()
	plan, err := b.Build()
	require.NoError(t, err)
	cfg := task.Config{
		ID: record.TaskID{Subtopology: 1}, ApplicationID: "app", Subtopology: plan.Subtopologies[0],
		Physical:   func(topic string) string { return topic },
		Partitions: func(string) (int32, error) { return 1, nil },
		Changelog:  func(name string) string { return "app-" + name + "-changelog" },
		Logger:     slog.New(slog.DiscardHandler),
		// Tests of other things pipe into one topic and expect results.
		MaxTaskIdle: -1,
		Stores:      store.SetConfig{Dir: t.TempDir(), CachingEnabled: true},
	}
	for _, topic := range cfg.Subtopology.SourceTopics {
		cfg.Inputs = append(cfg.Inputs, tp(topic))
	}
	return cfg
}

// open opens a task and starts it at offset 0 of its inputs.
func open(t *testing.T, cfg task.Config) *harness {
	t.Helper()
	h := &harness{t: t, cfg: cfg, committed: make(map[record.TopicPartition]task.Position)}
	for _, in := range cfg.Inputs {
		h.committed[in] = task.Position{StreamTime: -1}
	}
	tk, err := task.Open(t.Context(), cfg)
	require.NoError(t, err)
	t.Cleanup(func() { _ = tk.Close(false) })
	require.NoError(t, tk.Init(maps.Clone(h.committed), nil, 0, 0))
	h.Task = tk
	return h
}

// raw makes a record with a text as its key and value.
func raw(offset, timestamp int64, key, value string) record.Raw {
	return record.Raw{Key: []byte(key), Value: []byte(value), Offset: offset, Timestamp: timestamp}
}

// pipe adds one batch that ends behind its last record, and processes everything.
func (h *harness) pipe(topic string, records ...record.Raw) {
	h.t.Helper()
	h.add(topic, records[len(records)-1].Offset+1, records...)
	h.process()
}

func (h *harness) add(topic string, next int64, records ...record.Raw) {
	h.Add(task.Input{TopicPartition: tp(topic), Records: records, Next: next, HighWatermark: next, Token: next})
}

func (h *harness) process() {
	h.t.Helper()
	for h.Buffered() {
		n, err := h.Process(1000, h.nowMs)
		require.NoError(h.t, err)
		if n == 0 {
			return // a processor asked for a commit
		}
	}
}

// seal ends the epoch, which must have something to commit.
func (h *harness) seal() *task.Epoch {
	h.t.Helper()
	e, err := h.Seal()
	require.NoError(h.t, err)
	require.NotNil(h.t, e)
	return e
}

// commit ends and commits the epoch. It returns what was written, by topic, as "key=value@timestamp".
func (h *harness) commit() map[string][]string {
	h.t.Helper()
	e := h.seal()
	out := written(e)
	h.committedEpoch(e, int64(e.Number))
	return out
}

// committedEpoch tells the task that its sealed epoch is in; all changelogs end at the same offset.
func (h *harness) committedEpoch(e *task.Epoch, end int64) {
	h.t.Helper()
	maps.Copy(h.committed, e.Positions)
	ends := make([]int64, len(e.Batches))
	for i := range ends {
		ends[i] = end
	}
	require.NoError(h.t, h.Committed(ends, h.nowMs))
}

func (h *harness) rollback() {
	h.t.Helper()
	require.NoError(h.t, h.Rollback(h.committed))
}

// written shows the records of an epoch by topic.
func written(e *task.Epoch) map[string][]string {
	out := make(map[string][]string)
	for _, b := range e.Batches {
		for i := range b.Len() {
			out[b.TopicPartition.Topic] = append(out[b.TopicPartition.Topic], show(b.At(i)))
		}
	}
	return out
}

func show(r record.Raw) string {
	var s strings.Builder
	s.Write(r.Key)
	s.WriteByte('=')
	if r.Value == nil {
		s.WriteString("null")
	}
	s.Write(r.Value)
	return s.String()
}

// texts reads a topic of texts.
func texts(b *topology.Builder, topic string, opts ...topology.SourceOption) *topology.KStream[string, string] {
	return topology.Stream(b, topic, serde.String, serde.String, opts...)
}

// probe is a processor of texts made of functions, each of which may be missing.
type probe struct {
	init    func(ctx processor.Context[string, string]) error
	process func(ctx processor.Context[string, string], r record.Record[string, string]) error
}

func (p *probe) Init(ctx processor.Context[string, string]) error {
	if p.init == nil {
		return nil
	}
	return p.init(ctx)
}

func (p *probe) Process(ctx processor.Context[string, string], r record.Record[string, string]) error {
	if p.process == nil {
		return ctx.Forward(r)
	}
	return p.process(ctx, r)
}

// through puts a probe between the topics "in" and "out".
func through(p *probe) *topology.Builder {
	b := topology.NewBuilder()
	topology.Process(texts(b, "in"), func() processor.Processor[string, string, string, string] { return p },
		serde.String, serde.String, topology.Named("probe")).To("out")
	return b
}

// outputsOf shows what the active epoch has written, before it is sealed.
func (h *harness) outputsOf() map[string][]string {
	return written(&task.Epoch{Batches: slices.Collect(h.Outputs())})
}
