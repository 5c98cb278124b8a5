package assign

import (
	"fmt"
	"slices"

	"github.com/tidemarkio/tidemark/record"
)

// Subtopology is what the assignor has to know of a sub-topology.
type Subtopology struct {
	ID int32
	// Topics are its source topics, under their full names, with their number of partitions.
	Topics map[string]int32
}

// Task is a task and the partitions it reads.
type Task struct {
	ID         record.TaskID
	Partitions []record.TopicPartition
}

// Tasks lists the tasks of the sub-topologies. A sub-topology has as many as its largest source topic has partitions,
// and task p reads partition p of every topic that has one. A topic without partitions does not exist: an error.
func Tasks(subs []Subtopology) ([]Task, error) {
	var tasks []Task
	for _, sub := range subs {
		topics := make([]string, 0, len(sub.Topics))
		var partitions int32
		for topic, n := range sub.Topics {
			if n <= 0 {
				return nil, fmt.Errorf("assign: source topic %q of sub-topology %d does not exist: create it first",
					topic, sub.ID)
			}
			topics = append(topics, topic)
			partitions = max(partitions, n)
		}
		slices.Sort(topics)
		for p := range partitions {
			task := Task{ID: record.TaskID{Subtopology: sub.ID, Partition: p}}
			for _, topic := range topics {
				if p < sub.Topics[topic] {
					task.Partitions = append(task.Partitions, record.TopicPartition{Topic: topic, Partition: p})
				}
			}
			tasks = append(tasks, task)
		}
	}
	slices.SortFunc(tasks, func(a, b Task) int { return a.ID.Compare(b.ID) })
	return tasks, nil
}

// IDs returns the ids of the tasks.
func IDs(tasks []Task) []record.TaskID {
	ids := make([]record.TaskID, len(tasks))
	for i := range tasks {
		ids[i] = tasks[i].ID
	}
	return ids
}

// Partitions returns the partitions of the given tasks, sorted. Ids that are not among the tasks are skipped. Two
// sub-topologies may read the same topic: each partition is listed once.
func Partitions(tasks []Task, ids []record.TaskID) []record.TopicPartition {
	wanted := make(map[record.TaskID]bool, len(ids))
	for _, id := range ids {
		wanted[id] = true
	}
	var tps []record.TopicPartition
	for i := range tasks {
		if wanted[tasks[i].ID] {
			tps = append(tps, tasks[i].Partitions...)
		}
	}
	slices.SortFunc(tps, record.TopicPartition.Compare)
	return slices.Compact(tps)
}
