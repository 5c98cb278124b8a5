package topology

import (
	"github.com/tidemarkio/tidemark/serde"
)

// OuterJoin is [LeftJoin] for the records of both streams (Kafka Streams' KStream.outerJoin): joiner sees which side is
// absent, never both. What waits is kept in a store named <store>-outer-shared-join-store with [As].
func OuterJoin[K, L, R, V any](
	left *KStream[K, L], right *KStream[K, R], joiner func(left Optional[L], right Optional[R]) V, windows JoinWindows,
	valueSerde serde.Serde[V], opts ...StreamJoinOption,
) *KStream[K, V] {
	const operator = "OuterJoin"
	left.b.needFunc(operator, joiner == nil)
	return joinStreams(left, right, streamJoin[K, L, R, V]{
		operator: operator, leftOuter: true, rightOuter: true, windows: windows, valueSerde: valueSerde,
		joiner: func(_ K, l Optional[L], r Optional[R]) V { return joiner(l, r) },
	}, opts)
}

// OuterJoinWithKey is [OuterJoin] with a joiner that sees the key, which it must not modify. A null key is passed as
// the zero value.
func OuterJoinWithKey[K, L, R, V any](
	left *KStream[K, L], right *KStream[K, R], joiner func(key K, left Optional[L], right Optional[R]) V,
	windows JoinWindows, valueSerde serde.Serde[V], opts ...StreamJoinOption,
) *KStream[K, V] {
	const operator = "OuterJoinWithKey"
	left.b.needFunc(operator, joiner == nil)
	return joinStreams(left, right, streamJoin[K, L, R, V]{
		operator: operator, leftOuter: true, rightOuter: true, windows: windows, valueSerde: valueSerde, joiner: joiner,
	}, opts)
}
