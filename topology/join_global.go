package topology

import (
	"fmt"

	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/store"
)

// JoinGlobal joins each record of a stream with the row of a global table that key selects (Kafka Streams'
// KStream.join(GlobalKTable)). The result has the record's key, timestamp and headers; a record without such a row has
// none. The stream need not be partitioned like the table, and is not repartitioned. Only records of the stream
// trigger: an update of the table changes the results of later ones.
//
// Records with a null value are dropped, and so are those for which key returns nil. key sees a null key of a type
// without nil as its zero value. A nil result of joiner is a null value. A nil serde means: as s has it if the type
// stays, else none.
func JoinGlobal[K, V, GK, GV, VR any](
	s *KStream[K, V], table *GlobalKTable[GK, GV], key func(key K, value V) GK, joiner func(value V, row GV) VR,
	valueSerde serde.Serde[VR], opts ...NodeOption,
) *KStream[K, VR] {
	s.b.needFunc("JoinGlobal", key == nil || joiner == nil)
	return joinGlobal(s, "JoinGlobal", table, key, valueSerde, false, opts,
		func(_ K, v V, row Optional[GV]) VR { return joiner(v, row.Value) })
}

// JoinGlobalWithKey is [JoinGlobal] with a function that sees the record's key, which it must not modify.
func JoinGlobalWithKey[K, V, GK, GV, VR any](
	s *KStream[K, V], table *GlobalKTable[GK, GV], key func(key K, value V) GK, joiner func(key K, value V, row GV) VR,
	valueSerde serde.Serde[VR], opts ...NodeOption,
) *KStream[K, VR] {
	s.b.needFunc("JoinGlobalWithKey", key == nil || joiner == nil)
	return joinGlobal(s, "JoinGlobalWithKey", table, key, valueSerde, false, opts,
		func(k K, v V, row Optional[GV]) VR { return joiner(k, v, row.Value) })
}

// LeftJoinGlobal is [JoinGlobal] that also gives a result for a record without a row (Kafka Streams' leftJoin): joiner
// then sees that the row is absent. That includes records for which key returns nil (KIP-962).
func LeftJoinGlobal[K, V, GK, GV, VR any](
	s *KStream[K, V], table *GlobalKTable[GK, GV], key func(key K, value V) GK,
	joiner func(value V, row Optional[GV]) VR, valueSerde serde.Serde[VR], opts ...NodeOption,
) *KStream[K, VR] {
	s.b.needFunc("LeftJoinGlobal", key == nil || joiner == nil)
	return joinGlobal(s, "LeftJoinGlobal", table, key, valueSerde, true, opts,
		func(_ K, v V, row Optional[GV]) VR { return joiner(v, row) })
}

// LeftJoinGlobalWithKey is [LeftJoinGlobal] with a function that sees the record's key, which it must not modify.
func LeftJoinGlobalWithKey[K, V, GK, GV, VR any](
	s *KStream[K, V], table *GlobalKTable[GK, GV], key func(key K, value V) GK,
	joiner func(key K, value V, row Optional[GV]) VR, valueSerde serde.Serde[VR], opts ...NodeOption,
) *KStream[K, VR] {
	s.b.needFunc("LeftJoinGlobalWithKey", key == nil || joiner == nil)
	return joinGlobal(s, "LeftJoinGlobalWithKey", table, key, valueSerde, true, opts, joiner)
}

func joinGlobal[K, V, GK, GV, VR any](
	s *KStream[K, V], operator string, table *GlobalKTable[GK, GV], key func(K, V) GK, valueSerde serde.Serde[VR],
	left bool, opts []NodeOption, joiner func(K, V, Optional[GV]) VR,
) *KStream[K, VR] {
	s.b.same(operator, table.b)
	var c nodeConfig
	for _, o := range opts {
		o.applyNode(&c)
	}
	name := s.b.nodeName(c.name, "KSTREAM-LEFTJOIN-") // Kafka Streams' name for the inner join, too
	node := s.b.addNode(operator, &graphNode{
		name: name, kind: processor.ProcessorNode, keepsNullKeys: left,
		make: func(ctx processor.TaskContext) (any, error) {
			view, err := processor.StateStore[*store.Global[GK, GV]](ctx, table.store)
			if err != nil {
				return nil, fmt.Errorf("topology: node %q: %w", name, err)
			}
			return &globalJoinNode[K, V, GK, GV, VR]{
				userNode: userNode{ctx, name}, table: view, key: key, joiner: joiner, left: left,
				keyNull: record.NullnessOf[GK](), valueNull: record.NullnessOf[VR](),
			}, nil
		},
	}, s.node)
	return &KStream[K, VR]{
		b: s.b, node: node, keySerde: s.keySerde, valueSerde: orCarried(valueSerde, s.valueSerde), rekeyed: s.rekeyed,
	}
}

// globalJoinNode looks rows of a global table up. Owned by the task goroutine.
type globalJoinNode[K, V, GK, GV, VR any] struct {
	processor.Outputs[K, VR]
	userNode

	table     *store.Global[GK, GV]
	key       func(K, V) GK
	joiner    func(K, V, Optional[GV]) VR
	left      bool
	keyNull   record.Nullness[GK]
	valueNull record.Nullness[VR]
}

// Receive implements processor.Receiver.
func (n *globalJoinNode[K, V, GK, GV, VR]) Receive(r record.Record[K, V]) error {
	if r.NullValue {
		n.ctx.Dropped(n.name, "null value in a join with a global table")
		return nil
	}
	n.enter()
	var row Optional[GV]
	if k := n.key(r.Key, r.Value); !n.keyNull.IsNull(k, false) {
		var err error
		if row.Value, row.Present, err = n.table.Get(k); err != nil {
			return err
		}
	} else if !n.left {
		n.ctx.Dropped(n.name, "null look-up key in a join with a global table")
		return nil
	}
	if !row.Present && !n.left {
		return nil
	}
	out := record.WithValue(r, n.joiner(r.Key, r.Value, row))
	out.NullValue = n.valueNull.IsNull(out.Value, false)
	return n.Forward(out)
}
