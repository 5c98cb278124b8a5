package tidemark

import (
	"context"
	"iter"

	"github.com/tidemarkio/tidemark/processor/task"
	"github.com/tidemarkio/tidemark/store"
)

// WindowReader reads a window store of a running App, as [Reader] does a key-value store. Make it with [QueryWindow].
type WindowReader[K, V any] struct {
	app       *App
	store     string
	partition int32
}

// QueryWindow returns a reader of a window store by its name: of an aggregation with tumbling, hopping, sliding or
// calendar windows, or of AddStore with store.WindowSpec.
func QueryWindow[K, V any](a *App, storeName string) *WindowReader[K, V] {
	return &WindowReader[K, V]{app: a, store: storeName, partition: anyPartition}
}

// Partition returns a reader of one partition; see [Reader.Partition].
func (r *WindowReader[K, V]) Partition(partition int32) *WindowReader[K, V] {
	return &WindowReader[K, V]{app: r.app, store: r.store, partition: partition}
}

// Fetch returns the value of k in the window that starts there, in milliseconds since the Unix epoch, as of the last
// commit.
func (r *WindowReader[K, V]) Fetch(ctx context.Context, k K, start int64) (v V, found bool, err error) {
	err = r.read(ctx, k, func(s store.CommittedWindow[K, V]) (err error) {
		v, _, found, err = s.FetchWithTimestamp(k, start)
		return err
	})
	return v, found, err
}

// FetchRange returns the windows of k with from <= start <= to, by start, as of one commit.
func (r *WindowReader[K, V]) FetchRange(
	ctx context.Context, k K, from, to int64,
) (windows []store.WindowEntry[K, V], err error) {
	err = r.read(ctx, k, func(s store.CommittedWindow[K, V]) error {
		windows, err = collect(s.FetchRange(k, from, to))
		return err
	})
	return windows, err
}

// FetchAll returns the windows of all keys that this instance has with from <= start <= to, by partition. The worker of
// a partition reads all of its windows at once: keep the range short.
func (r *WindowReader[K, V]) FetchAll(
	ctx context.Context, from, to int64,
) (windows []store.WindowEntry[K, V], err error) {
	ids, err := r.app.tasksHere(r.store, r.partition)
	for _, id := range ids {
		var part []store.WindowEntry[K, V]
		err := r.app.readTask(ctx, r.store, id, func(t *task.Task) error {
			s, err := committedWindow[K, V](t, r.store)
			if err == nil {
				part, err = collect(s.FetchAll(from, to))
			}
			return err
		})
		if err != nil {
			return nil, err
		}
		windows = append(windows, part...)
	}
	return windows, err
}

func (r *WindowReader[K, V]) read(ctx context.Context, k K, fn func(s store.CommittedWindow[K, V]) error) error {
	return readByKey(ctx, r.app, r.store, r.partition, k, committedWindow[K, V], fn)
}

func collect[T any](all iter.Seq2[T, error]) (list []T, err error) {
	for e, err := range all {
		if err != nil {
			return nil, err
		}
		list = append(list, e)
	}
	return list, nil
}

func committedWindow[K, V any](t *task.Task, name string) (store.CommittedWindow[K, V], error) {
	s, err := typedStore[*store.Window[K, V]](t, name)
	if err != nil {
		return store.CommittedWindow[K, V]{}, err
	}
	return s.Committed(), nil
}
