package tidemark

import (
	"context"
	"fmt"
	"strings"

	"github.com/tidemarkio/tidemark/eos"
	"github.com/tidemarkio/tidemark/record"
)

// offsets returns where every input continues.
func (s *starting) offsets(ctx context.Context) (map[record.TopicPartition]eos.Offset, error) {
	type place struct{ offset, streamTime int64 }
	was := make(map[record.TopicPartition]place)
	counts, least := make(map[string]int32), make(map[string]int64)
	for _, t := range s.manifest.Tasks {
		for _, in := range t.Inputs {
			topic := in.Topic
			if logical, ok := s.logicalOf(topic); ok {
				topic = s.topics.physical(logical)
			}
			was[record.TopicPartition{Topic: topic, Partition: in.Partition}] = place{in.Offset, in.StreamTimeMs}
			counts[topic]++
			// As the clocks of stores: nothing is late that would not have been.
			if have, ok := least[topic]; in.StreamTimeMs >= 0 && (!ok || in.StreamTimeMs < have) {
				least[topic] = in.StreamTimeMs
			}
		}
	}
	offsets := make(map[record.TopicPartition]eos.Offset)
	for _, t := range s.topics.tasks {
		for _, tp := range t.Partitions {
			p, known := was[tp]
			same := counts[tp.Topic] == s.topics.partitions[tp.Topic]
			switch {
			case s.topics.isInternal(tp.Topic):
				p.offset = 0 // what was in flight is all that the topic has
			case !known && counts[tp.Topic] == 0:
				continue // an input that is new, which starts as it is configured
			case counts[tp.Topic] > s.topics.partitions[tp.Topic]:
				known = false // another topic of that name: from its beginning
			}
			if !known {
				p.offset = 0
			}
			if !known || !same {
				p.streamTime = -1
				if at, ok := least[tp.Topic]; ok {
					p.streamTime = at
				}
			}
			m := eos.Metadata{Epoch: record.EpochOf(s.era), StreamTime: p.streamTime}
			offsets[tp] = eos.Offset{Offset: p.offset, Metadata: m.Encode()}
		}
	}
	return offsets, s.nothingUnread(ctx, offsets, counts)
}

// nothingUnread refuses an input that has grown while it had records that are not processed: those of keys that belong
// to other partitions now would meet a task without their state.
func (s *starting) nothingUnread(
	ctx context.Context, offsets map[record.TopicPartition]eos.Offset, counts map[string]int32,
) error {
	var grown []record.TopicPartition
	for tp := range offsets {
		if n := counts[tp.Topic]; n > 0 && n < s.topics.partitions[tp.Topic] && tp.Partition < n &&
			!s.topics.isInternal(tp.Topic) && s.keepsState(tp.Topic) {
			grown = append(grown, tp)
		}
	}
	if len(grown) == 0 {
		return nil
	}
	ends, err := s.admin.EndOffsets(ctx, grown, true)
	if err != nil {
		return err
	}
	for _, tp := range grown {
		// Without what was written since the topic has grown one cannot tell; an open end is the safe answer.
		if unread := ends[tp] - offsets[tp].Offset; unread > 0 {
			return s.fail(fmt.Sprintf("the input topic %q has grown from %d to %d partitions, and partition %d has %d offsets "+
				"behind the savepoint, whose keys may belong elsewhere by now", tp.Topic, counts[tp.Topic],
				s.topics.partitions[tp.Topic], tp.Partition, unread),
				"stop who writes to it, let the application process everything, stop it with a savepoint, and then add partitions")
		}
	}
	return nil
}

// keepsState tells whether the tasks that read a topic have stores.
func (s *starting) keepsState(topic string) bool {
	for _, sub := range s.plan.Subtopologies {
		for _, src := range sub.SourceTopics {
			if s.topics.physical(src) == topic && len(sub.Stores) > 0 {
				return true
			}
		}
	}
	return false
}

// logicalOf returns the name in the topology of a repartition topic of the application that made the savepoint.
func (s *starting) logicalOf(topic string) (string, bool) {
	logical, ok := strings.CutPrefix(topic, s.manifest.ApplicationID+"-")
	return logical, ok && s.topics.internal(logical)
}

// partitionsBefore is how many partitions each topic had.
func (s *starting) partitionsBefore() map[string]int32 {
	counts := make(map[string]int32)
	for _, t := range s.manifest.Tasks {
		for _, in := range t.Inputs {
			counts[in.Topic]++
		}
	}
	return counts
}

// isInternal tells whether a physical topic is a repartition topic.
func (t *topics) isInternal(physical string) bool { return t.repartitionInputs()[physical] }
