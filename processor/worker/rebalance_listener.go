package worker

import (
	"fmt"

	"github.com/tidemarkio/tidemark/record"
)

// RebalanceListener is told what the group decides about this instance: Kafka's ConsumerRebalanceListener, by task
// instead of by partition. Nil functions are not called. Calls come from one goroutine, in order, and hold up what they
// tell of: the tasks that stay process on meanwhile.
type RebalanceListener struct {
	// OnRevoked tells that tasks are about to leave this instance: they are committed, and closed, afterwards.
	OnRevoked func(TasksRevoked)
	// OnAssigned tells what this instance has from now on, after what was revoked has been committed.
	OnAssigned func(TasksAssigned)
	// OnLost tells that this instance is no member any more: its tasks are dropped, and what they have not committed is
	// processed again, by others or here.
	OnLost func(TasksLost)
}

// TasksRevoked are tasks that others get.
type TasksRevoked struct {
	Tasks []record.TaskID
}

// String is for logs.
func (e TasksRevoked) String() string { return fmt.Sprintf("revoked %v", e.Tasks) }

// TasksAssigned is what an instance has after a rebalance.
type TasksAssigned struct {
	// Tasks are all that it runs, or is about to; Added those of them that are new here: they are restored first.
	Tasks, Added []record.TaskID
	// Standbys and WarmUps are tasks whose state it keeps up to date; a warm-up comes here when it has caught up.
	Standbys, WarmUps []record.TaskID
	// Pending says that another rebalance follows soon, which brings what others are still giving up.
	Pending bool
}

// String is for logs.
func (e TasksAssigned) String() string {
	return fmt.Sprintf("assigned %v, new %v, standbys %v, warm-ups %v", e.Tasks, e.Added, e.Standbys, e.WarmUps)
}

// TasksLost are tasks that an instance had when its membership ended.
type TasksLost struct {
	Tasks []record.TaskID
	Err   error // why
}

// String is for logs.
func (e TasksLost) String() string { return fmt.Sprintf("lost %v: %v", e.Tasks, e.Err) }
