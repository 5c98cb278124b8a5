package topology

import (
	"fmt"
	"slices"

	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
)

// KCogroupedStream is one or more grouped streams with equal keys that are folded into one aggregate, each in its own
// way (Kafka Streams' CogroupedKStream, KIP-150). Make it with [Cogroup].
type KCogroupedStream[K, A any] struct {
	b      *Builder
	inputs []cogroupInput[K, A]
}

// Cogroup begins an aggregate of type A with its first input (Kafka Streams' KGroupedStream.cogroup): add takes a
// record of the stream into the aggregate. More inputs join it by [CogroupWith].
func Cogroup[K, V, A any](g *KGroupedStream[K, V], add func(key K, value V, aggregate A) A) *KCogroupedStream[K, A] {
	g.stream.b.needFunc("Cogroup", add == nil)
	return &KCogroupedStream[K, A]{b: g.stream.b, inputs: []cogroupInput[K, A]{&cogrouped[K, V, A]{g, add}}}
}

// CogroupWith returns c with one more input, whose values may be of another type (Kafka Streams'
// CogroupedKStream.cogroup). A grouped stream can be an input once. The topics of all inputs must have the same number
// of partitions.
func CogroupWith[K, V, A any](
	c *KCogroupedStream[K, A], g *KGroupedStream[K, V], add func(key K, value V, aggregate A) A,
) *KCogroupedStream[K, A] {
	const operator = "CogroupWith"
	c.b.needFunc(operator, add == nil)
	if !c.b.same(operator, g.stream.b) {
		return c
	}
	for _, in := range c.inputs {
		if in.is(g) {
			c.b.fail(operator, "the grouped stream is an input already")
			return c
		}
	}
	return &KCogroupedStream[K, A]{b: c.b, inputs: append(slices.Clip(c.inputs), &cogrouped[K, V, A]{g, add})}
}

// Aggregate folds the records of each key into one value (Kafka Streams' CogroupedKStream.aggregate): initial makes the
// first aggregate, each input's function returns the next one. Nulls, timestamps and what the functions must not do are
// those of the function [Aggregate].
func (c *KCogroupedStream[K, A]) Aggregate(
	initial func() A, valueSerde serde.Serde[A], opts ...StoreOption,
) *KTable[K, A] {
	const operator = "Aggregate"
	c.b.needFunc(operator, initial == nil)
	d := c.declare(operator, opts)
	state := &tableState{store: d.storeName, keepsOld: true}
	keySerde := c.keySerde()
	parents := make([]*graphNode, len(c.inputs))
	for i, in := range c.inputs {
		parents[i] = in.addPlain(c.b, d.names[i], state, initial, d.parents[i])
	}
	addStoreFor(c.b, operator, parents[0], d.storeName, d.config, keySerde, valueSerde)
	for _, p := range parents {
		p.useStore(d.storeName)
	}
	node := addMerged[K, A](c.b, operator, d, parents)
	return &KTable[K, A]{
		b: c.b, node: node, keySerde: keySerde, valueSerde: valueSerde, state: state, view: storeView[K, A](state),
	}
}

func (c *KCogroupedStream[K, A]) keySerde() serde.Serde[K] {
	for _, in := range c.inputs {
		if s := in.keys(); s != nil {
			return s
		}
	}
	return nil
}

// cogroupNames is what the nodes of a cogroup are called and where they go.
type cogroupNames struct {
	config    storeConfig
	storeName string
	names     []string // by input
	parents   []*graphNode
	merge     string
}

// declare generates names in Kafka Streams' order, and adds the repartition topics that are needed. The first of them
// that has no name of its own is called after the store, as there; Kafka Streams refuses more, here they have numbers.
func (c *KCogroupedStream[K, A]) declare(operator string, opts []StoreOption) *cogroupNames {
	d := &cogroupNames{}
	for _, o := range opts {
		o.applyStore(&d.config)
	}
	d.storeName = c.b.storeName(d.config.store, "COGROUPKSTREAM-AGGREGATE-STATE-STORE-")
	unnamed := 0
	for _, in := range c.inputs {
		topic := d.storeName
		if in.unnamedTopic() {
			if unnamed++; unnamed > 1 {
				topic = fmt.Sprintf("%s-%d", d.storeName, unnamed)
			}
		}
		d.parents = append(d.parents, in.source(operator, topic))
	}
	suffixed := func(suffix string) string {
		if d.config.name == "" {
			return ""
		}
		return d.config.name + suffix
	}
	for i := range c.inputs {
		name := suffixed(fmt.Sprintf("-cogroup-agg-%d", i))
		d.names = append(d.names, c.b.nodeName(name, "COGROUPKSTREAM-AGGREGATE-"))
	}
	d.merge = c.b.nodeName(suffixed("-cogroup-merge"), "COGROUPKSTREAM-MERGE-")
	return d
}

// addMerged adds the node that the nodes of all inputs forward to.
func addMerged[K, A any](b *Builder, operator string, d *cogroupNames, parents []*graphNode) *graphNode {
	return b.addNode(operator, &graphNode{
		name: d.merge, kind: processor.ProcessorNode,
		make: func(processor.TaskContext) (any, error) { return &passNode[K, Change[A]]{}, nil },
	}, parents...)
}

// cogroupInput is an input whose values may be of any type.
type cogroupInput[K, A any] interface {
	is(grouped any) bool
	keys() serde.Serde[K]
	// unnamedTopic says that the input needs a repartition topic and has no name for it.
	unnamedTopic() bool
	source(operator, storeName string) *graphNode
	addPlain(b *Builder, name string, state *tableState, initial func() A, parent *graphNode) *graphNode
	addWindowed(
		t *windowTable[K, A], name, input string, initial func() A, merge func(K, A, A) A, parent *graphNode,
	) (node *graphNode, late int)
}

// cogrouped is a cogroupInput.
type cogrouped[K, V, A any] struct {
	*KGroupedStream[K, V]

	add func(K, V, A) A
}

func (in *cogrouped[K, V, A]) is(grouped any) bool  { return grouped == any(in.KGroupedStream) }
func (in *cogrouped[K, V, A]) keys() serde.Serde[K] { return in.keySerde }
func (in *cogrouped[K, V, A]) unnamedTopic() bool   { return in.stream.rekeyed && in.name == "" }

func (in *cogrouped[K, V, A]) addPlain(
	b *Builder, name string, state *tableState, initial func() A, parent *graphNode,
) *graphNode {
	add := in.add
	return b.addNode("Aggregate", rowsNode(name, state, func(r rows[K, A]) listener {
		return &aggregateNode[K, V, A]{rows: r, initial: initial, add: add, null: record.NullnessOf[A]()}
	}), parent)
}

func (in *cogrouped[K, V, A]) addWindowed(
	t *windowTable[K, A], name, input string, initial func() A, merge func(K, A, A) A, parent *graphNode,
) (node *graphNode, late int) {
	return addFold(t, name, input, fold[K, V, A]{initial: initial, add: in.add, merge: merge}, in.KGroupedStream, parent)
}
