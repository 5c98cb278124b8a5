package topology

import (
	"github.com/tidemarkio/tidemark/serde"
)

// Join joins the records of two streams that have the same key and whose times are close enough, as windows says (Kafka
// Streams' KStream.join of two streams). Each pair gives one result, as soon as its second record arrives, with the
// later of both timestamps and the headers of the record that arrived. Results of one record come in the order of the
// other records' times, those of equal times in the order of their arrival.
//
// Both streams are kept in stores for as long as windows and their grace need, in event time behind the newest record
// of the same side: a late record joins what is still there. Records with a null key or value are dropped. A nil result
// of joiner is null.
//
// A stream goes through a repartition topic if its key may have changed: <name>-left-repartition and
// <name>-right-repartition with [Named]. The topics of both sides must have the same number of partitions. The stores
// are named <store>-this-join-store and <store>-other-join-store with [As]. A stream joined with itself has one store,
// as with Kafka Streams' single.store.self.join. A nil serde means: as left has it if the type stays, else none.
func Join[K, L, R, V any](
	left *KStream[K, L], right *KStream[K, R], joiner func(left L, right R) V, windows JoinWindows,
	valueSerde serde.Serde[V], opts ...StreamJoinOption,
) *KStream[K, V] {
	const operator = "Join"
	left.b.needFunc(operator, joiner == nil)
	return joinStreams(left, right, streamJoin[K, L, R, V]{
		operator: operator, windows: windows, valueSerde: valueSerde,
		joiner: func(_ K, l Optional[L], r Optional[R]) V { return joiner(l.Value, r.Value) },
	}, opts)
}

// JoinWithKey is [Join] with a joiner that sees the key (ValueJoinerWithKey), which it must not modify.
func JoinWithKey[K, L, R, V any](
	left *KStream[K, L], right *KStream[K, R], joiner func(key K, left L, right R) V, windows JoinWindows,
	valueSerde serde.Serde[V], opts ...StreamJoinOption,
) *KStream[K, V] {
	const operator = "JoinWithKey"
	left.b.needFunc(operator, joiner == nil)
	return joinStreams(left, right, streamJoin[K, L, R, V]{
		operator: operator, windows: windows, valueSerde: valueSerde,
		joiner: func(k K, l Optional[L], r Optional[R]) V { return joiner(k, l.Value, r.Value) },
	}, opts)
}
