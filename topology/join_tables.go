package topology

import (
	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
)

// JoinTables joins the rows of two tables that have the same key (Kafka Streams' KTable.join). The result has a row
// where both have one; an update of either side updates it, with the later of the two rows' timestamps. A deletion is
// forwarded whenever the other side has a row, also if there was no result before. A nil result of joiner deletes the
// row.
//
// The topics of both sides must have the same number of partitions. Tables without a store get one, or are computed
// from the tables they are made of. With [As] the result has a store of its own; otherwise joiner may be called more
// than once per update, also for old rows. joiner is called for rows, never for deleted ones. A nil serde means: as
// left has it if the type stays, else none.
//
// Give the join a store if you aggregate it and its tables cache: when both sides of a row have changed between two
// commits, a join without a store forwards the new value twice as if there had been none before, and a count of it
// counts twice, as in Kafka Streams (KAFKA-4609).
func JoinTables[K, L, R, V any](
	left *KTable[K, L], right *KTable[K, R], joiner func(left L, right R) V, valueSerde serde.Serde[V],
	opts ...StoreOption,
) *KTable[K, V] {
	left.b.needFunc("JoinTables", joiner == nil)
	return joinTables(left, right, "JoinTables", sides{left: true, right: true}, opts, valueSerde,
		func(l Optional[L], r Optional[R]) V { return joiner(l.Value, r.Value) })
}

// LeftJoinTables is [JoinTables] for every row of the left table: without a right row joiner sees that it is absent
// (Kafka Streams' KTable.leftJoin).
func LeftJoinTables[K, L, R, V any](
	left *KTable[K, L], right *KTable[K, R], joiner func(left L, right Optional[R]) V, valueSerde serde.Serde[V],
	opts ...StoreOption,
) *KTable[K, V] {
	left.b.needFunc("LeftJoinTables", joiner == nil)
	return joinTables(left, right, "LeftJoinTables", sides{left: true}, opts, valueSerde,
		func(l Optional[L], r Optional[R]) V { return joiner(l.Value, r) })
}

// OuterJoinTables is [JoinTables] for every row of either table: joiner sees which side is absent, never both (Kafka
// Streams' KTable.outerJoin).
func OuterJoinTables[K, L, R, V any](
	left *KTable[K, L], right *KTable[K, R], joiner func(left Optional[L], right Optional[R]) V,
	valueSerde serde.Serde[V], opts ...StoreOption,
) *KTable[K, V] {
	left.b.needFunc("OuterJoinTables", joiner == nil)
	return joinTables(left, right, "OuterJoinTables", sides{}, opts, valueSerde, joiner)
}

// sides says which sides of a join of tables must have a row for the result to have one.
type sides struct{ left, right bool }

func joinTables[K, L, R, V any](
	left *KTable[K, L], right *KTable[K, R], operator string, needed sides, opts []StoreOption, valueSerde serde.Serde[V],
	joiner func(Optional[L], Optional[R]) V,
) *KTable[K, V] {
	b := left.b
	var c storeConfig
	for _, o := range opts {
		o.applyStore(&c)
	}
	b.same(operator, right.b)
	valueSerde = orCarried(valueSerde, left.valueSerde)
	name := b.nodeName(c.name, "KTABLE-MERGE-")
	// Only what can lose its row without losing the result has to tell what it was.
	if !needed.right {
		left.state.sendOldValues(true)
	}
	if !needed.left {
		right.state.sendOldValues(true)
	}
	state := &tableState{joined: []*tableState{left.state, right.state}}
	this := &graphNode{name: b.suffixedName(c.name, "-join-this", "KTABLE-JOINTHIS-"), kind: processor.ProcessorNode}
	other := &graphNode{name: b.suffixedName(c.name, "-join-other", "KTABLE-JOINOTHER-"), kind: processor.ProcessorNode}
	b.addNode(operator, this, left.node)
	b.addNode(operator, other, right.node)
	openRight, openLeft := right.readBy(operator, this), left.readBy(operator, other)
	joinSide(this, state, openRight, needed.left, needed.right, joiner)
	joinSide(other, state, openLeft, needed.right, needed.left,
		func(r Optional[R], l Optional[L]) V { return joiner(l, r) })
	merge := b.addNode(operator, rowsNode(name, state,
		func(r rows[K, V]) listener { return &mergeTablesNode[K, V]{rows: r} }), this, other)
	view := joinedView(left.view, right.view, needed, name, joiner)
	if c.store != "" {
		state.store = c.store
		addStoreFor(b, operator, merge, c.store, c, left.keySerde, valueSerde)
		view = storeView[K, V](state)
	}
	return &KTable[K, V]{b: b, node: merge, keySerde: left.keySerde, valueSerde: valueSerde, state: state, view: view}
}

// joinSide makes n the node that joins updates of one side with the rows of the other.
func joinSide[K, U, O, V any](
	n *graphNode, state *tableState, open openTable[K, O],
	needsUpdated, needsOther bool, joiner func(Optional[U], Optional[O]) V,
) {
	name := n.name
	n.bind = func() func(ctx processor.TaskContext) (any, error) {
		sendOld := state.sendOld
		return func(ctx processor.TaskContext) (any, error) {
			other, err := open(ctx)
			return &joinTablesNode[K, U, O, V]{
				userNode: userNode{ctx, name}, other: other, joiner: joiner, null: record.NullnessOf[V](),
				needsUpdated: needsUpdated, needsOther: needsOther, sendOld: sendOld,
			}, err
		}
	}
}

// joinTablesNode joins the updates of one side, U, with the rows of the other, O. Owned by the task goroutine.
type joinTablesNode[K, U, O, V any] struct {
	processor.Outputs[K, Change[V]]
	userNode

	other                    tableGetter[K, O]
	joiner                   func(Optional[U], Optional[O]) V
	null                     record.Nullness[V]
	needsUpdated, needsOther bool
	sendOld                  bool
}

// Receive implements processor.Receiver.
func (n *joinTablesNode[K, U, O, V]) Receive(r record.Record[K, Change[U]]) error {
	if r.NullKey || r.Value.OutOfOrder {
		n.ctx.Dropped(n.name, "null key or out-of-order update of a versioned table in a join of tables")
		return nil
	}
	value, timestamp, found, err := n.other.get(r.Key)
	if err != nil {
		return err
	}
	var other Optional[O]
	if found {
		other = Some(value)
		timestamp = max(timestamp, r.Timestamp)
	} else {
		if n.needsOther || !r.Value.HasNew && !r.Value.HasOld {
			return nil
		}
		timestamp = r.Timestamp
	}
	var c Change[V]
	c.New, c.HasNew = n.join(Optional[U]{r.Value.New, r.Value.HasNew}, other)
	if n.sendOld {
		c.Old, c.HasOld = n.join(Optional[U]{r.Value.Old, r.Value.HasOld}, other)
	}
	return n.Forward(record.Record[K, Change[V]]{Key: r.Key, Value: c, Timestamp: timestamp, Headers: r.Headers})
}

func (n *joinTablesNode[K, U, O, V]) join(updated Optional[U], other Optional[O]) (joined V, exists bool) {
	if !updated.Present && (n.needsUpdated || !other.Present) {
		return joined, false
	}
	n.enter()
	joined = n.joiner(updated, other)
	return joined, !n.null.IsNull(joined, false)
}

// mergeTablesNode takes the results of both sides of a join. Owned by the task goroutine.
type mergeTablesNode[K, V any] struct {
	rows[K, V]
}

// Receive implements processor.Receiver.
func (n *mergeTablesNode[K, V]) Receive(r record.Record[K, Change[V]]) error {
	return n.update(r.Key, r.Value, r.Timestamp, r.Headers)
}

// joinedView computes the rows of a join without a store. node is whose function joiner is.
func joinedView[K, L, R, V any](
	left tableView[K, L], right tableView[K, R], needed sides, node string, joiner func(Optional[L], Optional[R]) V,
) tableView[K, V] {
	if left.open == nil || right.open == nil {
		return tableView[K, V]{}
	}
	return tableView[K, V]{
		stores: bothViews(left, right),
		open: func(ctx processor.TaskContext) (tableGetter[K, V], error) {
			l, err := left.open(ctx)
			if err != nil {
				return tableGetter[K, V]{}, err
			}
			r, err := right.open(ctx)
			g := joinedGetter[K, L, R, V]{
				userNode: userNode{ctx, node}, left: l, right: r, needed: needed, joiner: joiner, null: record.NullnessOf[V](),
			}
			return tableGetter[K, V]{get: g.get}, err // without history: a join is not versioned (KIP-914)
		},
	}
}

// joinedGetter joins two rows when they are asked for. Owned by the task goroutine.
type joinedGetter[K, L, R, V any] struct {
	userNode

	left   tableGetter[K, L]
	right  tableGetter[K, R]
	needed sides
	joiner func(Optional[L], Optional[R]) V
	null   record.Nullness[V]
}

func (g *joinedGetter[K, L, R, V]) get(key K) (joined V, timestamp int64, exists bool, err error) {
	var l Optional[L]
	var r Optional[R]
	var leftTimestamp, rightTimestamp int64
	if l.Value, leftTimestamp, l.Present, err = g.left.get(key); err != nil || g.needed.left && !l.Present {
		return joined, 0, false, err
	}
	r.Value, rightTimestamp, r.Present, err = g.right.get(key)
	if err != nil || g.needed.right && !r.Present || !l.Present && !r.Present {
		return joined, 0, false, err
	}
	g.enter()
	joined = g.joiner(l, r)
	if g.null.IsNull(joined, false) {
		return joined, 0, false, nil
	}
	return joined, max(leftTimestamp, rightTimestamp), true, nil
}
