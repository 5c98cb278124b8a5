package topology

import (
	"github.com/tidemarkio/tidemark/store"
)

// TTL says how long the rows of a table live without an update (Flink's state TTL; Kafka Streams has none): the table
// is given a store if it has none yet, and a row that expires leaves it like one that is deleted. The store's changelog
// gets a tombstone, and so do the operators below, with the time at which the row expired as timestamp and no headers,
// before the record that moved stream time there. A later record begins the row anew: an aggregate starts from its
// initial value.
//
// It is for tables whose keys are no windows: windows have [Retention]. An input topic with rows that expire does not
// serve as a changelog ([ReuseSourceTopics]), and a global table has no TTL: nobody could write its tombstones.
func TTL(ttl store.TTL) Materialized { return func(c *storeConfig) { c.ttl = ttl } }

// noTTL refuses the option where rows do not expire by it.
func (c *storeConfig) noTTL(b *Builder, operator, why string) {
	if c.ttl != (store.TTL{}) {
		b.fail(operator, "TTL: %s", why)
	}
}

// expires makes rows that expire leave the table. A store that caches tells its flush listener of them.
func (t *rows[K, V]) expires() {
	if t.cached || t.kv == nil || t.kv.TTL() == (store.TTL{}) {
		return
	}
	t.kv.SetExpiryListener(func(key K, value V, expiredAt int64) error {
		return t.forward(key, Change[V]{Old: value, HasOld: true}, expiredAt, nil)
	})
}
