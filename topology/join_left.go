package topology

import (
	"github.com/tidemarkio/tidemark/serde"
)

// LeftJoin is [Join] for every record of the left stream (Kafka Streams' KStream.leftJoin of two streams). One without
// a match gives a single result, in which right is absent, with its own timestamp. There are no early results that a
// match would make wrong (KIP-633): it waits in a third store, named <store>-left-shared-join-store with [As], until
// the newest record of either stream is younger than the end of its window and the grace; the newest record's arrival,
// of any key, then brings the results of all that waited, in the order of their times, with its headers. A record that
// arrives after its window has ended does not wait. A late match may still follow a result without one.
//
// A record of the left stream with a null key gives its result at once (KIP-962); it passes a repartition topic above.
// Records with a null value are dropped, and of the right stream those with a null key.
func LeftJoin[K, L, R, V any](
	left *KStream[K, L], right *KStream[K, R], joiner func(left L, right Optional[R]) V, windows JoinWindows,
	valueSerde serde.Serde[V], opts ...StreamJoinOption,
) *KStream[K, V] {
	const operator = "LeftJoin"
	left.b.needFunc(operator, joiner == nil)
	return joinStreams(left, right, streamJoin[K, L, R, V]{
		operator: operator, leftOuter: true, windows: windows, valueSerde: valueSerde,
		joiner: func(_ K, l Optional[L], r Optional[R]) V { return joiner(l.Value, r) },
	}, opts)
}

// LeftJoinWithKey is [LeftJoin] with a joiner that sees the key, which it must not modify. A null key is passed as the
// zero value.
func LeftJoinWithKey[K, L, R, V any](
	left *KStream[K, L], right *KStream[K, R], joiner func(key K, left L, right Optional[R]) V, windows JoinWindows,
	valueSerde serde.Serde[V], opts ...StreamJoinOption,
) *KStream[K, V] {
	const operator = "LeftJoinWithKey"
	left.b.needFunc(operator, joiner == nil)
	return joinStreams(left, right, streamJoin[K, L, R, V]{
		operator: operator, leftOuter: true, windows: windows, valueSerde: valueSerde,
		joiner: func(k K, l Optional[L], r Optional[R]) V { return joiner(k, l.Value, r) },
	}, opts)
}
