package sim

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"github.com/tidemarkio/tidemark/checkpointing"
	"github.com/tidemarkio/tidemark/processor/task"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/store"
)

// coordinator stands for the coordinator, the control topic and the storage of checkpoints.
type coordinator struct {
	// control is the topic. Every instance reads it at its own pace.
	control   []message
	lastID    int64
	active    map[int64]*Checkpoint
	completed []*Checkpoint
}

// message says that a checkpoint was triggered, or that it is over.
type message struct {
	triggered checkpointing.Barrier
	over      int64
}

// Checkpoint is a cut through the whole application.
type Checkpoint struct {
	checkpointing.Barrier

	made map[record.TaskID]madeCut
	cuts map[record.TaskID]checkpointing.Cut
}

// madeCut is what the cluster knows of a task's cut, from outside: the epoch that it is the end of.
type madeCut struct {
	// rows are those of the snapshot, as changelog records, by changelog.
	rows map[record.TopicPartition][]record.Raw

	epoch     record.Epoch
	positions map[record.TopicPartition]task.Position
	// changelogs are the ends of the task's changelogs.
	changelogs map[record.TopicPartition]int
	nowMs      int64
}

// origin is who wrote a record.
type origin struct {
	task  record.TaskID
	epoch record.Epoch
}

// Completed returns the checkpoints that all tasks have acknowledged, oldest first.
func (c *Cluster) Completed() []*Checkpoint { return c.coordinator.completed }

const (
	checkpointsInFlightMax = 3
	alignedTimeoutMaxMs    = 60
)

// checkpointStep lets one thing happen to checkpoints.
func (c *Cluster) checkpointStep() error {
	r := c.cfg.Rand
	co := c.coordinator
	switch draw := r.IntN(100); {
	case draw < 22:
		if len(co.active) < checkpointsInFlightMax {
			c.trigger()
		}
	case draw < 90:
		return c.deliver(c.anInstance())
	case draw < 95:
		if len(co.active) > 0 {
			ids := slices.Sorted(maps.Keys(co.active))
			c.abort(ids[r.IntN(len(ids))])
		}
	default:
		c.nowMs += r.Int64N(alignedTimeoutMaxMs)
	}
	return nil
}

func (c *Cluster) trigger() {
	co, r := c.coordinator, c.cfg.Rand
	co.lastID++
	b := checkpointing.Barrier{ID: co.lastID, TriggeredMs: c.nowMs, Unaligned: r.IntN(3) == 0}
	if r.IntN(2) == 0 {
		b.AlignedTimeoutMs = 1 + r.Int64N(alignedTimeoutMaxMs)
	}
	co.active[b.ID] = &Checkpoint{
		Barrier: b, made: make(map[record.TaskID]madeCut), cuts: make(map[record.TaskID]checkpointing.Cut),
	}
	co.control = append(co.control, message{triggered: b})
	c.Events.Triggered++
}

// abort ends a checkpoint that will not complete.
func (c *Cluster) abort(id int64) {
	co := c.coordinator
	if _, ok := co.active[id]; !ok {
		return
	}
	delete(co.active, id)
	co.control = append(co.control, message{over: id})
	c.Events.Aborted++
}

// deliver lets an instance read the next message of the control topic.
func (c *Cluster) deliver(in *instance) error {
	co := c.coordinator
	if in.at == len(co.control) {
		return nil
	}
	m := co.control[in.at]
	in.at++
	if m.over != 0 {
		in.over = append(in.over, m.over)
		in.known = slices.DeleteFunc(in.known, func(b checkpointing.Barrier) bool { return b.ID == m.over })
	} else {
		in.known = append(in.known, m.triggered)
	}
	for _, member := range c.tasksOf(in) {
		if m.over != 0 {
			member.task.Abandon(m.over)
		} else {
			member.task.Checkpoint(m.triggered)
		}
		if err := c.collect(member); err != nil {
			return err
		}
	}
	return nil
}

// join tells a task that starts what is in progress, as far as its instance knows.
func (c *Cluster) join(m *member) error {
	for _, id := range m.on.over {
		m.task.Abandon(id)
	}
	for _, b := range m.on.known {
		m.task.Checkpoint(b)
	}
	return c.collect(m)
}

// leave is the last word of a task that moves.
func (c *Cluster) leave(m *member) error {
	if err := c.collect(m); err != nil {
		return err
	}
	for _, id := range m.task.Checkpointing() {
		c.abort(id)
	}
	return nil
}

// cutsWritten notes the cuts of an epoch that is durable now.
func (c *Cluster) cutsWritten(m *member, e *task.Epoch) error {
	for _, id := range e.Cuts {
		cp := c.coordinator.active[id]
		if cp == nil {
			continue // aborted meanwhile
		}
		if _, twice := cp.made[m.cfg.ID]; twice {
			return fmt.Errorf("sim: task %s has cut twice for checkpoint %d", m.cfg.ID, id)
		}
		made := madeCut{
			epoch: e.Number, positions: maps.Clone(e.Positions), changelogs: make(map[record.TopicPartition]int), nowMs: c.nowMs,
		}
		for _, s := range m.cfg.Subtopology.Stores {
			tp := record.TopicPartition{Topic: m.cfg.Changelog(s.Name), Partition: m.cfg.ID.Partition}
			made.changelogs[tp] = len(c.logs[tp])
		}
		cp.made[m.cfg.ID] = made
	}
	return nil
}

// collect takes what a task has to say about checkpoints. A checkpoint that everybody has acknowledged is complete.
func (c *Cluster) collect(m *member) error {
	if c.coordinator == nil {
		return nil
	}
	for _, cut := range m.task.Cuts() {
		cp := c.coordinator.active[cut.Barrier.ID]
		if cp == nil {
			if cut.Snapshot != nil {
				cut.Snapshot.Release()
			}
			continue
		}
		if err := c.acknowledge(cp, m, cut); err != nil {
			return fmt.Errorf("sim: checkpoint %d: task %s: %w", cp.ID, m.cfg.ID, err)
		}
		if cut.Unaligned {
			c.Events.Unaligned++
		}
		if len(cp.cuts) == len(c.members) {
			if err := c.verify(cp); err != nil {
				return fmt.Errorf("sim: checkpoint %d: %w", cp.ID, err)
			}
			delete(c.coordinator.active, cp.ID)
			c.coordinator.control = append(c.coordinator.control, message{over: cp.ID})
			c.coordinator.completed = append(c.coordinator.completed, cp)
		}
	}
	for _, d := range m.task.Declined() {
		c.abort(d.ID)
	}
	return nil
}

// acknowledge takes a task's cut, which must be what was seen of it from outside.
func (c *Cluster) acknowledge(cp *Checkpoint, m *member, cut checkpointing.Cut) error {
	made, ok := cp.made[m.cfg.ID]
	if !ok || made.epoch != cut.Epoch || cut.Task != m.cfg.ID {
		return fmt.Errorf("acknowledges epoch %d, but the cut is %+v", cut.Epoch, made)
	}
	made.rows = make(map[record.TopicPartition][]record.Raw)
	for _, s := range m.cfg.Subtopology.Stores {
		tp := record.TopicPartition{Topic: m.cfg.Changelog(s.Name), Partition: m.cfg.ID.Partition}
		if s.SourceTopic != "" || s.LoggingDisabled {
			continue
		}
		for r, err := range m.task.Stores().ChangelogRecords(s.Name, cut.Snapshot.Full(context.Background())) {
			if err != nil {
				return err
			}
			r.Key, r.Value = bytes.Clone(r.Key), bytes.Clone(r.Value)
			made.rows[tp] = append(made.rows[tp], r)
		}
		want, got := newest(c.logs[tp][:made.changelogs[tp]]), newest(made.rows[tp])
		if s.Type != store.TypeKeyValue { // rows of others expire
			maps.DeleteFunc(want, func(key, _ string) bool { _, kept := got[key]; return !kept })
		}
		if !reflect.DeepEqual(want, got) {
			return fmt.Errorf("the snapshot of store %q is %q, its changelog says %q", s.Name, got, want)
		}
	}
	if cut.Snapshot != nil {
		cut.Snapshot.Release()
		cut.Snapshot = nil
	}
	cp.made[m.cfg.ID], cp.cuts[m.cfg.ID] = made, cut
	return nil
}

// newest is what a changelog comes to.
func newest(records []record.Raw) map[string]string {
	rows := make(map[string]string)
	for _, r := range records {
		rows[string(r.Key)] = fmt.Sprintf("%x@%d", r.Value, r.Timestamp)
		if r.Value == nil {
			delete(rows, string(r.Key))
		}
	}
	return rows
}

// settled tells whether no checkpoint is in progress, and everybody knows.
func (c *Cluster) settled() bool {
	co := c.coordinator
	return co == nil || len(co.active) == 0 && !slices.ContainsFunc(c.instances, func(in *instance) bool {
		return in.at < len(co.control)
	})
}

// verify compares what tasks say is in flight with the logs: it must be exactly what was sent before its task's cut and
// is processed behind the receiver's.
func (c *Cluster) verify(cp *Checkpoint) error {
	for _, m := range c.members {
		made, cut := cp.made[m.cfg.ID], cp.cuts[m.cfg.ID]
		for _, tp := range m.cfg.Inputs {
			p := made.positions[tp]
			if !c.between(tp.Topic) {
				continue
			}
			for i, r := range c.logs[tp] {
				from := c.origins[tp][i]
				if isBarrier(&r) || from == (origin{}) {
					continue
				}
				offset := int64(i)
				processed := offset < p.Offset || p.Ahead.Processed(from.task, offset)
				sent := from.epoch <= cp.made[from.task].epoch
				inFlight := slices.ContainsFunc(cut.InFlight, func(in checkpointing.Range) bool {
					return in.From == from.task && in.Topic == tp.Topic && in.Partition == tp.Partition &&
						in.Start <= offset && offset < in.End
				})
				if processed && !sent || inFlight != (sent && !processed) {
					return fmt.Errorf("task %s: %s offset %d of task %s: sent before its cut: %t, processed before this one: %t, "+
						"in flight: %t; %+v; %+v", m.cfg.ID, tp, offset, from.task, sent, processed, inFlight, p, cut.InFlight)
				}
				if inFlight {
					c.Events.InFlight++
				}
			}
		}
	}
	return nil
}

func isBarrier(r *record.Raw) bool {
	_, barrier, _ := checkpointing.SplitHeaders(r.Headers)
	return barrier != nil
}
