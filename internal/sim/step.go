package sim

import (
	"context"
	"errors"
	"maps"
	"runtime"
	"slices"

	"github.com/tidemarkio/tidemark/processor/task"
	"github.com/tidemarkio/tidemark/record"
)

// recordsMax bounds the records that a task processes in one step.
const recordsMax = 6

// outcome is how a transaction ends.
type outcome int

const (
	commits outcome = iota
	aborts
	// diesBefore and diesBehind are kills within a transaction: before the commit, and behind it, when the instance has
	// not yet heard of it.
	diesBefore
	diesBehind
)

// Step lets one thing happen.
func (c *Cluster) Step() error {
	r := c.cfg.Rand
	if c.coordinator != nil && r.IntN(4) == 0 {
		return c.checkpointStep()
	}
	m := c.members[r.IntN(len(c.members))]
	switch draw := r.IntN(100); {
	case draw < 60:
		return c.process(m, 1+r.IntN(recordsMax))
	case draw < 78:
		return c.transaction(m.on, commits)
	case draw < 82:
		return c.transaction(m.on, aborts)
	case draw < 84:
		return c.transaction(m.on, diesBefore)
	case draw < 86:
		return c.transaction(m.on, diesBehind)
	case draw < 88:
		return c.crash(m.on)
	case draw < 93:
		return c.move(m)
	case draw < 97:
		if m.task.InFlight() {
			return nil
		}
		return m.task.Stores().Flush(context.Background())
	default:
		c.nowMs += r.Int64N(100)
		if err := m.task.Punctuate(c.nowMs); err != nil {
			return err
		}
		return c.collect(m)
	}
}

// process hands some records of each input to a task, and lets it process up to a number of them.
func (c *Cluster) process(m *member, records int) error {
	for _, tp := range m.cfg.Inputs {
		from, end := m.fetched[tp], int64(len(c.logs[tp]))
		if n := min(end-from, c.cfg.Rand.Int64N(2*recordsMax)); n > 0 {
			m.task.Add(task.Input{
				TopicPartition: tp, Records: slices.Clone(c.logs[tp][from : from+n]), Next: from + n, HighWatermark: end,
			})
			m.fetched[tp] = from + n
		}
	}
	_, err := m.task.Process(records, c.nowMs)
	m.task.Released()
	return errors.Join(err, c.collect(m))
}

// tasksOf returns the tasks of an instance.
func (c *Cluster) tasksOf(in *instance) []*member {
	return slices.DeleteFunc(slices.Clone(c.members), func(m *member) bool { return m.on != in })
}

// transaction seals the tasks of an instance, lets some of them go on into the next epoch, and ends the transaction.
func (c *Cluster) transaction(in *instance, end outcome) error {
	members := c.tasksOf(in)
	epochs := make([]*task.Epoch, len(members))
	for i, m := range members {
		e, err := m.task.Seal()
		if err != nil {
			return err
		}
		epochs[i] = e
	}
	for _, m := range members {
		if c.cfg.Rand.IntN(3) == 0 {
			if err := c.process(m, 1+c.cfg.Rand.IntN(recordsMax)); err != nil {
				return err
			}
		}
	}
	switch end {
	case aborts:
		c.Events.Aborts++
		return c.rollback(members)
	case diesBefore:
		return c.crash(in)
	case commits, diesBehind:
	}
	c.Events.Commits++
	ends := make([][]int64, len(members))
	for i, m := range members {
		if epochs[i] != nil {
			ends[i] = c.write(m, epochs[i])
			if err := c.cutsWritten(m, epochs[i]); err != nil {
				return err
			}
		}
	}
	if end == diesBehind {
		return c.crash(in)
	}
	for i, m := range members {
		if epochs[i] == nil {
			continue
		}
		if err := m.task.Committed(ends[i], c.nowMs); err != nil {
			return err
		}
		for len(epochs[i].Cuts) > 0 && m.task.Stores().FlushRunning() {
			runtime.Gosched() // or its end would decide when the next cut is made, and seeds would mean nothing
		}
		if err := c.collect(m); err != nil {
			return err
		}
	}
	return nil
}

// write makes an epoch durable and returns the offsets behind its batches.
func (c *Cluster) write(m *member, e *task.Epoch) []int64 {
	ends := make([]int64, len(e.Batches))
	for i, b := range e.Batches {
		for j := range b.Len() {
			c.append(b.TopicPartition, b.At(j), origin{m.cfg.ID, e.Number})
		}
		ends[i] = int64(len(c.logs[b.TopicPartition]))
		if e.IsChangelog(i) && c.cfg.Rand.IntN(8) == 0 {
			ends[i] = -1 // the answer was lost
		}
	}
	maps.Copy(m.positions, e.Positions)
	m.epoch = e.Number
	return ends
}

// rollback drops what tasks have not committed, and fetches their inputs again.
func (c *Cluster) rollback(members []*member) error {
	for _, m := range members {
		if err := m.task.Rollback(maps.Clone(m.positions)); err != nil {
			return err
		}
		m.task.Released()
		for tp, p := range m.positions {
			m.fetched[tp] = p.Offset
		}
	}
	return nil
}

// crash kills an instance. Its tasks start again there, or on others.
func (c *Cluster) crash(in *instance) error {
	c.Events.Crashes++
	stays := c.cfg.Rand.IntN(2) == 0
	members := c.tasksOf(in)
	for _, m := range members {
		if err := m.task.Stores().Close(false); err != nil {
			return err
		}
		m.task = nil
	}
	if c.coordinator != nil && c.cfg.Rand.IntN(2) == 0 {
		in.at, in.known, in.over = 0, nil, nil // a new process reads the control topic while its tasks run already
	}
	for _, m := range members {
		if !stays {
			m.on = c.anInstance()
		}
		if err := c.open(m); err != nil {
			return err
		}
	}
	return nil
}

// move gives a task to another instance, after a commit or without one.
func (c *Cluster) move(m *member) error {
	c.Events.Moves++
	end := commits
	if c.cfg.Rand.IntN(3) == 0 {
		end = aborts
	}
	if err := c.transaction(m.on, end); err != nil {
		return err
	}
	// It may have gone on into the next epoch meanwhile.
	if err := c.rollback([]*member{m}); err != nil {
		return err
	}
	if c.coordinator != nil {
		if err := c.leave(m); err != nil {
			return err
		}
	}
	if err := m.task.Close(c.cfg.Rand.IntN(2) == 0); err != nil {
		return err
	}
	m.task, m.on = nil, c.anInstance()
	return c.open(m)
}

// sinceStart is where a log is read from without a base.
const sinceStart = int64(0)

// open restores a task on its instance and starts it.
func (c *Cluster) open(m *member) error {
	c.Events.Restores++
	cfg := m.cfg
	cfg.Stores.Dir = c.taskDir(m)
	t, err := task.Open(context.Background(), cfg)
	if err != nil {
		return err
	}
	m.task, m.fetched = t, make(map[record.TopicPartition]int64)
	for tp, p := range m.positions {
		m.fetched[tp] = p.Offset
	}
	if err := c.restore(m); err != nil {
		return err
	}
	return c.join(m)
}
