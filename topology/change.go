package topology

// Change is what travels between table nodes: an update of one key (Kafka Streams' Change).
type Change[V any] struct {
	// New is the row's value from now on; without HasNew the row is deleted.
	New V
	// Old is the row's value before; without HasOld there was none, or nobody below asked for old values.
	Old    V
	HasNew bool
	HasOld bool
}
