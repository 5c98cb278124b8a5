package tidemark

import (
	"fmt"

	"github.com/tidemarkio/tidemark/changelog"
	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/store"
	"github.com/tidemarkio/tidemark/topology"
)

// sameHint is what to do about rows and records that cannot go to other partitions.
const sameHint = "restore with as many partitions as before, or leave the store out"

// placer returns what tells the partition of a row. With as many partitions as before each row stays where it is.
//
// Whether a key really chose its partition by murmur2 shows: a row that lies elsewhere comes from a topic that somebody
// partitions in another way, or from a processor whose store has keys of its own. Where its new partition is nobody
// knows then.
func (s *starting) placer(
	st *restoredStore, from, to int32,
) func(task record.TaskID, raw record.Raw) (store.Placement, int32, error) {
	if from == to {
		return func(task record.TaskID, _ record.Raw) (store.Placement, int32, error) {
			return store.ByKey, task.Partition, nil
		}
	}
	spec := &st.now.Spec
	return func(task record.TaskID, raw record.Raw) (store.Placement, int32, error) {
		where, key, err := spec.Place(raw)
		if err != nil || where != store.ByKey {
			return where, 0, err
		}
		if want := record.PartitionOf(key, from); want != task.Partition {
			return 0, 0, fmt.Errorf("store %q has a row in partition %d that belongs into %d by murmur2 of its key %x, and the "+
				"number of partitions changes from %d to %d: its input is partitioned in another way, or the keys of the store "+
				"are not those of its records (store.Spec.PartitionKey)", spec.Name, task.Partition, want, key, from, to)
		}
		return where, record.PartitionOf(key, to), nil
	}
}

// foreignMove is a foreign-key join whose left table changes its number of partitions.
type foreignMove struct {
	join      *processor.ForeignKeyJoin
	from, now int32
}

// leftMoves returns how the left rows of a join move, nil if they do not. subscribers is the store that the join had.
func (s *starting) leftMoves(j *processor.ForeignKeyJoin, subscribers string) *foreignMove {
	if j == nil {
		return nil
	}
	answers := j.Answers
	if t := s.manifest.Topology; t != nil { // the join may have been renamed
		for _, was := range t.ForeignKeyJoins {
			if was.Subscribers == subscribers {
				answers = was.Answers
			}
		}
	}
	was := s.had[changelog.RepartitionTopicName(s.manifest.ApplicationID, answers)]
	now := s.topics.partitions[s.topics.physical(j.Answers)]
	if was == now {
		return nil
	}
	return &foreignMove{j, was, now}
}

// partition is the topology.MovePartition of the join.
func (m *foreignMove) partition(leftKey []byte, was int32) (int32, error) {
	if m.from == 0 {
		return 0, fmt.Errorf("how many partitions the left table had is not known: the savepoint has no topic %q",
			m.join.Answers)
	}
	if len(leftKey) < m.join.LeftWindowBytes {
		return 0, fmt.Errorf("the left key %x is too short for a window", leftKey)
	}
	key := leftKey[:len(leftKey)-m.join.LeftWindowBytes]
	if want := record.PartitionOf(key, m.from); want != was {
		return 0, fmt.Errorf("the left row with key %x is in partition %d and belongs into %d by murmur2 of its key, and "+
			"the number of partitions of the left table changes from %d to %d: its input is partitioned in another way",
			leftKey, was, want, m.from, m.now)
	}
	return record.PartitionOf(key, m.now), nil
}

// refuseCustom refuses to move rows and messages of a foreign-key join whose right table the program partitions.
func (s *starting) refuseCustom(j *processor.ForeignKeyJoin, from, to int32) error {
	if j == nil || !j.CustomPartitioner || from == to {
		return nil
	}
	return s.fail(fmt.Sprintf("the right table of the foreign-key join with the store %q is partitioned by a function "+
		"(WithOtherPartitioner), and its number of partitions changes from %d to %d", j.Subscribers, from, to), sameHint)
}

// moveInFlight places a record that was in flight in an internal topic of which the number of partitions may have
// changed. What a message of a foreign-key join says about partitions follows.
func (s *starting) moveInFlight(logical string, rec *record.Raw, partition, before, now int32) (int32, error) {
	j := s.foreignTopic(logical)
	switch {
	case j != nil && logical == j.Requests:
		return s.moveRequest(j, rec, partition, before, now)
	case before == now:
		return partition, nil
	case j != nil:
		m := foreignMove{j, before, now}
		to, err := m.partition(rec.Key, partition)
		if err != nil {
			return 0, s.fail(fmt.Sprintf("an answer was in flight in %q: %v", logical, err), sameHint)
		}
		return to, nil
	case rec.Key == nil:
		return int32(rec.Offset % int64(now)), nil
	}
	return record.PartitionOf(rec.Key, now), nil
}

// moveRequest places a subscription of a foreign-key join.
func (s *starting) moveRequest(
	j *processor.ForeignKeyJoin, rec *record.Raw, partition, before, now int32,
) (to int32, err error) {
	if err := s.refuseCustom(j, before, now); err != nil {
		return 0, err
	}
	left := partition
	if m := s.leftMoves(j, j.Subscribers); m != nil && rec.Value != nil {
		if rec.Value, left, err = topology.MoveSubscription(rec.Value, m.partition); err != nil {
			return 0, s.fail(fmt.Sprintf("a message was in flight in %q: %v", j.Requests, err), sameHint)
		}
	}
	switch {
	case before == now:
		return partition, nil
	case rec.Key == nil: // without a foreign key: whoever gets it answers
		return left % now, nil
	}
	return record.PartitionOf(rec.Key, now), nil
}

// foreignTopic returns the foreign-key join that an internal topic belongs to, nil if it belongs to none.
func (s *starting) foreignTopic(logical string) *processor.ForeignKeyJoin {
	for i := range s.plan.ForeignKeyJoins {
		if j := &s.plan.ForeignKeyJoins[i]; j.Requests == logical || j.Answers == logical {
			return j
		}
	}
	return nil
}
