package topology

// ToTable makes a table of the stream (Kafka Streams' KStream.toTable): a record replaces the row of its key, a null
// value deletes it, the last to arrive wins. Records with a null key are dropped. It goes through a repartition topic
// if the key may have changed. With [As] the rows are kept in a store of that name; without, only if an operator below
// needs them.
func (s *KStream[K, V]) ToTable(opts ...StoreOption) *KTable[K, V] {
	var c storeConfig
	for _, o := range opts {
		o.applyStore(&c)
	}
	name := s.b.nodeName(c.name, "KSTREAM-TOTABLE-")
	storeName := s.b.storeName(c.store, "KSTREAM-TOTABLE-STATE-STORE-")
	parent := s.node
	if s.rekeyed {
		parent = addRepartition("ToTable", s, name, 0, s.keySerde, s.valueSerde)
	}
	return tableOf(s.b, "ToTable", parent, name, storeName, c, s.keySerde, s.valueSerde)
}
