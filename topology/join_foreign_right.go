package topology

import (
	"fmt"

	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/store"
)

// receiveNode declares the node that keeps subscriptions.
func (j *foreignKeyJoin[K, V, FK, FV, R]) receiveNode(name string, source *graphNode) *graphNode {
	node := j.b.addNode(j.operator, &graphNode{
		name: name, kind: processor.ProcessorNode,
		make: func(ctx processor.TaskContext) (any, error) {
			kv, err := j.openStore(ctx)
			return &receiveNode[K, FK]{userNode: userNode{ctx, name}, kv: kv}, err
		},
	}, source)
	node.useStore(j.subscribers)
	return node
}

// receiveNode keeps the subscriptions of left rows to right rows. Owned by the task goroutine.
type receiveNode[K, FK any] struct {
	processor.Outputs[FK, subscription[K]]
	userNode

	kv *store.KeyValue[subscriptionKey[FK, K], subscriber]
}

// Receive implements processor.Receiver.
func (n *receiveNode[K, FK]) Receive(r record.Record[FK, subscription[K]]) error {
	if r.NullValue || r.NullKey && r.Value.do != subscribeAnswered {
		n.ctx.Dropped(n.name, "subscription of a foreign-key join without a foreign key")
		return nil
	}
	if !r.NullKey { // who refers to nothing wants an answer, and none later
		n.enter()
		key := subscriptionKey[FK, K]{r.Key, r.Value.key}
		var err error
		switch r.Value.do {
		case unsubscribe, unsubscribeAnswered:
			err = n.kv.DeleteWithTimestamp(key, r.Timestamp)
		case subscribe, subscribeAnswered, instructions:
			err = n.kv.PutWithTimestamp(key, subscriber{r.Value.hash, r.Value.partition}, r.Timestamp)
		}
		if err != nil {
			return err
		}
	}
	return n.Forward(r)
}

// askNode declares the node that answers subscriptions.
func (j *foreignKeyJoin[K, V, FK, FV, R]) askNode(name string, receive *graphNode) *graphNode {
	node := j.b.addNode(j.operator, &graphNode{name: name, kind: processor.ProcessorNode}, receive)
	open := j.right.readBy(j.operator, node)
	node.make = func(ctx processor.TaskContext) (any, error) {
		right, err := open(ctx)
		return &askNode[K, FK, FV]{userNode: userNode{ctx, name}, right: right}, err
	}
	return node
}

// askNode answers subscriptions with the right rows. Owned by the task goroutine.
type askNode[K, FK, FV any] struct {
	processor.Outputs[K, answer[FV]]
	userNode

	right tableGetter[FK, FV]
}

// Receive implements processor.Receiver.
func (n *askNode[K, FK, FV]) Receive(r record.Record[FK, subscription[K]]) error {
	do, timestamp := r.Value.do, r.Timestamp
	if do == unsubscribe {
		return nil
	}
	a := answer[FV]{hash: r.Value.hash, partition: r.Value.partition}
	if !r.NullKey {
		row, rowTimestamp, found, err := n.right.get(r.Key)
		if err != nil {
			return err
		}
		if found {
			timestamp = max(timestamp, rowTimestamp)
			if do != unsubscribeAnswered {
				a.right = Some(row)
			}
		}
	}
	if do == subscribe && !a.right.Present {
		return nil
	}
	return n.Forward(record.Record[K, answer[FV]]{Key: r.Value.key, Value: a, Timestamp: timestamp, Headers: r.Headers})
}

// tellNode declares the node that tells subscribers of updates of their right row.
func (j *foreignKeyJoin[K, V, FK, FV, R]) tellNode(name string) *graphNode {
	node := j.b.addNode(j.operator, &graphNode{
		name: name, kind: processor.ProcessorNode,
		make: func(ctx processor.TaskContext) (any, error) {
			kv, err := j.openStore(ctx)
			return &tellNode[K, FK, FV]{userNode: userNode{ctx, name}, kv: kv, keys: j.storeSerde}, err
		},
	}, j.right.node)
	node.useStore(j.subscribers)
	return node
}

// tellNode sends an updated right row to all left rows that refer to it. Owned by the task goroutine.
type tellNode[K, FK, FV any] struct {
	processor.Outputs[K, answer[FV]]
	userNode

	kv     *store.KeyValue[subscriptionKey[FK, K], subscriber]
	keys   subscriptionKeySerde[FK, K]
	prefix []byte // scratch
}

// Receive implements processor.Receiver.
func (n *tellNode[K, FK, FV]) Receive(r record.Record[FK, Change[FV]]) error {
	if r.NullKey || r.Value.OutOfOrder {
		n.ctx.Dropped(n.name, "null key or out-of-order update of a versioned table in a foreign-key join")
		return nil
	}
	n.enter()
	var err error
	if n.prefix, err = n.keys.appendPrefix(n.prefix[:0], r.Key); err != nil {
		return processor.WrapUserError(n.ctx, n.name, fmt.Errorf("topology: encode the foreign key: %w", err))
	}
	a := answer[FV]{right: Optional[FV]{Value: r.Value.New, Present: r.Value.HasNew}}
	for e, err := range n.kv.PrefixScan(n.prefix) {
		if err != nil {
			return err
		}
		a.hash, a.partition = e.Value.hash, e.Value.partition
		err = n.Forward(record.Record[K, answer[FV]]{Key: e.Key.key, Value: a, Timestamp: r.Timestamp, Headers: r.Headers})
		if err != nil {
			return err
		}
	}
	return nil
}
