package tidemark

import (
	"maps"
	"time"
)

// options are what all readers have in common. R is the reader: each method returns a copy of it.
type options[R any] struct {
	query
	with func(query) R
}

// Partition returns a reader of one partition: for stores whose keys are not partitioned by their bytes, as where a
// topic upstream has a partitioner of its own, and to scan the partitions of a store side by side.
func (o *options[R]) Partition(partition int32) R {
	q := o.query
	q.partition = partition
	return o.with(q)
}

// Uncommitted returns a reader that also sees what the owner of a task has processed since its last commit: a
// commit interval fresher, and a crash or an abort may undo it (read_uncommitted). A standby, and a global store, has
// nothing uncommitted.
func (o *options[R]) Uncommitted() R {
	q := o.query
	q.uncommitted = true
	return o.with(q)
}

// Stale returns a reader that also takes the answer of a standby which is not further behind than the bound, if the
// owner cannot answer: while it restarts, for one. A standby on this instance is asked first, when the task is not
// here (Kafka Streams' enableStaleStores). QueryInfo says who answered, and how far behind it was.
func (o *options[R]) Stale(bound StaleBound) R {
	q := o.query
	q.stale = &bound
	return o.with(q)
}

// AtLeast returns a reader that demands answers which have committed at least these positions, and waits for them
// (Kafka Streams' PositionBound, KIP-796): with the positions of the records one has produced, read your writes. Only
// owners know their positions: a standby never answers. Partitions that the task of a key does not read do not count.
func (o *options[R]) AtLeast(position Position) R {
	q := o.query
	q.atLeast = maps.Clone(position)
	return o.with(q)
}

// Here returns a reader that asks this instance only and ends with a [*NotHereError] for what it has not, as all
// readers of an App without Config.ApplicationServer do.
func (o *options[R]) Here() R {
	q := o.query
	q.here = true
	return o.with(q)
}

// RetryFor returns a reader that tries so long, within its context, while a task moves or restarts and for AtLeast.
// Defaults to 30 s.
func (o *options[R]) RetryFor(d time.Duration) R {
	q := o.query
	q.patience = d
	return o.with(q)
}

// OnAnswer returns a reader that tells fn where each page of an answer came from, before it hands the page out.
func (o *options[R]) OnAnswer(fn func(QueryInfo)) R {
	q := o.query
	q.observe = fn
	return o.with(q)
}
