package tidemarktest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime/debug"

	"github.com/tidemarkio/tidemark/eos"
	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/processor/task"
	"github.com/tidemarkio/tidemark/record"
)

// runner is one task with what its worker and the broker would keep for it.
type runner struct {
	d   *Driver
	cfg task.Config

	task *task.Task
	// seen is, by topic, how many records of the active epoch were delivered.
	seen map[string]int

	// What survives a crash.
	epoch      record.Epoch
	positions  map[record.TopicPartition]task.Position
	changelogs map[string][]record.Raw // by store
	last       eos.Metadata            // of the last commit: what it decided elsewhere
}

func newRunner(d *Driver, sub *processor.Subtopology) *runner {
	r := &runner{
		d: d, cfg: d.taskConfig(sub, record.TaskID{Subtopology: sub.ID}),
		positions: make(map[record.TopicPartition]task.Position), changelogs: make(map[string][]record.Raw),
	}
	for _, topic := range sub.SourceTopics {
		tp := record.TopicPartition{Topic: d.physical(topic)}
		r.cfg.Inputs = append(r.cfg.Inputs, tp)
		r.positions[tp] = task.Position{StreamTime: -1}
		d.log(tp.Topic).reader = r
	}
	return r
}

// open makes the task anew: its stores are restored from the changelogs, its inputs continue where they were committed.
func (r *runner) open() error {
	// Nothing here waits, so there is nothing to cancel.
	t, err := task.Open(context.Background(), r.cfg)
	if err != nil {
		return err
	}
	r.task, r.seen = t, make(map[string]int)
	ends := make(map[string]int64, len(r.changelogs))
	if err := r.restoreFromSources(ends); err != nil {
		return err
	}
	for store, records := range r.changelogs {
		if err := t.Stores().Replay(store, records); err != nil {
			return fmt.Errorf("tidemarktest: restore %q: %w", store, err)
		}
		ends[store] = int64(len(records))
	}
	if err := r.connectSinks(t); err != nil {
		return err
	}
	if err := t.Init(maps.Clone(r.positions), ends, r.epoch, r.d.nowMs); err != nil {
		return err
	}
	for _, tp := range r.cfg.Inputs {
		for _, l := range r.d.log(tp.Topic).records[r.positions[tp].Offset:] {
			if err := r.add(tp.Topic, l.Raw); err != nil {
				return err
			}
		}
	}
	return nil
}

// add implements logReader: it queues a record.
func (r *runner) add(topic string, raw record.Raw) error { return addTo(r.task, topic, raw) }

// restoreFromSources restores stores whose changelog is an input topic from what was committed of it.
func (r *runner) restoreFromSources(ends map[string]int64) error {
	for _, s := range r.cfg.Subtopology.Stores {
		if s.SourceTopic == "" {
			continue
		}
		topic := r.d.physical(s.SourceTopic)
		committed := r.positions[record.TopicPartition{Topic: topic}].Offset
		var records []record.Raw
		for _, l := range r.d.log(topic).records[:committed] {
			records = append(records, l.Raw)
		}
		if err := r.task.Stores().Replay(s.Name, s.FromSource()(records)); err != nil {
			return fmt.Errorf("tidemarktest: restore %q from %q: %w", s.Name, topic, err)
		}
		ends[s.PositionKey()] = committed
	}
	return nil
}

// step processes one record and delivers what it wrote.
func (r *runner) step() error {
	if _, err := r.task.Process(1, r.d.nowMs); err != nil {
		return err
	}
	r.task.Released()
	return r.deliver()
}

// deliver moves what the active epoch has written since the last time to its topics.
func (r *runner) deliver() error {
	for b := range r.task.Outputs() {
		if err := r.deliverBatch(b); err != nil {
			return err
		}
	}
	return nil
}

func (r *runner) deliverBatch(b *record.Batch) error {
	topic := b.TopicPartition.Topic
	for i := r.seen[topic]; i < b.Len(); i++ {
		r.seen[topic] = i + 1
		if err := r.d.log(topic).append(b.At(i), false); err != nil {
			return err
		}
	}
	return nil
}

// committed makes a sealed epoch durable.
func (r *runner) committed(e *task.Epoch) error {
	ends := make([]int64, len(e.Batches))
	for i, b := range e.Batches {
		if !e.IsChangelog(i) {
			continue
		}
		name := r.storeOf(b.TopicPartition.Topic)
		for j := range b.Len() {
			r.changelogs[name] = append(r.changelogs[name], cloneRaw(b.At(j), int64(len(r.changelogs[name]))))
		}
		ends[i] = int64(len(r.changelogs[name]))
	}
	maps.Copy(r.positions, e.Positions)
	r.last = eos.Metadata{Epoch: e.Number, Prepared: e.Prepared()}
	r.epoch = e.Number
	return r.task.Committed(ends, r.d.nowMs)
}

func (r *runner) storeOf(changelog string) string {
	for _, s := range r.cfg.Subtopology.Stores {
		if r.cfg.Changelog(s.Name) == changelog {
			return s.Name
		}
	}
	return ""
}

// panicError is a panic of user code that the task does not guard against by itself.
type panicError struct {
	value any
	stack []byte
}

func (e *panicError) Error() string {
	return fmt.Sprintf("tidemarktest: panic: %v\n%s", e.value, e.stack)
}

// guard turns a panic into an error, so that a test ends with a message and its other tests run.
func guard(fn func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = &panicError{value: r, stack: debug.Stack()}
		}
	}()
	return fn()
}

var errClosed = errors.New("tidemarktest: the driver is closed")
