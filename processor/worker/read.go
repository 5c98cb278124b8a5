package worker

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/tidemarkio/tidemark/processor/task"
	"github.com/tidemarkio/tidemark/record"
)

// ErrNoTask says that the worker does not have the task, or not any more.
var ErrNoTask = errors.New("worker: the task is not here")

// ReadCommitted runs fn with a task and the input positions of its last commit, between two of its steps: it waits for
// the worker to come by, at most until ctx ends. fn must be quick, change nothing and keep nothing. Its error, or
// panic, is the caller's and not the worker's.
func (w *Worker) ReadCommitted(
	ctx context.Context, id record.TaskID,
	fn func(t *task.Task, committed map[record.TopicPartition]task.Position) error,
) error {
	return w.do(ctx, func(context.Context) (err error) {
		defer func() {
			if r := recover(); r != nil {
				err = fmt.Errorf("task %s: a reader panicked: %v\n%s", id, r, debug.Stack())
			}
		}()
		for _, r := range w.tasks {
			if r.task.ID() == id {
				return fn(r.task, r.committed)
			}
		}
		return ErrNoTask
	})
}

// Read is [Worker.ReadCommitted] without the positions.
func (w *Worker) Read(ctx context.Context, id record.TaskID, fn func(t *task.Task) error) error {
	return w.ReadCommitted(ctx, id, func(t *task.Task, _ map[record.TopicPartition]task.Position) error { return fn(t) })
}
