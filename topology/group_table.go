package topology

import (
	"fmt"

	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
)

// KGroupedTable is a table grouped by another key, ready to be aggregated (Kafka Streams' KGroupedTable). A row that
// changes is subtracted from the group it was in and added to the one it is in now.
type KGroupedTable[K, V any] struct {
	b          *Builder
	node       *graphNode // forwards records of K and Change[V]
	keySerde   serde.Serde[K]
	valueSerde serde.Serde[V]
	name       string
	// repartitioned is the source behind the named repartition topic, shared by all aggregations of the group.
	repartitioned *graphNode
}

// GroupTableBy groups a table by the key that f gives each row, with a value to aggregate (Kafka Streams'
// KTable.groupBy), through a repartition topic. A nil key or value leaves the row out. f must give the same result for
// the same row every time, since it is asked again when the row goes. It gives the table a store if it has none. A nil
// serde means: as t has it if the type stays, else none.
func GroupTableBy[K, V, K2, V2 any](
	t *KTable[K, V], f func(key K, value V) (K2, V2), keySerde serde.Serde[K2], valueSerde serde.Serde[V2],
	opts ...GroupOption,
) *KGroupedTable[K2, V2] {
	const operator = "GroupTableBy"
	b := t.b
	b.needFunc(operator, f == nil)
	c := groupOptions(opts)
	keySerde, valueSerde = orCarried(keySerde, t.keySerde), orCarried(valueSerde, t.valueSerde)
	key, value := serdesOf(b, operator, c.serdeConfig, keySerde, valueSerde)
	needSerdes(b, operator, "the repartition topic", key, value)
	t.state.sendOldValues(true)
	name := b.nodeName(c.name, "KTABLE-SELECT-")
	node := b.addNode(operator, &graphNode{
		name: name, kind: processor.ProcessorNode,
		make: func(ctx processor.TaskContext) (any, error) {
			return &regroupNode[K, V, K2, V2]{
				userNode: userNode{ctx, name}, f: f, keys: keyComparer[K2]{serde: key},
				keyNull: record.NullnessOf[K2](), valueNull: record.NullnessOf[V2](),
			}, nil
		},
	}, t.node)
	return &KGroupedTable[K2, V2]{b: b, node: node, keySerde: key, valueSerde: value, name: c.name}
}

// regroupNode makes, of an update, one record for the old group and one for the new. Owned by the task goroutine.
type regroupNode[K, V, K2, V2 any] struct {
	processor.Outputs[K2, Change[V2]]
	userNode

	f         func(K, V) (K2, V2)
	keys      keyComparer[K2]
	keyNull   record.Nullness[K2]
	valueNull record.Nullness[V2]
}

// Receive implements processor.Receiver.
func (n *regroupNode[K, V, K2, V2]) Receive(r record.Record[K, Change[V]]) error {
	if r.Value.OutOfOrder {
		n.ctx.Dropped(n.name, "out-of-order update of a versioned table in a grouping")
		return nil
	}
	n.enter()
	var (
		oldKey, newKey K2
		c              Change[V2]
	)
	if r.Value.HasOld {
		oldKey, c.Old, c.HasOld = n.selected(r.Key, r.Value.Old)
	}
	if r.Value.HasNew {
		newKey, c.New, c.HasNew = n.selected(r.Key, r.Value.New)
	}
	if c.HasOld && c.HasNew {
		same, err := n.keys.equal(oldKey, newKey)
		if err != nil {
			return processor.WrapUserError(n.ctx, n.name, fmt.Errorf("topology: encode the key: %w", err))
		}
		if same {
			return n.send(r, newKey, c)
		}
	}
	if c.HasOld {
		if err := n.send(r, oldKey, Change[V2]{Old: c.Old, HasOld: true}); err != nil {
			return err
		}
	}
	if c.HasNew {
		return n.send(r, newKey, Change[V2]{New: c.New, HasNew: true})
	}
	return nil
}

func (n *regroupNode[K, V, K2, V2]) selected(key K, value V) (K2, V2, bool) {
	k, v := n.f(key, value)
	return k, v, !n.keyNull.IsNull(k, false) && !n.valueNull.IsNull(v, false)
}

func (n *regroupNode[K, V, K2, V2]) send(r record.Record[K, Change[V]], key K2, c Change[V2]) error {
	return n.Forward(record.Record[K2, Change[V2]]{Key: key, Value: c, Timestamp: r.Timestamp, Headers: r.Headers})
}

// source returns the source node behind the repartition topic.
func (g *KGroupedTable[K, V]) source(operator, nodeName, storeName string) *graphNode {
	sink, source := g.b.generate("KSTREAM-SINK-"), g.b.generate("KSTREAM-SOURCE-")
	if nodeName != "" {
		sink, source = nodeName+"-sink", nodeName+"-source"
	}
	if g.repartitioned != nil {
		return g.repartitioned
	}
	topic := storeName + "-repartition"
	if g.name != "" {
		topic = g.name + "-repartition"
	}
	g.b.repartitions = append(g.b.repartitions, &processor.RepartitionTopic{Name: topic, Position: callerPosition()})
	change := changeSerde[V]{g.valueSerde}
	g.b.addNode(operator, newSinkNode(sink, topic, nil, partitioners[K, Change[V]]{}, g.keySerde, change), g.node)
	node := addSource[K, Change[V]](g.b, operator, source, []string{topic}, g.keySerde, change, sourceConfig{})
	if g.name != "" {
		g.repartitioned = node
	}
	return node
}

// addTableAggregation adds the node of an aggregation of g, with its store, and returns its table.
func addTableAggregation[K, V, A any](
	g *KGroupedTable[K, V], operator, prefix string, opts []StoreOption, valueSerde serde.Serde[A],
	newNode func(r rows[K, A]) listener,
) *KTable[K, A] {
	var c storeConfig
	for _, o := range opts {
		o.applyStore(&c)
	}
	storeName := g.b.storeName(c.store, prefix+"STATE-STORE-")
	parent := g.source(operator, c.name, storeName)
	name := g.b.nodeName(c.name, prefix)
	state := &tableState{store: storeName, keepsOld: true}
	node := g.b.addNode(operator, rowsNode(name, state, newNode), parent)
	addStoreFor(g.b, operator, node, storeName, c, g.keySerde, valueSerde)
	return &KTable[K, A]{
		b: g.b, node: node, keySerde: g.keySerde, valueSerde: valueSerde, state: state,
		view: storeView[K, A](state),
	}
}
