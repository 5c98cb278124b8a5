package tidemark

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"

	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/processor/task"
	"github.com/tidemarkio/tidemark/processor/worker"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/store"
)

func typedStore[S store.Store](t *task.Task, name string) (S, error) {
	var none S
	s, ok := t.Stores().Store(name)
	if !ok {
		return none, fmt.Errorf("tidemark: task %s has no store %q", t.ID(), name)
	}
	typed, ok := s.(S)
	if !ok {
		return none, fmt.Errorf("tidemark: store %q is a %T, and the query is for a %s", name, s, reflect.TypeFor[S]())
	}
	return typed, nil
}

// keyed is a committed store whose keys say in which partition they are.
type keyed[K any] interface {
	EncodeKey(dst []byte, k K) ([]byte, error)
}

// readByKey runs fn with the store of the task that has the key. Only a store knows the bytes of a key, by which
// records are partitioned, so any task that is here is asked first.
func readByKey[K any, S keyed[K]](
	ctx context.Context, a *App, name string, partition int32, k K,
	open func(t *task.Task, name string) (S, error), fn func(s S) error,
) error {
	ids, err := a.tasksHere(name, partition)
	if err != nil {
		return err
	}
	id, done := ids[0], false
	want := id
	err = a.readTask(ctx, name, id, func(t *task.Task) error {
		s, err := open(t, name)
		if err != nil {
			return err
		}
		if partition == anyPartition {
			key, err := s.EncodeKey(nil, k)
			if err != nil {
				return err
			}
			want.Partition = processor.DefaultPartition(key, a.partitionsOf(id.Subtopology))
		}
		if want != id {
			return nil
		}
		done = true
		return fn(s)
	})
	if err != nil || done {
		return err
	}
	return a.readTask(ctx, name, want, func(t *task.Task) error {
		s, err := open(t, name)
		if err != nil {
			return err
		}
		return fn(s)
	})
}

// subtopologyOf finds the sub-topology that has a store.
func (a *App) subtopologyOf(name string) (int32, error) {
	for _, sub := range a.plan.Subtopologies {
		if slices.ContainsFunc(sub.Stores, func(s *processor.StoreSpec) bool { return s.Name == name }) {
			return sub.ID, nil
		}
	}
	return 0, fmt.Errorf("tidemark: the topology has no store %q: a table has one if it is given a name with topology.As",
		name)
}

// running returns the incarnation that is up, nil if none is.
func (a *App) running() (*incarnation, State) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.mu.run, a.mu.state
}

// tasksHere lists the running tasks of this instance that have a store, by partition: one at least. partition chooses
// one of them.
func (a *App) tasksHere(name string, partition int32) ([]record.TaskID, error) {
	sub, err := a.subtopologyOf(name)
	if err != nil {
		return nil, err
	}
	in, state := a.running()
	var ids []record.TaskID
	if in != nil {
		for _, t := range in.topics.tasks {
			if t.ID.Subtopology != sub || partition != anyPartition && t.ID.Partition != partition {
				continue
			}
			if _, ok := in.manager.WorkerOf(t.ID); ok {
				ids = append(ids, t.ID)
			}
		}
	}
	if len(ids) == 0 {
		return nil, &NotHereError{Store: name, Partition: partition, State: state}
	}
	slices.SortFunc(ids, record.TaskID.Compare)
	return ids, nil
}

// partitionsOf returns how many tasks a sub-topology has.
func (a *App) partitionsOf(sub int32) (n int32) {
	in, _ := a.running()
	if in == nil {
		return 1
	}
	for _, t := range in.topics.tasks {
		if t.ID.Subtopology == sub {
			n++
		}
	}
	return max(n, 1)
}

// readTask runs fn with a task, on its worker.
func (a *App) readTask(ctx context.Context, name string, id record.TaskID, fn func(t *task.Task) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	in, state := a.running()
	notHere := &NotHereError{Store: name, Partition: id.Partition, State: state}
	if in == nil {
		return notHere
	}
	w, ok := in.manager.WorkerOf(id)
	if !ok {
		return notHere
	}
	err := w.Read(ctx, id, fn)
	if errors.Is(err, worker.ErrNoTask) || errors.Is(err, worker.ErrStopped) {
		return notHere
	}
	return err
}

// readGlobal runs fn with a view of a global store; false if the topology has none of that name.
func readGlobal[K, V any](a *App, name string, fn func(s keyValueReader[K, V]) error) (bool, error) {
	if !slices.ContainsFunc(a.plan.Globals, func(g *processor.GlobalStore) bool { return g.Store.Name == name }) {
		return false, nil
	}
	in, state := a.running()
	if in == nil {
		return true, &NotHereError{Store: name, Partition: anyPartition, State: state}
	}
	in.reading.RLock()
	defer in.reading.RUnlock()
	if in.globalClosed {
		return true, &NotHereError{Store: name, Partition: anyPartition, State: state}
	}
	s, _, err := in.globalView(name)
	if err != nil {
		return true, err
	}
	view, ok := s.(*store.Global[K, V])
	if !ok {
		return true, fmt.Errorf("tidemark: store %q is a %T, and the query is for a %s", name, s,
			reflect.TypeFor[*store.Global[K, V]]())
	}
	return true, fn(view)
}
