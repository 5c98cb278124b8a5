package topology

import (
	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
)

// JoinTable looks each record of the stream up in the table, by its key, and joins it with the row found (Kafka
// Streams' KStream.join with a KTable). Without a row there is no result. Only records of the stream give results, with
// their own timestamps; an update of the table shows in the records behind it.
//
// Records with a null key or value are dropped; a nil result of joiner is null. The stream goes through a repartition
// topic if its key may have changed: <name>-repartition with [Named]. The topics of both sides must have the same
// number of partitions. A table without a store gets one. Against a [Versioned] table the row is the one as of the
// record's time; with [JoinGrace] records wait for late updates of it. A nil serde means: as s has it if the type
// stays, else none.
func JoinTable[K, V, T, R any](
	s *KStream[K, V], t *KTable[K, T], joiner func(value V, row T) R, valueSerde serde.Serde[R], opts ...JoinTableOption,
) *KStream[K, R] {
	const operator = "JoinTable"
	s.b.needFunc(operator, joiner == nil)
	return joinTable(s, t, operator, false, opts, valueSerde,
		func(_ K, v V, row Optional[T]) R { return joiner(v, row.Value) })
}

// JoinTableWithKey is [JoinTable] with a joiner that sees the key (ValueJoinerWithKey), which it must not modify.
func JoinTableWithKey[K, V, T, R any](
	s *KStream[K, V], t *KTable[K, T], joiner func(key K, value V, row T) R, valueSerde serde.Serde[R],
	opts ...JoinTableOption,
) *KStream[K, R] {
	const operator = "JoinTableWithKey"
	s.b.needFunc(operator, joiner == nil)
	return joinTable(s, t, operator, false, opts, valueSerde,
		func(k K, v V, row Optional[T]) R { return joiner(k, v, row.Value) })
}

// LeftJoinTable is [JoinTable] for every record of the stream: without a row joiner sees that it is absent (Kafka
// Streams' leftJoin). So it does for a null key (KIP-962), which therefore also passes a repartition topic above.
// Records with a null value are dropped.
func LeftJoinTable[K, V, T, R any](
	s *KStream[K, V], t *KTable[K, T], joiner func(value V, row Optional[T]) R, valueSerde serde.Serde[R],
	opts ...JoinTableOption,
) *KStream[K, R] {
	const operator = "LeftJoinTable"
	s.b.needFunc(operator, joiner == nil)
	return joinTable(s, t, operator, true, opts, valueSerde,
		func(_ K, v V, row Optional[T]) R { return joiner(v, row) })
}

// LeftJoinTableWithKey is [LeftJoinTable] with a joiner that sees the key, which it must not modify. A null key is
// passed as the zero value.
func LeftJoinTableWithKey[K, V, T, R any](
	s *KStream[K, V], t *KTable[K, T], joiner func(key K, value V, row Optional[T]) R, valueSerde serde.Serde[R],
	opts ...JoinTableOption,
) *KStream[K, R] {
	const operator = "LeftJoinTableWithKey"
	s.b.needFunc(operator, joiner == nil)
	return joinTable(s, t, operator, true, opts, valueSerde, joiner)
}

func joinTable[K, V, T, R any](
	s *KStream[K, V], t *KTable[K, T], operator string, left bool, opts []JoinTableOption, valueSerde serde.Serde[R],
	joiner func(key K, value V, row Optional[T]) R,
) *KStream[K, R] {
	b := s.b
	var c joinTableConfig
	for _, o := range opts {
		o.applyJoinTable(&c)
	}
	b.same(operator, t.b)
	prefix := "KSTREAM-JOIN-"
	if left {
		prefix = "KSTREAM-LEFTJOIN-"
	}
	s = repartitionForJoin(operator, s, c.name, c.serdeConfig)
	name := b.nodeName(c.name, prefix)
	node := b.addNode(operator, &graphNode{
		name: name, kind: processor.ProcessorNode, keepsNullKeys: left,
	}, s.node)
	open := t.readBy(operator, node)
	var buffer string
	if c.buffered {
		buffer = addJoinBuffer(s, operator, node, t.state.versioned(), c)
	}
	node.make = func(ctx processor.TaskContext) (any, error) {
		table, err := open(ctx)
		if err != nil {
			return nil, err
		}
		n := &joinTableNode[K, V, T, R]{
			userNode: userNode{ctx, name}, table: table, left: left, joiner: joiner, null: record.NullnessOf[R](),
		}
		if buffer == "" {
			return n, nil
		}
		return newJoinGraceNode(n, buffer, c.grace)
	}
	return &KStream[K, R]{
		b: b, node: node, keySerde: s.keySerde, valueSerde: orCarried(valueSerde, s.valueSerde),
	}
}

// joinTableNode joins records with the rows of a table. Owned by the task goroutine.
type joinTableNode[K, V, T, R any] struct {
	processor.Outputs[K, R]
	userNode

	table  tableGetter[K, T]
	left   bool
	joiner func(K, V, Optional[T]) R
	null   record.Nullness[R]
}

// Receive implements processor.Receiver.
func (n *joinTableNode[K, V, T, R]) Receive(r record.Record[K, V]) error {
	if r.NullValue || r.NullKey && !n.left {
		n.ctx.Dropped(n.name, "null key or value in a join with a table")
		return nil
	}
	return n.join(r)
}

// join looks a record up and forwards the result.
func (n *joinTableNode[K, V, T, R]) join(r record.Record[K, V]) error {
	var row Optional[T]
	if !r.NullKey {
		var err error
		if n.table.getAsOf != nil {
			row.Value, _, row.Present, err = n.table.getAsOf(r.Key, r.Timestamp)
		} else {
			row.Value, _, row.Present, err = n.table.get(r.Key)
		}
		if err != nil {
			return err
		}
	}
	if !row.Present && !n.left {
		return nil
	}
	n.enter()
	joined := n.joiner(r.Key, r.Value, row)
	out := record.WithValue(r, joined)
	out.NullValue = n.null.IsNull(joined, false)
	return n.Forward(out)
}
