package task

import (
	"fmt"
	"slices"

	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/record"
)

// addQueue gives an input partition its queue.
func (t *Task) addQueue(tp record.TopicPartition, in instance) (*queue, error) {
	source, ok := in.impl.(processor.Source)
	if !ok {
		return nil, fmt.Errorf("task %s: source %q cannot receive records", t.cfg.ID, in.node.Name)
	}
	q := newQueue(tp, in.node.Name, source)
	if q.timed == nil && !in.node.Internal {
		q.given = t.cfg.TimestampExtractor
	}
	q.between = in.node.Internal
	t.queues = append(t.queues, q)
	t.byInput[tp] = q
	return q, nil
}

// AddInput gives a running task one more input, of a source with a pattern: a driver in memory learns of topics one by
// one. An application starts its tasks anew instead, since all of its instances have to agree, and checkpoints.
func (t *Task) AddInput(tp record.TopicPartition, source string, p Position) error {
	i := slices.IndexFunc(t.nodes, func(in instance) bool {
		return in.node.Kind == processor.SourceNode && in.node.Name == source
	})
	switch {
	case i < 0:
		return fmt.Errorf("task %s: there is no source %q for %s", t.cfg.ID, source, tp)
	case t.byInput[tp] != nil:
		return fmt.Errorf("task %s: %s is an input already", t.cfg.ID, tp)
	case t.cfg.Channels != nil:
		return fmt.Errorf("task %s: %s cannot be added while checkpoints are enabled", t.cfg.ID, tp)
	}
	q, err := t.addQueue(tp, t.nodes[i])
	if err != nil {
		return err
	}
	q.reset(p)
	t.streamTime = max(t.streamTime, p.StreamTime)
	return nil
}
