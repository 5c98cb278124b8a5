package topology

import (
	"fmt"

	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/store"
)

// ForeignKeyJoin joins each row of left with the row of right whose key foreignKey finds in it, as orders with their
// products (Kafka Streams' KTable.join with a foreignKeyExtractor, KIP-213). The result has left's keys, and a row
// where both sides have one. An update of the right row updates the results of all left rows that refer to it. A nil
// key of foreignKey is none; a nil result of joiner deletes the row. The two tables may have different numbers of
// partitions.
//
// Left tells right by an internal topic which row it refers to, and right answers by another; so a result comes a
// commit or two after its cause. An answer that finds the left row changed meanwhile is dropped, for a newer one is on
// its way. Rows are compared by a hash of their encoding: left's serde must encode equal values equally. A result
// caused by left has the later timestamp of the two rows, one caused by right that of the right row.
//
// All serdes of both tables are needed. [Named] begins the names of the topics and of the store of subscriptions
// (<name>-subscription-registration-topic and the like); [As] gives the result a store. foreignKey is asked again
// about old values and must always give the same result.
func ForeignKeyJoin[K, V, FK, FV, R any](
	left *KTable[K, V], right *KTable[FK, FV], foreignKey func(value V) FK, joiner func(left V, right FV) R,
	valueSerde serde.Serde[R], opts ...ForeignKeyJoinOption,
) *KTable[K, R] {
	left.b.needFunc("ForeignKeyJoin", foreignKey == nil || joiner == nil)
	return addForeignKeyJoin(left, right, "ForeignKeyJoin", false, func(_ K, v V) FK { return foreignKey(v) },
		func(l V, r Optional[FV]) R { return joiner(l, r.Value) }, valueSerde, opts)
}

// ForeignKeyJoinWithKey is [ForeignKeyJoin] with a foreignKey that sees left's key too (KIP-1104), which it must not
// modify.
func ForeignKeyJoinWithKey[K, V, FK, FV, R any](
	left *KTable[K, V], right *KTable[FK, FV], foreignKey func(key K, value V) FK, joiner func(left V, right FV) R,
	valueSerde serde.Serde[R], opts ...ForeignKeyJoinOption,
) *KTable[K, R] {
	left.b.needFunc("ForeignKeyJoinWithKey", foreignKey == nil || joiner == nil)
	return addForeignKeyJoin(left, right, "ForeignKeyJoinWithKey", false, foreignKey,
		func(l V, r Optional[FV]) R { return joiner(l, r.Value) }, valueSerde, opts)
}

// LeftForeignKeyJoin is [ForeignKeyJoin] for every row of left: without a foreign key, or without a right row, joiner
// sees that it is absent (Kafka Streams' leftJoin).
func LeftForeignKeyJoin[K, V, FK, FV, R any](
	left *KTable[K, V], right *KTable[FK, FV], foreignKey func(value V) FK, joiner func(left V, right Optional[FV]) R,
	valueSerde serde.Serde[R], opts ...ForeignKeyJoinOption,
) *KTable[K, R] {
	left.b.needFunc("LeftForeignKeyJoin", foreignKey == nil || joiner == nil)
	return addForeignKeyJoin(left, right, "LeftForeignKeyJoin", true, func(_ K, v V) FK { return foreignKey(v) }, joiner,
		valueSerde, opts)
}

// LeftForeignKeyJoinWithKey is [LeftForeignKeyJoin] with a foreignKey that sees left's key too, which it must not
// modify.
func LeftForeignKeyJoinWithKey[K, V, FK, FV, R any](
	left *KTable[K, V], right *KTable[FK, FV], foreignKey func(key K, value V) FK,
	joiner func(left V, right Optional[FV]) R, valueSerde serde.Serde[R], opts ...ForeignKeyJoinOption,
) *KTable[K, R] {
	left.b.needFunc("LeftForeignKeyJoinWithKey", foreignKey == nil || joiner == nil)
	return addForeignKeyJoin(left, right, "LeftForeignKeyJoinWithKey", true, foreignKey, joiner, valueSerde, opts)
}

// foreignKeyJoin is a foreign-key join while it is declared.
type foreignKeyJoin[K, V, FK, FV, R any] struct {
	b           *Builder
	operator    string
	c           foreignKeyJoinConfig
	left        *KTable[K, V]
	right       *KTable[FK, FV]
	preserves   bool // a left join
	foreignKey  func(K, V) FK
	joiner      func(V, Optional[FV]) R
	toRight     Partitioner[FK, subscription[K]]
	storeSerde  subscriptionKeySerde[FK, K]
	requests    subscriptionSerde[K]
	answers     answerSerde[FV]
	subscribers string // the store
}

func addForeignKeyJoin[K, V, FK, FV, R any](
	left *KTable[K, V], right *KTable[FK, FV], operator string, preserves bool, foreignKey func(K, V) FK,
	joiner func(V, Optional[FV]) R, valueSerde serde.Serde[R], opts []ForeignKeyJoinOption,
) *KTable[K, R] {
	j := &foreignKeyJoin[K, V, FK, FV, R]{
		b: left.b, operator: operator, left: left, right: right, preserves: preserves,
		foreignKey: foreignKey, joiner: joiner,
		storeSerde: subscriptionKeySerde[FK, K]{right.keySerde, left.keySerde},
		requests:   subscriptionSerde[K]{left.keySerde}, answers: answerSerde[FV]{right.valueSerde},
	}
	for _, o := range opts {
		o.applyForeignKeyJoin(&j.c)
	}
	b := j.b
	b.same(operator, right.b)
	needSerdes(b, operator, "the left table of a foreign-key join", left.keySerde, left.valueSerde)
	needSerdes(b, operator, "the right table of a foreign-key join", right.keySerde, right.valueSerde)
	j.toRight = rightPartitioner[K, FK](b, operator, j.c.partitioner)
	right.state.sendOldValues(true)
	left.state.sendOldValues(true)
	const registration = "KTABLE-FK-JOIN-SUBSCRIPTION-REGISTRATION-"
	topic := j.name("-subscription-registration", registration) + "-topic"
	send := j.sendNode(j.name("-subscription-registration-processor", registration))
	sink := newSinkNode(j.name("-subscription-registration-sink", "KTABLE-SINK-"), topic, nil,
		partitioners[FK, subscription[K]]{one: j.toRight}, right.keySerde, j.requests)
	b.addNode(operator, sink, send)
	answers := j.rightSide(topic)
	source := j.internalTopic(answers, j.name("-subscription-response-source", "KTABLE-SOURCE-"))
	source.answersTo = left.node
	b.foreignKeys = append(b.foreignKeys, &foreignKeyDef{
		subscribers: j.subscribers, requests: topic, answers: answers, left: left.node,
		leftWindows: serde.WindowBytes(left.keySerde), custom: j.toRight != nil,
	})
	resolver := j.resolver(j.name("-subscription-response-resolver",
		"KTABLE-FK-JOIN-SUBSCRIPTION-RESPONSE-RESOLVER-PROCESSOR-"), source)
	result := j.name("-result", "KTABLE-FK-JOIN-OUTPUT-")
	storeName := b.storeName(j.c.store, "KTABLE-FK-JOIN-OUTPUT-STATE-STORE-")
	return tableOf(b, operator, resolver, result, storeName, j.c.storeConfig, left.keySerde,
		orCarried(valueSerde, left.valueSerde))
}

// name returns the name of one of the nodes, topics and stores.
func (j *foreignKeyJoin[K, V, FK, FV, R]) name(suffix, prefix string) string {
	return j.b.suffixedName(j.c.name, suffix, prefix)
}

// addInternalTopic declares a topic that the runtime creates.
func (b *Builder) addInternalTopic(topic string) {
	b.repartitions = append(b.repartitions, &processor.RepartitionTopic{Name: topic, Position: callerPosition()})
}

// internalTopic declares the topic of answers and returns its source.
func (j *foreignKeyJoin[K, V, FK, FV, R]) internalTopic(topic, source string) *graphNode {
	j.b.addInternalTopic(topic)
	return addSource(j.b, j.operator, source, []string{topic}, j.left.keySerde,
		serde.Serde[answer[FV]](j.answers), sourceConfig{})
}

// rightSide declares what runs where the right table is, and returns the topic that it answers to.
func (j *foreignKeyJoin[K, V, FK, FV, R]) rightSide(topic string) (answers string) {
	const subscriptions = "KTABLE-FK-JOIN-SUBSCRIPTION-PROCESSOR-"
	b, operator := j.b, j.operator
	b.addInternalTopic(topic)
	source := addSource(b, operator, j.name("-subscription-registration-source", "KTABLE-SOURCE-"), []string{topic},
		j.right.keySerde, serde.Serde[subscription[K]](j.requests), sourceConfig{})
	j.subscribers = j.name("-subscription-store", "KTABLE-FK-JOIN-SUBSCRIPTION-STATE-STORE-")
	spec := store.KeyValueSpec(j.subscribers, serde.Serde[subscriptionKey[FK, K]](j.storeSerde),
		serde.Serde[subscriber](subscriberSerde{}))
	spec.PartitionKey = SubscriptionPartitionKey
	b.addStore(operator, spec)
	receive := j.receiveNode(j.name("-subscription-receive", subscriptions), source)
	ask := j.askNode(j.name("-subscription-join-foreign", subscriptions), receive)
	tell := j.tellNode(j.name("-foreign-join-subscription", subscriptions))
	answers = j.name("-subscription-response", "KTABLE-FK-JOIN-SUBSCRIPTION-RESPONSE-") + "-topic"
	back := partitioners[K, answer[FV]]{one: func(_ string, r record.Record[K, answer[FV]], _ int32) int32 {
		return r.Value.partition
	}}
	b.addNode(operator, newSinkNode(j.name("-subscription-response-sink", "KTABLE-SINK-"), answers, nil, back,
		j.left.keySerde, serde.Serde[answer[FV]](j.answers)), ask, tell)
	return answers
}

// rightPartitioner makes the partitioner of subscriptions of the user's partitioner of the right table. A left row
// without a foreign key is answered by whoever gets it: its own partition spreads that.
func rightPartitioner[K, FK any](b *Builder, operator string, given any) Partitioner[FK, subscription[K]] {
	if given == nil {
		return nil
	}
	choose, ok := given.(KeyPartitioner[FK])
	switch {
	case !ok:
		b.fail(operator, "WithOtherPartitioner: %T is not for keys of type %s", given, typeName[FK]())
		return nil
	case choose == nil:
		b.needFunc(operator, true)
		return nil
	}
	return func(topic string, r record.Record[FK, subscription[K]], partitions int32) int32 {
		if r.NullKey {
			return r.Value.partition % partitions
		}
		return choose(topic, r.Key, partitions)
	}
}

// openStore returns the store of subscriptions of a task.
func (j *foreignKeyJoin[K, V, FK, FV, R]) openStore(
	ctx processor.TaskContext,
) (*store.KeyValue[subscriptionKey[FK, K], subscriber], error) {
	kv, err := processor.StateStore[*store.KeyValue[subscriptionKey[FK, K], subscriber]](ctx, j.subscribers)
	if err != nil {
		return nil, fmt.Errorf("topology: the subscriptions of a foreign-key join: %w", err)
	}
	return kv, nil
}
