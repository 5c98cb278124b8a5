package tidemarktest

import (
	"context"

	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/processor/task"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/store"
)

// globals are the global stores of a driver. Unlike in production they follow their topics at once: a record of such a
// topic is in the store before the next one is processed.
type globals struct {
	d   *Driver
	cfg task.Config

	task *task.Task // nil before the start
}

// newGlobals returns the global stores of the plan, nil if it has none.
func newGlobals(d *Driver) *globals {
	sub := d.plan.GlobalSubtopology()
	if sub == nil {
		return nil
	}
	g := &globals{d: d}
	g.cfg = d.taskConfig(sub, record.GlobalTaskID())
	for _, topic := range sub.SourceTopics {
		g.cfg.Inputs = append(g.cfg.Inputs, record.TopicPartition{Topic: topic})
		d.log(topic).reader = g
	}
	return g
}

// open fills the stores from their topics.
func (g *globals) open() error {
	t, err := task.Open(context.Background(), g.cfg)
	if err != nil {
		return err
	}
	g.task = t
	positions := make(map[record.TopicPartition]task.Position)
	for _, tp := range g.cfg.Inputs {
		positions[tp] = task.Position{StreamTime: -1}
	}
	if err := t.Init(positions, nil, 0, g.d.nowMs); err != nil {
		return err
	}
	for _, tp := range g.cfg.Inputs {
		for _, l := range g.d.log(tp.Topic).records {
			if err := g.add(tp.Topic, l.Raw); err != nil {
				return err
			}
		}
	}
	return nil
}

// add implements logReader: it puts a record into the store.
func (g *globals) add(topic string, raw record.Raw) error {
	// The log keeps the record, and the source may change its timestamp.
	if err := addTo(g.task, topic, raw); err != nil {
		return err
	}
	for g.task.Buffered() {
		if _, err := g.task.Process(1, g.d.nowMs); err != nil {
			return err
		}
	}
	g.task.Released()
	if e, err := g.task.Seal(); err != nil || e == nil {
		return err
	}
	if err := g.task.Committed(nil, g.d.nowMs); err != nil {
		return err
	}
	return g.task.Stores().Flush(context.Background()) // views show what was flushed
}

// view makes a view for a task, or for the test.
func (g *globals) view(name string) (store.Store, bool, error) {
	if g == nil || g.task == nil {
		return nil, false, nil
	}
	if _, ok := g.task.Stores().Store(name); !ok {
		return nil, false, nil
	}
	s, err := g.task.Stores().View(name)
	return s, err == nil, err
}

// inMemory returns a sub-topology whose stores are kept in memory: what a test needs of them on disk would only be
// their slowness.
func inMemory(sub *processor.Subtopology) *processor.Subtopology {
	out := *sub
	out.Stores = nil
	for _, s := range sub.Stores {
		spec := *s
		spec.InMemory = true
		out.Stores = append(out.Stores, &spec)
	}
	return &out
}

// taskConfig is what all tasks of the driver have in common.
func (d *Driver) taskConfig(sub *processor.Subtopology, id record.TaskID) task.Config {
	cfg := task.Config{
		ID: id, ApplicationID: d.cfg.applicationID, Subtopology: inMemory(sub),
		Physical:   d.physical,
		Partitions: func(string) (int32, error) { return 1, nil },
		Changelog:  func(store string) string { return d.cfg.applicationID + "-" + store + "-changelog" },
		Global:     func(name string) (store.Store, bool, error) { return d.globals.view(name) },
		Handlers:   d.cfg.handlers,
		Logger:     d.cfg.logger,

		TimestampExtractor: d.cfg.extractor,
		MaxTaskIdle:        -1, // what is not queued does not exist
	}
	cfg.Stores.CachingEnabled = d.cfg.caching
	cfg.Stores.Logger = d.cfg.logger
	return cfg
}

// addTo queues a record of one of a task's inputs.
func addTo(t *task.Task, topic string, raw record.Raw) error {
	next := raw.Offset + 1
	t.Add(task.Input{
		TopicPartition: record.TopicPartition{Topic: topic}, Records: []record.Raw{raw}, Next: next, HighWatermark: next,
	})
	return nil
}
