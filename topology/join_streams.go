package topology

import (
	"strings"

	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/store"
)

// streamJoin is a join of two streams.
type streamJoin[K, L, R, V any] struct {
	operator              string
	leftOuter, rightOuter bool // records of that side have a result without a match too
	windows               JoinWindows
	valueSerde            serde.Serde[V]
	joiner                func(key K, left Optional[L], right Optional[R]) V
}

// streamJoinNames are the names of what a join of two streams adds.
type streamJoinNames struct {
	thisWindowed, otherWindowed, this, other, merge string // nodes
	thisStore, otherStore, sharedStore              string
}

// nameStreamJoin generates names in the order of Kafka Streams.
func nameStreamJoin(b *Builder, c *streamJoinConfig, leftOuter, rightOuter bool) streamJoinNames {
	thisSuffix, thisPrefix := "-this-join", "KSTREAM-JOINTHIS-"
	otherSuffix, otherPrefix := "-other-join", "KSTREAM-JOINOTHER-"
	sharedSuffix := "-left-shared-join"
	if rightOuter {
		thisSuffix, thisPrefix, sharedSuffix = "-outer-this-join", "KSTREAM-OUTERTHIS-", "-outer-shared-join"
	}
	if leftOuter {
		otherSuffix, otherPrefix = "-outer-other-join", "KSTREAM-OUTEROTHER-"
	}
	n := streamJoinNames{
		thisWindowed:  b.suffixedName(c.name, "-this-windowed", "KSTREAM-WINDOWED-"),
		otherWindowed: b.suffixedName(c.name, "-other-windowed", "KSTREAM-WINDOWED-"),
		thisStore:     b.generate(thisPrefix),
		otherStore:    b.generate(otherPrefix),
		merge:         b.suffixedName(c.name, "-merge", "KSTREAM-MERGE-"),
	}
	n.this, n.other = n.thisStore, n.otherStore
	n.sharedStore = "KSTREAM-OUTERSHARED-" + strings.TrimPrefix(n.this, thisPrefix)
	if c.name != "" {
		n.this, n.other = c.name+thisSuffix, c.name+otherSuffix
	}
	if c.store != "" {
		n.thisStore, n.otherStore, n.sharedStore = c.store+thisSuffix, c.store+otherSuffix, c.store+sharedSuffix
	}
	n.thisStore, n.otherStore, n.sharedStore = n.thisStore+"-store", n.otherStore+"-store", n.sharedStore+"-store"
	return n
}

func joinStreams[K, L, R, V any](
	left *KStream[K, L], right *KStream[K, R], j streamJoin[K, L, R, V], opts []StreamJoinOption,
) *KStream[K, V] {
	b := left.b
	var c streamJoinConfig
	for _, o := range opts {
		o.applyStreamJoin(&c)
	}
	b.same(j.operator, right.b)
	if problem := j.windows.check(); problem != "" {
		b.fail(j.operator, "%s", problem)
	}
	c.notVersioned(b, j.operator)
	c.noTTL(b, j.operator, "a join keeps its records as long as its windows say")
	if c.retention != 0 {
		b.fail(j.operator, "Retention(%v): a join keeps its records for as long as its windows say", c.retention)
	}
	leftName, rightName := "", ""
	if c.name != "" {
		leftName, rightName = c.name+"-left", c.name+"-right"
	}
	left = repartitionForJoin(j.operator, left, leftName, c.left)
	right = repartitionForJoin(j.operator, right, rightName, c.right)
	keySerde, leftSerde := serdesOf(b, j.operator, c.left, left.keySerde, left.valueSerde)
	_, rightSerde := serdesOf(b, j.operator, c.right, right.keySerde, right.valueSerde)
	names := nameStreamJoin(b, &c, j.leftOuter, j.rightOuter)
	merged := &KStream[K, V]{b: b, keySerde: keySerde, valueSerde: orCarried(j.valueSerde, left.valueSerde)}
	if self, ok := any(j).(streamJoin[K, L, L, V]); ok && left.node == right.node && !j.leftOuter {
		merged.node = selfJoin(b, left.node, self, names, c.storeConfig, keySerde, leftSerde)
		return merged
	}
	this := joinWindowNode[K, L](b, j.operator, names.thisWindowed, names.thisStore, left.node)
	other := joinWindowNode[K, R](b, j.operator, names.otherWindowed, names.otherStore, right.node)
	addJoinStore(b, j.operator, this, names.thisStore, c.storeConfig, j.windows, keySerde, leftSerde)
	addJoinStore(b, j.operator, other, names.otherStore, c.storeConfig, j.windows, keySerde, rightSerde)
	this = b.addNode(j.operator, j.leftSide(names), this)
	other = b.addNode(j.operator, j.rightSide(names), other)
	this.useStore(names.otherStore)
	other.useStore(names.thisStore)
	if j.leftOuter {
		spec := store.UnjoinedSpec(names.sharedStore, keySerde, leftSerde, rightSerde)
		c.configure(&spec)
		b.addStore(j.operator, spec)
		this.useStore(names.sharedStore)
		other.useStore(names.sharedStore)
	}
	merged.node = b.addNode(j.operator, &graphNode{
		name: names.merge, kind: processor.ProcessorNode,
		make: func(processor.TaskContext) (any, error) { return &passNode[K, V]{}, nil },
	}, this, other)
	return merged
}

// addJoinStore declares the store of one side of a join.
func addJoinStore[K, T any](
	b *Builder, operator string, node *graphNode, name string, c storeConfig, w JoinWindows,
	keySerde serde.Serde[K], valueSerde serde.Serde[T],
) {
	needSerdes(b, operator, "the store "+name, keySerde, valueSerde)
	spec := store.WindowSpec(name, keySerde, valueSerde,
		store.WindowConfig{Retention: w.retention(), RetainDuplicates: true})
	c.configure(&spec)
	spec.CachingEnabled = false // every row is kept, so that there is nothing to merge
	b.addStore(operator, spec)
	node.useStore(name)
}

// joinWindowNode adds the node that puts the records of one side into its store.
func joinWindowNode[K, T any](b *Builder, operator, name, storeName string, parent *graphNode) *graphNode {
	return b.addNode(operator, &graphNode{
		name: name, kind: processor.ProcessorNode,
		make: func(ctx processor.TaskContext) (any, error) {
			rows, err := processor.StateStore[*store.Window[K, T]](ctx, storeName)
			return &keepNode[K, T]{rows: rows}, wrapNode(name, err)
		},
	}, parent)
}

// keepNode keeps records for those of the other side. Owned by the task goroutine.
type keepNode[K, T any] struct {
	processor.Outputs[K, T]

	rows *store.Window[K, T]
}

// Receive implements processor.Receiver. The record joins first: in a join of a stream with itself a pair with itself
// must come once.
func (n *keepNode[K, T]) Receive(r record.Record[K, T]) error {
	if err := n.Forward(r); err != nil || r.NullKey || r.NullValue {
		return err
	}
	return n.rows.PutWithTimestamp(r.Key, r.Value, r.Timestamp, r.Timestamp)
}
