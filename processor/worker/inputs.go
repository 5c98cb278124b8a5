package worker

import (
	"slices"

	"github.com/tidemarkio/tidemark/record"
)

// KnowsInputs reports whether the leader means the same inputs by tasks as this member does: each looks for itself
// which topics match a pattern, and how many partitions there are.
func (m *Manager) KnowsInputs(tasks []record.TaskID, a GroupAssignment) bool {
	if len(a.Partitions) == 0 { // an answer that does not tell, or of no task
		return true
	}
	var ours []record.TopicPartition
	for _, id := range tasks {
		ours = append(ours, m.cfg.Inputs(id)...)
	}
	theirs := slices.Clone(a.Partitions)
	slices.SortFunc(ours, record.TopicPartition.Compare)
	slices.SortFunc(theirs, record.TopicPartition.Compare)
	return slices.Equal(slices.Compact(ours), slices.Compact(theirs))
}
