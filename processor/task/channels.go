package task

import (
	"slices"

	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/record"
)

// Channels are the repartition topics around a task. A channel is what one task writes to one partition; a checkpoint
// needs a barrier from each. All topics are physical.
type Channels struct {
	// Upstreams are, by topic that the task reads, all tasks that write it.
	Upstreams map[string][]record.TaskID
	// Cyclic are those of these topics whose writers read, through other topics or directly, what this task writes. A
	// cut does not wait for their barriers, since they may wait for its own.
	Cyclic map[string]bool
	// Downstream are the repartition topics that the task writes, in order: their records name the task, and each of
	// their partitions gets its barriers.
	Downstream []string
}

// ChannelsOf finds the channels of every sub-topology. tasks is how many tasks a sub-topology has.
func ChannelsOf(
	plan *processor.Plan, physical func(topic string) string, tasks func(subtopology int32) int32,
) map[int32]*Channels {
	g := channelGraph{internal: make(map[string]bool), subs: plan.Subtopologies}
	for _, r := range plan.Repartitions {
		g.internal[r.Name] = true
	}
	all := make(map[int32]*Channels, len(plan.Subtopologies))
	for _, sub := range plan.Subtopologies {
		c := &Channels{Upstreams: make(map[string][]record.TaskID), Cyclic: make(map[string]bool)}
		for _, topic := range sub.SourceTopics {
			if !g.internal[topic] {
				continue
			}
			name := physical(topic)
			for _, up := range g.writers(topic) {
				for p := range tasks(up.ID) {
					c.Upstreams[name] = append(c.Upstreams[name], record.TaskID{Subtopology: up.ID, Partition: p})
				}
				if g.reaches(sub, up) {
					c.Cyclic[name] = true
				}
			}
		}
		for _, topic := range sub.SinkTopics {
			if name := physical(topic); g.internal[topic] && !slices.Contains(c.Downstream, name) {
				c.Downstream = append(c.Downstream, name)
			}
		}
		slices.Sort(c.Downstream)
		all[sub.ID] = c
	}
	return all
}

// channelGraph are the sub-topologies, and the repartition topics between them.
type channelGraph struct {
	internal map[string]bool
	subs     []*processor.Subtopology
}

func (g *channelGraph) writers(topic string) (subs []*processor.Subtopology) {
	for _, sub := range g.subs {
		if slices.Contains(sub.SinkTopics, topic) {
			subs = append(subs, sub)
		}
	}
	return subs
}

// reaches tells whether records get from one sub-topology to another; each reaches itself.
func (g *channelGraph) reaches(from, to *processor.Subtopology) bool {
	seen := map[int32]bool{from.ID: true}
	for queue := []*processor.Subtopology{from}; len(queue) > 0; queue = queue[1:] {
		if queue[0].ID == to.ID {
			return true
		}
		for _, topic := range queue[0].SinkTopics {
			if !g.internal[topic] {
				continue
			}
			for _, next := range g.subs {
				if !seen[next.ID] && slices.Contains(next.SourceTopics, topic) {
					seen[next.ID] = true
					queue = append(queue, next)
				}
			}
		}
	}
	return false
}
