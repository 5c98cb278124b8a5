package task

import (
	"fmt"
	"maps"
	"slices"

	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/store"
)

// Epoch is everything that one commit of a task carries. It is read-only once sealed.
type Epoch struct {
	Task   record.TaskID
	Number record.Epoch
	// Batches are changelog records first, then outputs.
	Batches []*record.Batch
	// Positions are the input positions at the end of the epoch.
	Positions map[record.TopicPartition]Position
	// Cuts are the checkpoints whose cut is the end of the epoch. Their barriers are the last records of the outputs.
	Cuts []int64
	// Externals are what goes to systems outside of Kafka.
	Externals []External

	changelogs []string // store names of the first batches
}

// IsChangelog reports whether the i-th batch belongs to a store.
func (e *Epoch) IsChangelog(i int) bool { return i < len(e.changelogs) }

// Seal ends the active epoch: cached updates are forwarded, dirty keys encoded, outputs and positions taken. Processing
// may go on at once, into the next epoch. It returns nil if there is nothing to commit.
func (t *Task) Seal() (*Epoch, error) {
	if t.sealed != nil {
		panic(fmt.Sprintf("task %s: sealing epoch %d while epoch %d is in flight", t.cfg.ID, t.epoch, t.sealed.Number))
	}
	if !t.dirty {
		return nil, nil
	}
	if err := t.flushCaches(); err != nil {
		return nil, err
	}
	e := &Epoch{Task: t.cfg.ID, Number: t.epoch, Positions: make(map[record.TopicPartition]Position, len(t.queues))}
	err := t.stores.Seal(t.epoch, func(name string) *record.Batch {
		b := t.newBatch(record.TopicPartition{Topic: t.cfg.Changelog(name), Partition: t.cfg.ID.Partition})
		e.Batches = append(e.Batches, b)
		e.changelogs = append(e.changelogs, name)
		return b
	})
	if err != nil {
		return nil, fmt.Errorf("task %s: %w", t.cfg.ID, err)
	}
	if err := t.alignment.seal(e); err != nil {
		return nil, err
	}
	for _, topic := range slices.Sorted(maps.Keys(t.outputs)) {
		e.Batches = t.outputs[topic].seal(e.Batches)
	}
	if err := t.sealExternals(e); err != nil {
		return nil, err
	}
	for _, q := range t.queues {
		e.Positions[q.tp] = q.committable(t.alignment.begun)
	}
	t.punctuators.seal()
	t.sealed, t.dirty, t.commitRequested = e, t.alignment.pending(), false
	t.epoch++
	t.alignment.sealedAt(e)
	return e, nil
}

// flushCaches forwards what record caches hold back. User code downstream may fail on an update: if the handler lets it
// pass, the flush goes on with the next one, since an update leaves the cache before it is forwarded.
func (t *Task) flushCaches() error {
	for {
		err := guard(t.stores.FlushCaches)
		if err == nil {
			return nil
		}
		if !isUsers(err) {
			return fmt.Errorf("task %s: flush caches: %w", t.cfg.ID, err)
		}
		if err := t.failedWithout(err, processor.DuringFlush, t.wallClock); err != nil {
			return err
		}
	}
}

// Committed says that the sealed epoch is durable. ends are the offsets behind each batch, in the order of Batches; -1
// is unknown. Stores make it readable as committed data and may begin to flush it to disk.
func (t *Task) Committed(ends []int64, wallClock int64) error {
	e := t.sealed
	cp := store.Checkpoint{
		Epoch:       e.Number,
		WallTimeMs:  wallClock,
		Changelog:   t.changelog,
		Inputs:      make(map[record.TopicPartition]int64, len(e.Positions)),
		StreamTimes: make(map[record.TopicPartition]int64, len(e.Positions)),
	}
	for i, name := range e.changelogs {
		if e.Batches[i].Len() > 0 && ends[i] >= 0 {
			t.changelog[name] = ends[i] // an unknown end keeps the older one: a restart replays a little more
		}
	}
	for _, s := range t.cfg.Subtopology.Stores {
		if s.SourceTopic == "" {
			continue
		}
		// The input is the store's changelog: what was read of it is in the store.
		tp := record.TopicPartition{Topic: t.cfg.Physical(s.SourceTopic), Partition: t.cfg.ID.Partition}
		if p, ok := e.Positions[tp]; ok {
			t.changelog[s.PositionKey()] = p.Offset
		}
	}
	for tp, p := range e.Positions {
		cp.Inputs[tp], cp.StreamTimes[tp] = p.Offset, p.StreamTime
	}
	if err := t.stores.Commit(cp); err != nil {
		return fmt.Errorf("task %s: %w", t.cfg.ID, err)
	}
	t.punctuators.commit()
	t.alignment.committed(e, wallClock)
	t.finish(e)
	return nil
}

// Rollback drops the sealed and the active epoch. Inputs must be fetched again from the committed positions, which the
// caller knows.
func (t *Task) Rollback(committed map[record.TopicPartition]Position) error {
	if err := t.stores.Rollback(); err != nil {
		return fmt.Errorf("task %s: roll back: %w", t.cfg.ID, err)
	}
	for _, o := range t.outputs {
		o.drop()
	}
	for _, x := range t.externals {
		x.node.DropRows()
	}
	if t.sealed != nil {
		t.finish(t.sealed)
	}
	t.streamTime = -1
	for _, q := range t.queues {
		for i := range q.batches {
			if !q.batches[i].own {
				t.released = append(t.released, q.batches[i].Token)
			}
		}
		p := committed[q.tp]
		q.reset(p)
		t.streamTime = max(t.streamTime, p.StreamTime)
	}
	t.times.Stream = t.streamTime
	t.expiry.reset()
	t.punctuators.rollback()
	t.dirty, t.commitRequested = false, false
	t.alignment.rollback(committed)
	return nil
}

// finish gives the memory of an epoch back.
func (t *Task) finish(e *Epoch) {
	for _, b := range e.Batches {
		t.recycle(b)
	}
	e.Batches, e.Externals = nil, nil
	t.sealed = nil
}
