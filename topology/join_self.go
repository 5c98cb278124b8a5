package topology

import (
	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/store"
)

// selfJoin adds an inner join of a stream with itself, which needs one store (KIP-862). Both stores of the general form
// would hold the same rows, so that its results are the same.
func selfJoin[K, T, V any](
	b *Builder, parent *graphNode, j streamJoin[K, T, T, V], names streamJoinNames, c storeConfig,
	keySerde serde.Serde[K], valueSerde serde.Serde[T],
) *graphNode {
	above := b.addNode(j.operator, &graphNode{
		name: names.thisWindowed, kind: processor.ProcessorNode,
		make: func(processor.TaskContext) (any, error) { return &passNode[K, T]{}, nil },
	}, parent)
	addJoinStore(b, j.operator, above, names.thisStore, c, j.windows, keySerde, valueSerde)
	node := b.addNode(j.operator, &graphNode{
		name: names.merge, kind: processor.ProcessorNode,
		make: func(ctx processor.TaskContext) (any, error) {
			rows, err := processor.StateStore[*store.Window[K, T]](ctx, names.thisStore)
			return &selfJoinNode[K, T, V]{
				userNode: userNode{ctx, names.merge}, rows: rows, joiner: j.joiner, null: record.NullnessOf[V](),
				before: j.windows.before.Milliseconds(), after: j.windows.after.Milliseconds(),
			}, wrapNode(names.merge, err)
		},
	}, above)
	node.useStore(names.thisStore)
	return node
}

// selfJoinNode joins each record with those of the same stream, itself included. Owned by the task goroutine.
type selfJoinNode[K, T, V any] struct {
	processor.Outputs[K, V]
	userNode

	rows          *store.Window[K, T]
	before, after int64
	joiner        func(K, Optional[T], Optional[T]) V
	null          record.Nullness[V]
}

// Receive implements processor.Receiver. The record is first a left one, which cannot meet itself yet, and then a right
// one, which does.
func (n *selfJoinNode[K, T, V]) Receive(r record.Record[K, T]) error {
	if r.NullKey || r.NullValue {
		n.ctx.Dropped(n.name, nullJoinReason)
		return nil
	}
	for e, err := range n.rows.FetchRange(r.Key, max(0, r.Timestamp-n.before), max(0, r.Timestamp+n.after)) {
		if err != nil {
			return err
		}
		if err := n.forward(&r, r.Value, e.Value, e.Start); err != nil {
			return err
		}
	}
	if err := n.rows.PutWithTimestamp(r.Key, r.Value, r.Timestamp, r.Timestamp); err != nil {
		return err
	}
	for e, err := range n.rows.FetchRange(r.Key, max(0, r.Timestamp-n.after), max(0, r.Timestamp+n.before)) {
		if err != nil {
			return err
		}
		if err := n.forward(&r, e.Value, r.Value, e.Start); err != nil {
			return err
		}
	}
	return nil
}

func (n *selfJoinNode[K, T, V]) forward(r *record.Record[K, T], left, right T, other int64) error {
	n.enter()
	out := record.WithValue(*r, n.joiner(r.Key, Some(left), Some(right)))
	out.Timestamp = max(r.Timestamp, other)
	out.NullValue = n.null.IsNull(out.Value, false)
	return n.Forward(out)
}
