package topology

import (
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
)

// MapTableValues replaces the value of each row (Kafka Streams' KTable.mapValues). Deleted rows stay deleted; f is not
// called for them. A nil result of f deletes the row. With [As] the result has a store of its own; otherwise f may be
// called more than once per update, also for old values. A nil serde means: as t has it if the type stays, else none.
func MapTableValues[K, V, V2 any](
	t *KTable[K, V], f func(value V) V2, valueSerde serde.Serde[V2], opts ...StoreOption,
) *KTable[K, V2] {
	t.b.needFunc("MapTableValues", f == nil)
	return mapTableValues(t, "MapTableValues", func(_ K, v V) V2 { return f(v) }, valueSerde, opts)
}

// MapTableValuesWithKey is [MapTableValues] with a function that sees the key, which it must not modify.
func MapTableValuesWithKey[K, V, V2 any](
	t *KTable[K, V], f func(key K, value V) V2, valueSerde serde.Serde[V2], opts ...StoreOption,
) *KTable[K, V2] {
	t.b.needFunc("MapTableValuesWithKey", f == nil)
	return mapTableValues(t, "MapTableValuesWithKey", f, valueSerde, opts)
}

func mapTableValues[K, V, V2 any](
	t *KTable[K, V], operator string, f func(K, V) V2, valueSerde serde.Serde[V2], opts []StoreOption,
) *KTable[K, V2] {
	null := record.NullnessOf[V2]()
	return deriveTable(t, operator, "KTABLE-MAPVALUES-", opts, orCarried(valueSerde, t.valueSerde), false,
		func(k K, v V) (V2, bool) {
			mapped := f(k, v)
			return mapped, !null.IsNull(mapped, false)
		},
		func(r rows[K, V2]) listener { return &tableMapValuesNode[K, V, V2]{rows: r, f: f, null: null} })
}

// tableMapValuesNode replaces the values of rows. Owned by the task goroutine.
type tableMapValuesNode[K, V, V2 any] struct {
	rows[K, V2]

	f    func(K, V) V2
	null record.Nullness[V2]
}

// Receive implements processor.Receiver.
func (n *tableMapValuesNode[K, V, V2]) Receive(r record.Record[K, Change[V]]) error {
	n.enter()
	c := Change[V2]{OutOfOrder: r.Value.OutOfOrder}
	if r.Value.HasNew {
		c.New = n.f(r.Key, r.Value.New)
		c.HasNew = !n.null.IsNull(c.New, false)
	}
	if n.sendOld && !n.cached {
		switch {
		case n.kv != nil:
			var err error
			if c.Old, c.HasOld, err = n.kv.Get(r.Key); err != nil {
				return err
			}
		case r.Value.HasOld:
			c.Old = n.f(r.Key, r.Value.Old)
			c.HasOld = !n.null.IsNull(c.Old, false)
		}
	}
	return n.update(r.Key, c, r.Timestamp, r.Headers)
}
