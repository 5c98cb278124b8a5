package tidemarktest

import (
	"slices"

	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/processor/task"
	"github.com/tidemarkio/tidemark/record"
)

// found is a topic that the driver has not heard of before. Every topic exists, so that those which match the pattern
// of a source become its inputs when they are first mentioned, whether the test writes to them or the topology does.
func (d *Driver) found(l *topicLog) {
	if !d.plan.HasPatterns() || d.isInternal(l.topic) {
		return
	}
	before := d.plan.Matched()
	plan, err := d.plan.Resolve(append(slices.Clone(before), l.topic))
	if err != nil {
		d.conflict = err // the next step tells
		return
	}
	if len(plan.Matched()) == len(before) {
		return
	}
	d.plan = plan
	for i, sub := range subtopologies(plan, d.cfg.singleTask) {
		r := d.runners[i]
		r.cfg.Subtopology = inMemory(sub)
		for _, n := range sub.Nodes {
			if n.Pattern != "" && slices.Contains(n.Topics, l.topic) {
				l.reader = r
				if err := r.addInput(l.topic, n); err != nil {
					d.conflict = err
				}
			}
		}
	}
}

// isInternal reports whether a topic is one of the application's repartition topics.
func (d *Driver) isInternal(physical string) bool {
	for topic := range d.internal {
		if d.physical(topic) == physical {
			return true
		}
	}
	return false
}

// addInput gives the task an input of a source with a pattern.
func (r *runner) addInput(topic string, source *processor.Node) error {
	tp := record.TopicPartition{Topic: topic}
	r.cfg.Inputs = append(r.cfg.Inputs, tp)
	r.positions[tp] = task.Position{StreamTime: -1}
	if r.task == nil {
		return nil // it opens with it
	}
	return r.task.AddInput(tp, source.Name, r.positions[tp])
}
