package worker

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/eos"
	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/store"
	"github.com/tidemarkio/tidemark/topology"
)

func tablePlan(t *testing.T, opts ...topology.BuilderOption) *processor.Plan {
	t.Helper()
	b := topology.NewBuilder(opts...)
	topology.Table(b, "in", serde.String, serde.String, topology.As("rows"))
	plan, err := b.Build()
	require.NoError(t, err)
	return plan
}

// TestRestoreFromSourceTopic has a table whose source is its changelog: it is restored up to the committed position and
// no further, from local state if there is some.
func TestRestoreFromSourceTopic(t *testing.T) {
	r := newRestoring(t)
	r.plan = tablePlan(t, topology.ReuseSourceTopics)
	put := func(key, value string) {
		r.c.mu.Lock()
		defer r.c.mu.Unlock()
		raw := record.Raw{Key: []byte(key), Timestamp: 1}
		if value != "" {
			raw.Value = []byte(value)
		}
		r.c.appendLocked(in0, raw)
	}
	commit := func(offset int64) {
		r.c.mu.Lock()
		defer r.c.mu.Unlock()
		r.c.offsets[in0] = eos.Offset{Offset: offset}
	}
	restore := func() (rows map[string]string, start RestoreStart) {
		r.starts = nil
		got, err := r.restorer.Restore(context.Background(), taskID(0))
		require.NoError(t, err)
		rows = rowsOf(t, got)
		require.NoError(t, got.Task.Close(true))
		require.Len(t, r.starts, 1)
		require.Equal(t, in0, r.starts[0].TopicPartition)
		return rows, r.starts[0]
	}
	put("a", "1")
	put("b", "1")
	put("a", "2")
	rows, start := restore()
	require.Empty(t, rows, "nothing was committed")
	require.Zero(t, start.To)

	commit(2)
	rows, start = restore()
	require.Equal(t, map[string]string{"a": "1", "b": "1"}, rows)
	require.Equal(t, int64(2), start.To)

	put("b", "")
	commit(4)
	rows, start = restore()
	require.Equal(t, map[string]string{"a": "2"}, rows)
	require.Equal(t, "local", start.Base)
	require.Equal(t, int64(2), start.From)

	commit(1) // somebody set the group back
	rows, start = restore()
	require.Equal(t, map[string]string{"a": "1"}, rows)
	require.Equal(t, "none", start.Base)
}

// TestChangelogOfATableChanges builds the same table with and without the rule in turn. Its local positions are then
// those of another log.
func TestChangelogOfATableChanges(t *testing.T) {
	r := newRestoring(t)
	rows := part("rows-changelog", 0)
	r.c.mu.Lock()
	for _, key := range []string{"a", "b", "c"} {
		r.c.appendLocked(in0, record.Raw{Key: []byte(key), Value: []byte("in"), Timestamp: 1})
	}
	r.c.appendLocked(rows, record.Raw{Key: []byte("a"), Value: []byte("changelog"), Timestamp: 1})
	r.c.offsets[in0] = eos.Offset{Offset: 3}
	r.c.mu.Unlock()
	for _, c := range []struct {
		opts    []topology.BuilderOption
		want    map[string]string
		removed int
	}{
		{nil, map[string]string{"a": "changelog"}, 0},
		{[]topology.BuilderOption{topology.OptimizeAll()}, map[string]string{"a": "in", "b": "in", "c": "in"}, 1},
		{nil, map[string]string{"a": "changelog"}, 2},
		{nil, map[string]string{"a": "changelog"}, 2},
	} {
		r.plan = tablePlan(t, c.opts...)
		got, err := r.restorer.Restore(context.Background(), taskID(0))
		require.NoError(t, err)
		require.Equal(t, c.want, rowsOf(t, got))
		require.NoError(t, got.Task.Close(true))
		require.Equal(t, c.removed, r.dir.marked(taskID(0), "remove"))
	}
}

func rowsOf(t *testing.T, r *Restored) map[string]string {
	t.Helper()
	s, ok := r.Task.Stores().Store("rows")
	require.True(t, ok)
	kv, ok := s.(*store.KeyValue[string, string])
	require.True(t, ok)
	out := make(map[string]string)
	for e, err := range kv.All() {
		require.NoError(t, err)
		out[e.Key] = e.Value
	}
	return out
}
