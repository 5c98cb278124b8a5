package topology

import (
	"github.com/tidemarkio/tidemark/serde"
)

// KGroupedStream is a stream grouped by key, ready to be aggregated (Kafka Streams' KGroupedStream).
type KGroupedStream[K, V any] struct {
	stream     *KStream[K, V]
	keySerde   serde.Serde[K]
	valueSerde serde.Serde[V]
	// name is the user's name for the repartition topic, "" if it follows from the store.
	name string
	// repartitioned is the source behind the named repartition topic, shared by all aggregations of the group.
	repartitioned *graphNode
}

// GroupByKey groups the stream by its key. It goes through a repartition topic if the key may have changed since the
// source: <name>-repartition with [Named], else named after the store of the aggregation.
func (s *KStream[K, V]) GroupByKey(opts ...GroupOption) *KGroupedStream[K, V] {
	return group(s, "GroupByKey", groupOptions(opts))
}

// GroupBy groups the stream by a new key (SelectKey and GroupByKey in one), through a repartition topic. Null keys and
// values are passed to f as zero values. A nil serde means: as s has it if the type stays, else none.
func GroupBy[K, V, K2 any](
	s *KStream[K, V], f func(key K, value V) K2, keySerde serde.Serde[K2], opts ...GroupOption,
) *KGroupedStream[K2, V] {
	c := groupOptions(opts)
	var named []NodeOption
	if c.name != "" {
		named = append(named, Named(c.name))
	}
	return group(selectKey(s, "GroupBy", f, keySerde, named), "GroupBy", c)
}

func groupOptions(opts []GroupOption) groupConfig {
	var c groupConfig
	for _, o := range opts {
		o.applyGroup(&c)
	}
	return c
}

func group[K, V any](s *KStream[K, V], operator string, c groupConfig) *KGroupedStream[K, V] {
	key, value := serdesOf(s.b, operator, c.serdeConfig, s.keySerde, s.valueSerde)
	return &KGroupedStream[K, V]{stream: s, keySerde: key, valueSerde: value, name: c.name}
}

// source returns the node below which an aggregation goes, behind a repartition topic if there has to be one.
func (g *KGroupedStream[K, V]) source(operator, storeName string) *graphNode {
	switch {
	case !g.stream.rekeyed:
		return g.stream.node
	case g.name == "":
		return addRepartition(operator, g.stream, storeName, 0, g.keySerde, g.valueSerde)
	case g.repartitioned == nil:
		g.repartitioned = addRepartition(operator, g.stream, g.name, 0, g.keySerde, g.valueSerde)
	}
	return g.repartitioned
}

// addAggregation adds the node of an aggregation of g, with its store, and returns its table. A later kind of group or
// window brings its own newNode.
func addAggregation[K, V, A any](
	g *KGroupedStream[K, V], operator, prefix, storePrefix string, opts []StoreOption, valueSerde serde.Serde[A],
	newNode func(r rows[K, A]) listener,
) *KTable[K, A] {
	var c storeConfig
	for _, o := range opts {
		o.applyStore(&c)
	}
	b := g.stream.b
	// The order in which names are generated is Kafka Streams'.
	storeName := b.storeName(c.store, storePrefix)
	name := b.nodeName(c.name, prefix)
	parent := g.source(operator, storeName)
	state := &tableState{store: storeName, keepsOld: true}
	node := b.addNode(operator, rowsNode(name, state, newNode), parent)
	addStoreFor(b, operator, node, storeName, c, g.keySerde, valueSerde)
	return &KTable[K, A]{
		b: b, node: node, keySerde: g.keySerde, valueSerde: valueSerde, state: state,
		view: storeView[K, A](state),
	}
}
