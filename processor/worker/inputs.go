package worker

import (
	"context"
	"encoding/binary"
	"hash/fnv"
	"slices"
	"strings"

	"github.com/tidemarkio/tidemark/processor/assign"
	"github.com/tidemarkio/tidemark/record"
)

// Each member looks for itself which topics match a pattern, and how many partitions there are, so that members may
// know different inputs for a moment. They notice it in what they tell each other: a digest of all inputs goes with
// every subscription and every assignment. A member must not compare only its own tasks' inputs, since a topic that
// appears may belong to tasks of others; and the coordinator, which answers a static member that comes back from memory
// (KIP-345), would never let the others hear of it.

// digestOf returns a digest of the inputs of tasks, never 0. Its bytes are in docs/format/assignment-data.md.
func digestOf(tasks []record.TaskID, inputs func(id record.TaskID) []record.TopicPartition) uint64 {
	h := fnv.New64a()
	var buf []byte
	for _, id := range slices.SortedFunc(slices.Values(tasks), record.TaskID.Compare) {
		for _, tp := range slices.SortedFunc(slices.Values(inputs(id)), record.TopicPartition.Compare) {
			buf = binary.LittleEndian.AppendUint32(buf[:0], uint32(id.Subtopology))
			buf = binary.LittleEndian.AppendUint32(buf, uint32(id.Partition))
			buf = append(append(buf, tp.Topic...), 0)
			buf = binary.LittleEndian.AppendUint32(buf, uint32(tp.Partition))
			_, _ = h.Write(buf) // a hash never fails
		}
	}
	return max(h.Sum64(), 1)
}

// digest is that of the inputs that this member knows, 0 if it cannot tell.
func (m *Manager) digest(ctx context.Context) uint64 {
	tasks, err := m.cfg.Tasks(ctx)
	if err != nil {
		return 0
	}
	return digestOf(tasks, m.cfg.Inputs)
}

// knowsInputs reports whether the leader means the same inputs as this member does.
func (m *Manager) knowsInputs(ctx context.Context, a assign.Assignment, partitions []record.TopicPartition) bool {
	if a.Inputs != 0 {
		return a.Inputs == m.digest(ctx)
	}
	if len(partitions) == 0 { // an answer that does not tell, or of no task
		return true
	}
	var ours []record.TopicPartition // all that an older leader lets us compare
	for _, id := range a.Tasks {
		ours = append(ours, m.cfg.Inputs(id)...)
	}
	return sameSet(ours, partitions, record.TopicPartition.Compare)
}

// withInputs leaves out tasks that read nothing: what they read is gone, and the coordinator does not know that yet.
func (m *Manager) withInputs(tasks []record.TaskID) []record.TaskID {
	return slices.DeleteFunc(slices.Clone(tasks), func(id record.TaskID) bool { return len(m.cfg.Inputs(id)) == 0 })
}

// compare lets this member look which inputs there are if another one knows others.
func (m *Manager) compare(ctx context.Context, members []GroupMember, subs []assign.Subscription) {
	ours := m.digest(ctx)
	for i, s := range subs {
		if s.Fingerprint != m.cfg.Fingerprint {
			continue
		}
		same := s.Inputs == ours
		if s.Inputs == 0 || ours == 0 { // of an older member, which asks again only if it knows others
			same = s.Attempt == 0 && sameSet(members[i].Topics, m.cfg.Topics, strings.Compare)
		}
		if !same {
			m.disagree()
			return
		}
	}
}

func (m *Manager) disagree() {
	if m.cfg.OnDisagree != nil {
		m.cfg.OnDisagree()
	}
}

// sameSet reports whether two lists have the same elements, however often.
func sameSet[E comparable](a, b []E, compare func(a, b E) int) bool {
	a, b = slices.SortedFunc(slices.Values(a), compare), slices.SortedFunc(slices.Values(b), compare)
	return slices.Equal(slices.Compact(a), slices.Compact(b))
}
