package topology

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
)

// droppingContext counts what nodes drop; nothing else is asked of it.
type droppingContext struct {
	processor.TaskContext

	dropped int
}

func (c *droppingContext) Dropped(string, string) { c.dropped++ }
func (c *droppingContext) Enter(string)           {}

// updates keeps what a node forwards.
type updates[K, V any] struct{ all []record.Record[K, V] }

func (u *updates[K, V]) Receive(r record.Record[K, V]) error {
	u.all = append(u.all, r)
	return nil
}

// TestOutOfOrderUpdates: what computes one row of several ignores updates that change only history; what computes a row
// of a row passes them on.
func TestOutOfOrderUpdates(t *testing.T) {
	ctx := &droppingContext{}
	user := userNode{ctx, "node"}
	late := record.Record[string, Change[string]]{
		Key: "k", Value: Change[string]{New: "v", HasNew: true, OutOfOrder: true}, Timestamp: 1,
	}
	// They would panic if they looked at the update: they have neither stores nor functions.
	for _, n := range []processor.Receiver[string, Change[string]]{
		&joinTablesNode[string, string, string, string]{userNode: user},
		&subscribeNode[string, string, string]{userNode: user},
		&tellNode[string, string, string]{userNode: user},
		&regroupNode[string, string, string, string]{userNode: user},
	} {
		before := ctx.dropped
		require.NoError(t, n.Receive(late))
		require.Equal(t, before+1, ctx.dropped, "%T", n)
	}
	for _, n := range []interface {
		processor.Receiver[string, Change[string]]
		processor.Attacher
	}{
		&tableFilterNode[string, string]{
			rows: rows[string, string]{userNode: user}, predicate: func(string, string) bool { return true }, keep: true,
		},
		&tableMapValuesNode[string, string, string]{
			rows: rows[string, string]{userNode: user}, f: func(_, v string) string { return v },
		},
	} {
		var below updates[string, Change[string]]
		require.NoError(t, n.Attach("below", &below))
		require.NoError(t, n.Receive(late))
		require.Equal(t, []record.Record[string, Change[string]]{late}, below.all, "%T", n)
	}
}

// TestJoinTableAsOf: a stream is joined with a versioned table as it was at the record's time.
func TestJoinTableAsOf(t *testing.T) {
	b := NewBuilder()
	table := Table(b, "t", serde.String, serde.String)
	table.view = tableView[string, string]{
		stores: func() []string { return nil },
		open: func(processor.TaskContext) (tableGetter[string, string], error) {
			return tableGetter[string, string]{
				get: func(string) (string, int64, bool, error) { return "now", 9, true, nil },
				getAsOf: func(_ string, at int64) (string, int64, bool, error) {
					return "then", at, at >= 5, nil
				},
			}, nil
		},
	}
	marked := MapTableValues(table.Filter(func(string, string) bool { return true }),
		func(v string) string { return v + "!" }, nil)
	joined := LeftJoinTable(Stream(b, "s", serde.String, serde.String), marked,
		func(v string, row Optional[string]) string { return v + row.Or("none") }, nil)
	node, err := joined.node.make(&droppingContext{})
	require.NoError(t, err)
	var out updates[string, string]
	join, ok := node.(*joinTableNode[string, string, string, string])
	require.True(t, ok)
	require.NoError(t, join.Attach("out", &out))
	for _, at := range []int64{4, 5} {
		require.NoError(t, join.Receive(record.Record[string, string]{Key: "k", Value: "v", Timestamp: at}))
	}
	require.Equal(t, "vnone", out.all[0].Value)
	require.Equal(t, "vthen!", out.all[1].Value)
}
