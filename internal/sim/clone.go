package sim

import (
	"errors"
	"math/rand/v2"
	"slices"

	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/processor/task"
	"github.com/tidemarkio/tidemark/record"
)

// Clone makes a new cluster from a checkpoint: the state of the tasks, their places in the topics of users, and the
// records in flight, which are all that the repartition topics hold. dir is where it keeps its state. It has no input
// beyond the cut; [Cluster.Continue] gives it more. Topologies with global stores have no clones.
func (c *Cluster) Clone(cp *Checkpoint, r *rand.Rand, instances int, dir string) (*Cluster, error) {
	cfg := c.cfg
	cfg.Rand, cfg.Instances, cfg.Dir = r, instances, dir
	clone := newCluster(cfg)
	clone.coordinator.lastID = c.coordinator.lastID
	for _, m := range clone.members {
		made := cp.made[m.cfg.ID]
		m.epoch, clone.nowMs = made.epoch, max(clone.nowMs, made.nowMs)
		for tp, p := range made.positions {
			if !c.between(tp.Topic) {
				clone.logs[tp], clone.origins[tp] = slices.Clone(c.logs[tp][:p.Offset]), make([]origin, p.Offset)
			} else {
				c.copyInFlight(clone, cp, m.cfg.ID, tp)
				p = task.Position{StreamTime: p.StreamTime, Checkpoint: p.Checkpoint}
			}
			m.positions[tp] = p
		}
		for tp, rows := range made.rows {
			for _, r := range rows {
				clone.append(tp, r, origin{})
			}
		}
	}
	for _, m := range clone.members {
		if err := clone.open(m); err != nil {
			return nil, errors.Join(err, clone.Close())
		}
	}
	return clone, nil
}

// between tells whether a topic is one between sub-topologies.
func (c *Cluster) between(topic string) bool {
	return slices.ContainsFunc(c.cfg.Plan.Repartitions, func(r *processor.RepartitionTopic) bool {
		return c.physical(r.Name) == topic
	})
}

// Inputs returns how much there is of each topic of users that is read.
func (c *Cluster) Inputs() map[record.TopicPartition]int {
	ends := make(map[record.TopicPartition]int)
	for _, m := range c.members {
		for _, tp := range m.cfg.Inputs {
			if !c.between(tp.Topic) {
				ends[tp] = len(c.logs[tp])
			}
		}
	}
	return ends
}

// Continue gives a clone what its original has read of the topics of users, up to some earlier result of Inputs.
func (c *Cluster) Continue(original *Cluster, ends map[record.TopicPartition]int) {
	for tp, end := range ends {
		for at := len(c.logs[tp]); at < end; at++ {
			c.append(tp, original.logs[tp][at], origin{})
		}
	}
}

// copyInFlight writes the records in flight to a task anew, in the order of their offsets.
func (c *Cluster) copyInFlight(clone *Cluster, cp *Checkpoint, id record.TaskID, tp record.TopicPartition) {
	for i, r := range c.logs[tp] {
		from := c.origins[tp][i]
		for _, in := range cp.cuts[id].InFlight {
			if in.Topic == tp.Topic && in.Partition == tp.Partition && in.From == from.task && !isBarrier(&r) &&
				in.Start <= int64(i) && int64(i) < in.End {
				clone.append(tp, r, origin{})
			}
		}
	}
}

// Before returns what was written to a topic of users before the cut, partition by partition.
func (c *Cluster) Before(cp *Checkpoint, topic string) (records []record.Raw) {
	for p := range c.cfg.Partitions {
		tp := record.TopicPartition{Topic: topic, Partition: p}
		for i, r := range c.logs[tp] {
			if from := c.origins[tp][i]; from.epoch <= cp.made[from.task].epoch {
				records = append(records, r)
			}
		}
	}
	return records
}

// State returns the newest value of each key in every changelog, deleted ones left out, by "topic-partition/key".
func (c *Cluster) State() map[string]string {
	state := make(map[string]string)
	for _, m := range c.members {
		for _, s := range m.cfg.Subtopology.Stores {
			tp := record.TopicPartition{Topic: m.cfg.Changelog(s.Name), Partition: m.cfg.ID.Partition}
			for _, r := range c.logs[tp] {
				key := tp.String() + "/" + string(r.Key)
				state[key] = string(r.Value)
				if r.Value == nil {
					delete(state, key)
				}
			}
		}
	}
	return state
}
