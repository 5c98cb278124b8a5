package topology

import (
	"fmt"

	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
)

// sendNode declares the node that subscribes left's rows.
func (j *foreignKeyJoin[K, V, FK, FV, R]) sendNode(name string) *graphNode {
	return j.b.addNode(j.operator, &graphNode{
		name: name, kind: processor.ProcessorNode,
		make: func(ctx processor.TaskContext) (any, error) {
			return &subscribeNode[K, V, FK]{
				userNode: userNode{ctx, name}, foreignKey: j.foreignKey, preserves: j.preserves,
				keys: keyComparer[FK]{serde: j.right.keySerde}, null: record.NullnessOf[FK](),
				hasher: rowHasher[V]{serde: j.left.valueSerde},
			}, nil
		},
	}, j.left.node)
}

// rowHasher hashes left values. Owned by the task goroutine.
type rowHasher[V any] struct {
	serde   serde.Serde[V]
	scratch []byte
}

func (h *rowHasher[V]) hash(v V) (rowHash, error) {
	encoded, err := h.serde.Append(h.scratch[:0], v)
	if err != nil {
		return rowHash{}, fmt.Errorf("topology: encode the left value of a foreign-key join: %w", err)
	}
	h.scratch = encoded
	return hashOf(encoded), nil
}

// subscribeNode tells the right side which row each left row refers to. Owned by the task goroutine.
type subscribeNode[K, V, FK any] struct {
	processor.Outputs[FK, subscription[K]]
	userNode

	foreignKey func(K, V) FK
	preserves  bool
	keys       keyComparer[FK]
	null       record.Nullness[FK]
	hasher     rowHasher[V]
}

// Receive implements processor.Receiver.
func (n *subscribeNode[K, V, FK]) Receive(r record.Record[K, Change[V]]) error {
	if r.NullKey || r.Value.OutOfOrder {
		n.ctx.Dropped(n.name, "null key or out-of-order update of a versioned table in a foreign-key join")
		return nil
	}
	n.enter()
	before := n.keyOf(r.Key, r.Value.Old, r.Value.HasOld)
	after := n.keyOf(r.Key, r.Value.New, r.Value.HasNew)
	s := subscription[K]{key: r.Key, partition: n.ctx.TaskID().Partition}
	same := false
	var err error
	if r.Value.HasNew {
		s.hash, err = n.hasher.hash(r.Value.New)
	}
	if err == nil && before.Present && after.Present {
		if same, err = n.keys.equal(before.Value, after.Value); err != nil {
			err = fmt.Errorf("topology: encode the foreign key: %w", err)
		}
	}
	if err != nil {
		return processor.WrapUserError(n.ctx, n.name, err)
	}
	if n.preserves {
		if !r.Value.HasOld && !r.Value.HasNew {
			return nil
		}
		return n.move(r, before, after, same, s)
	}
	switch {
	case before.Present && after.Present && !same:
		return n.move(r, before, after, same, s)
	case after.Present:
		return n.send(r, after, s, subscribe)
	case before.Present:
		return n.send(r, before, s, unsubscribeAnswered)
	default:
		if r.Value.HasNew {
			n.ctx.Dropped(n.name, "null foreign key in an inner join")
		}
		return nil
	}
}

// keyOf asks the user for the foreign key of a left row.
func (n *subscribeNode[K, V, FK]) keyOf(key K, value V, exists bool) (k Optional[FK]) {
	if exists {
		k.Value = n.foreignKey(key, value)
		k.Present = !n.null.IsNull(k.Value, false)
	}
	return k
}

// move takes the row from one right row to another and has the result replaced, whatever is found there.
func (n *subscribeNode[K, V, FK]) move(
	r record.Record[K, Change[V]], before, after Optional[FK], same bool, s subscription[K],
) error {
	if before.Present && !same {
		if err := n.send(r, before, s, unsubscribe); err != nil {
			return err
		}
	}
	return n.send(r, after, s, subscribeAnswered)
}

func (n *subscribeNode[K, V, FK]) send(
	r record.Record[K, Change[V]], foreign Optional[FK], s subscription[K], do instruction,
) error {
	s.do = do
	return n.Forward(record.Record[FK, subscription[K]]{
		Key: foreign.Value, NullKey: !foreign.Present, Value: s, Timestamp: r.Timestamp, Headers: r.Headers,
	})
}

// resolver declares the node that makes results of answers.
func (j *foreignKeyJoin[K, V, FK, FV, R]) resolver(name string, source *graphNode) *graphNode {
	node := j.b.addNode(j.operator, &graphNode{name: name, kind: processor.ProcessorNode}, source)
	open := j.left.readBy(j.operator, node)
	node.make = func(ctx processor.TaskContext) (any, error) {
		left, err := open(ctx)
		return &resolveNode[K, V, FV, R]{
			userNode: userNode{ctx, name}, left: left, hasher: rowHasher[V]{serde: j.left.valueSerde},
			preserves: j.preserves, joiner: j.joiner, null: record.NullnessOf[R](),
		}, err
	}
	return node
}

// resolveNode joins answers with the left rows they are about. Owned by the task goroutine.
type resolveNode[K, V, FV, R any] struct {
	processor.Outputs[K, R]
	userNode

	left      tableGetter[K, V]
	hasher    rowHasher[V]
	preserves bool
	joiner    func(V, Optional[FV]) R
	null      record.Nullness[R]
}

// Receive implements processor.Receiver.
func (n *resolveNode[K, V, FV, R]) Receive(r record.Record[K, answer[FV]]) error {
	if r.NullKey || r.NullValue {
		n.ctx.Dropped(n.name, "null key or value among the answers of a foreign-key join")
		return nil
	}
	value, _, found, err := n.left.get(r.Key)
	if err != nil {
		return err
	}
	n.enter()
	var now rowHash
	if found {
		if now, err = n.hasher.hash(value); err != nil {
			return processor.WrapUserError(n.ctx, n.name, err)
		}
	}
	if now != r.Value.hash {
		n.ctx.Dropped(n.name, "late answer in a foreign-key join: the left row has changed since")
		return nil
	}
	var joined R
	exists := found && (r.Value.right.Present || n.preserves)
	if exists {
		joined = n.joiner(value, r.Value.right)
		exists = !n.null.IsNull(joined, false)
	}
	return n.Forward(record.Record[K, R]{
		Key: r.Key, Value: joined, NullValue: !exists, Timestamp: r.Timestamp, Headers: r.Headers,
	})
}
