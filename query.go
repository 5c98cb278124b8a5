package tidemark

import (
	"context"
	"fmt"
	"iter"

	"github.com/tidemarkio/tidemark/processor/task"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/store"
)

// Reader reads a key-value store of a running App from any goroutine (Kafka Streams' interactive queries): the store of
// a table, of an aggregation without windows, of AddStore with store.KeyValueSpec, or a global one. Make it with
// [Query].
//
// It sees what is committed, of the partitions that this instance processes; a global store is whole everywhere. A
// question is answered by the worker that has the partition, between two steps: the data path has no lock for it. It
// waits for that until ctx ends.
type Reader[K, V any] struct {
	app       *App
	store     string
	partition int32 // anyPartition: by the key
}

// anyPartition leaves the choice to the key.
const anyPartition int32 = -1

// Query returns a reader of a key-value store by its name, the one that As or AddStore gave. Whether there is such a
// store, of these types, shows with the first question.
func Query[K, V any](a *App, storeName string) *Reader[K, V] {
	return &Reader[K, V]{app: a, store: storeName, partition: anyPartition}
}

// Partition returns a reader of one partition: for stores whose keys are not partitioned by their bytes, as where a
// topic upstream has a partitioner of its own.
func (r *Reader[K, V]) Partition(partition int32) *Reader[K, V] {
	return &Reader[K, V]{app: r.app, store: r.store, partition: partition}
}

// NotHereError says that this instance cannot answer about a store: it does not process the partition, or not yet.
type NotHereError struct {
	Store     string
	Partition int32 // -1: it has no partition of the store
	State     State
}

// Error names the store, the partition and what to do.
func (e *NotHereError) Error() string {
	what := "no partition of it is"
	if e.Partition != anyPartition {
		what = fmt.Sprintf("partition %d is not, or not yet,", e.Partition)
	}
	return fmt.Sprintf("tidemark: store %q: %s on this instance (%s): ask the others, or again when the tasks have "+
		"settled", e.Store, what, e.State)
}

// Get returns the value of k as of the last commit. A key whose partition is elsewhere is a [*NotHereError].
func (r *Reader[K, V]) Get(ctx context.Context, k K) (v V, found bool, err error) {
	v, _, found, err = r.GetWithTimestamp(ctx, k)
	return v, found, err
}

// GetWithTimestamp returns the value of k as of the last commit, and its timestamp.
func (r *Reader[K, V]) GetWithTimestamp(ctx context.Context, k K) (v V, timestamp int64, found bool, err error) {
	read := func(s keyValueReader[K, V]) error {
		v, timestamp, found, err = s.GetWithTimestamp(k)
		return err
	}
	if ok, err := readGlobal(r.app, r.store, read); ok || err != nil {
		return v, timestamp, found, err
	}
	err = readByKey(ctx, r.app, r.store, r.partition, k, committedKeyValue[K, V],
		func(s store.CommittedKeyValue[K, V]) error { return read(s) })
	return v, timestamp, found, err
}

// Range yields the entries with lo <= key <= hi that this instance has: partition by partition, each in key order.
// Every page is as of the last commit then; one that moves away in between ends the loop with a [*NotHereError].
func (r *Reader[K, V]) Range(ctx context.Context, lo, hi K) iter.Seq2[store.KeyValueEntry[K, V], error] {
	return r.entries(ctx, &lo, &hi)
}

// All yields all entries that this instance has, as [Reader.Range] does.
func (r *Reader[K, V]) All(ctx context.Context) iter.Seq2[store.KeyValueEntry[K, V], error] {
	return r.entries(ctx, nil, nil)
}

// queryPage is how many entries a worker looks up at a time, between two of its steps.
const queryPage = 256

func (r *Reader[K, V]) entries(ctx context.Context, lo, hi *K) iter.Seq2[store.KeyValueEntry[K, V], error] {
	return func(yield func(store.KeyValueEntry[K, V], error) bool) {
		var none store.KeyValueEntry[K, V]
		probe := func(keyValueReader[K, V]) error { return nil }
		global, err := readGlobal(r.app, r.store, probe)
		ids := []record.TaskID{{}}
		if err == nil && !global {
			ids, err = r.app.tasksHere(r.store, r.partition)
		}
		if err != nil {
			yield(none, err)
			return
		}
		for _, id := range ids {
			var after []byte
			for more := true; more; more = after != nil {
				var page []store.KeyValueEntry[K, V]
				read := func(s keyValueReader[K, V]) (err error) {
					page, after, err = s.Page(lo, hi, after, queryPage)
					return err
				}
				if global {
					_, err = readGlobal(r.app, r.store, read)
				} else {
					err = r.app.readTask(ctx, r.store, id, func(t *task.Task) error {
						s, err := committedKeyValue[K, V](t, r.store)
						if err != nil {
							return err
						}
						return read(s)
					})
				}
				if err != nil {
					yield(none, err)
					return
				}
				for _, e := range page {
					if !yield(e, nil) {
						return
					}
				}
			}
		}
	}
}

// keyValueReader is what a Reader reads: the committed layer of a task's store, or a view of a global one.
type keyValueReader[K, V any] interface {
	GetWithTimestamp(k K) (v V, timestamp int64, found bool, err error)
	Page(lo, hi *K, after []byte, limit int) (page []store.KeyValueEntry[K, V], next []byte, err error)
}

func committedKeyValue[K, V any](t *task.Task, name string) (store.CommittedKeyValue[K, V], error) {
	s, err := typedStore[*store.KeyValue[K, V]](t, name)
	if err != nil {
		return store.CommittedKeyValue[K, V]{}, err
	}
	return s.Committed(), nil
}
