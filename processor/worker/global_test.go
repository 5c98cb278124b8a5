package worker

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/internal/clock"
	"github.com/tidemarkio/tidemark/processor/task"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/store"
	"github.com/tidemarkio/tidemark/topology"
)

// globalBench is an instance with global tables over a cluster, with local state on disk.
type globalBench struct {
	t      *testing.T
	c      *cluster
	dir    *fakeDir
	topics []string // of the tables, whose stores are s0, s1 and so on
	memory bool
	policy string
	age    time.Duration // since local state was written
	starts []RestoreStart
}

func newGlobalBench(t *testing.T, topics ...string) *globalBench {
	t.Helper()
	return &globalBench{t: t, c: newCluster(), dir: &fakeDir{root: t.TempDir()}, topics: topics, policy: "compact"}
}

// open fills the tables from two partitions each.
func (b *globalBench) open(ctx context.Context) (*Global, error) {
	tb := topology.NewBuilder()
	topology.Stream(tb, "in", serde.String, serde.String).To("out")
	for i, topic := range b.topics {
		opts := []topology.TableOption{topology.As("s" + string(rune('0'+i)))}
		if b.memory {
			opts = append(opts, topology.InMemory())
		}
		topology.GlobalTable(tb, topic, serde.String, serde.String, opts...)
	}
	plan := tb.MustBuild()
	log := slog.New(slog.DiscardHandler)
	cfg := GlobalConfig{
		Stores: plan.Globals, Fetcher: newFakeFetcher(b.c), Admin: fakeAdmin{c: b.c}, StateDir: b.dir,
		TopicConfig: func(string) map[string]string {
			return map[string]string{"delete.retention.ms": "60000", "cleanup.policy": b.policy}
		},
		Listener: RestoreListener{OnStart: func(s RestoreStart) { b.starts = append(b.starts, s) }},
		Clock:    clock.Fixed(func() time.Time { return time.Now().Add(b.age) }), Logger: log,
		Task: task.Config{
			ID: record.GlobalTaskID(), ApplicationID: "app", Subtopology: plan.GlobalSubtopology(), Logger: log,
			Physical: func(topic string) string { return topic },
		},
	}
	for _, topic := range b.topics {
		cfg.Task.Inputs = append(cfg.Task.Inputs, part(topic, 0), part(topic, 1))
	}
	b.starts = nil
	return OpenGlobal(ctx, cfg)
}

func (b *globalBench) mustOpen() *Global {
	b.t.Helper()
	g, err := b.open(b.t.Context())
	require.NoError(b.t, err)
	return g
}

// close closes it cleanly.
func (b *globalBench) close(g *Global) {
	b.t.Helper()
	require.NoError(b.t, g.Close(true))
}

// rows reads a table, as "key=value@timestamp" in key order.
func (b *globalBench) rows(g *Global, name string) (rows []string) {
	b.t.Helper()
	s, ok, err := g.View(name)
	require.NoError(b.t, err)
	require.True(b.t, ok)
	view, ok := s.(*store.Global[string, string])
	require.True(b.t, ok)
	for e, err := range view.All() {
		require.NoError(b.t, err)
		rows = append(rows, e.Key+"="+e.Value)
	}
	return rows
}

// put appends a row; an empty value is a tombstone.
func (b *globalBench) put(tp record.TopicPartition, key, value string) {
	b.c.mu.Lock()
	r := record.Raw{Key: []byte(key), Timestamp: 1}
	if value != "" {
		r.Value = []byte(value)
	}
	b.c.appendLocked(tp, r)
	f := b.c.fetcher
	b.c.mu.Unlock()
	if f != nil {
		f.deliver(tp)
	}
}

// from returns the base of each partition and where it is read from.
func (b *globalBench) from() map[string]int64 {
	out := make(map[string]int64)
	for _, s := range b.starts {
		out[s.Base+" "+s.TopicPartition.String()] = s.From
	}
	return out
}

// A start continues where the local state ends, whatever else ended the process.
func TestGlobalContinues(t *testing.T) {
	t.Parallel()
	b := newGlobalBench(t, "t")
	b.put(part("t", 0), "a", "1")
	b.put(part("t", 0), "b", "1")
	b.put(part("t", 1), "c", "1")
	g := b.mustOpen()
	require.Equal(t, map[string]int64{"none t-0": 0, "none t-1": 0}, b.from())
	require.Equal(t, []string{"a=1", "b=1", "c=1"}, b.rows(g, "s0"))
	require.Equal(t, []GlobalSnapshot{{Store: "s0", Inputs: []InputSnapshot{
		{TopicPartition: part("t", 0), Committed: 2}, {TopicPartition: part("t", 1), Committed: 1},
	}}}, g.Snapshot())
	_, ok, err := g.View("other")
	require.NoError(t, err)
	require.False(t, ok)
	b.close(g)
	require.Equal(t, 1, b.dir.marked(record.GlobalTaskID(), "clean"))

	b.put(part("t", 0), "a", "")
	b.put(part("t", 1), "d", "2")
	g = b.mustOpen()
	require.Equal(t, map[string]int64{"local t-0": 2, "local t-1": 1}, b.from())
	require.Equal(t, []string{"b=1", "c=1", "d=2"}, b.rows(g, "s0"))
	require.NoError(t, g.Close(false))
	require.Equal(t, 1, b.dir.marked(record.GlobalTaskID(), "clean"), "not after an error")

	b.dir.distrust = "the machine was restarted"
	g = b.mustOpen()
	require.Equal(t, map[string]int64{"none t-0": 0, "none t-1": 0}, b.from())
	require.Equal(t, []string{"b=1", "c=1", "d=2"}, b.rows(g, "s0"))
	b.close(g)
}

// Local state that cannot be caught up is not used.
func TestGlobalBases(t *testing.T) {
	t.Parallel()
	none := map[string]int64{"none t-0": 0, "none t-1": 0}
	for name, c := range map[string]struct {
		change func(b *globalBench)
		from   map[string]int64
		rows   []string
	}{
		"another topic": {
			func(b *globalBench) { b.topics = []string{"u"} },
			map[string]int64{"none u-0": 0, "none u-1": 0},
			nil,
		},
		"one more table": {
			func(b *globalBench) { b.topics = []string{"t", "u"} },
			map[string]int64{"local t-0": 1, "local t-1": 0, "none u-0": 0, "none u-1": 0},
			[]string{"a=1", "b=2"},
		},
		"tombstones may be gone": {
			func(b *globalBench) { b.age = 2 * time.Minute }, none, []string{"a=1", "b=2"},
		},
		"tombstones are records like others": {
			func(b *globalBench) { b.age, b.policy = 2*time.Minute, "delete" },
			map[string]int64{"local t-0": 1, "local t-1": 0},
			[]string{"a=1", "b=2"},
		},
		"the log begins behind it": {
			func(b *globalBench) {
				b.put(part("t", 0), "c", "3")
				b.c.starts[part("t", 0)] = 2
			},
			map[string]int64{"none t-0": 2, "none t-1": 0},
			[]string{"c=3"},
		},
		"the log is another one": {
			func(b *globalBench) { b.c.logs[part("t", 0)] = nil }, none, nil,
		},
		"it is in memory now": {
			func(b *globalBench) { b.memory = true }, none, []string{"a=1", "b=2"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newGlobalBench(t, "t")
			b.put(part("t", 0), "a", "1")
			b.close(b.mustOpen())
			b.put(part("t", 0), "b", "2")
			c.change(b)
			g := b.mustOpen()
			require.Equal(t, c.from, b.from())
			require.Equal(t, c.rows, b.rows(g, "s0"))
			b.close(g)
		})
	}
}

// What arrives while tasks run is shown to the views, and an error ends the goroutine.
func TestGlobalFollows(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newGlobalBench(t, "t")
		b.memory = true // Badger's goroutines would keep the bubble's time from moving
		g := b.mustOpen()
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- g.Follow(ctx) }()
		b.put(part("t", 1), "a", "1")
		b.put(part("t", 0), "b", "1")
		synctest.Wait()
		require.Equal(t, []string{"a=1", "b=1"}, b.rows(g, "s0"))
		b.put(part("t", 1), "a", "")
		synctest.Wait()
		require.Equal(t, []string{"b=1"}, b.rows(g, "s0"))
		cancel()
		require.NoError(t, <-ended)
		b.close(g)
	})
}

// A start that cannot reach the end of a topic ends with its context and leaves nothing open.
func TestGlobalStartIsCancelled(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newGlobalBench(t, "t")
		b.memory = true
		b.c.logs[part("t", 0)] = []record.Raw{{}}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		b.c.undecided = -1 // an end beyond all that is delivered
		_, err := b.open(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorContains(t, err, "global stores: reading 1 partitions")
	})
}
