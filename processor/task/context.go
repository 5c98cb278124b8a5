package task

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/tidemarkio/tidemark/checkpointing"
	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/store"
)

var _ processor.TaskContext = (*Task)(nil)

// ApplicationID implements processor.TaskContext.
func (t *Task) ApplicationID() string { return t.cfg.ApplicationID }

// TaskID implements processor.TaskContext.
func (t *Task) TaskID() record.TaskID { return t.cfg.ID }

// Logger implements processor.TaskContext.
func (t *Task) Logger() *slog.Logger { return t.cfg.Logger }

// Store implements processor.TaskContext.
func (t *Task) Store(name string) (store.Store, error) {
	if s, ok := t.stores.Store(name); ok {
		return s, nil
	}
	if t.cfg.Global != nil {
		s, ok, err := t.cfg.Global(name)
		if err != nil {
			return nil, fmt.Errorf("task %s: %w", t.cfg.ID, err)
		}
		if ok {
			return s, nil
		}
	}
	return nil, fmt.Errorf("task %s: there is no store %q in this sub-topology: connect it to the processor",
		t.cfg.ID, name)
}

// errGlobalOutput is why a record of a global store cannot be dead-lettered.
var errGlobalOutput = errors.New("what fills a global store is part of no transaction and writes to no topic: " +
	"let the handler fail or continue where Failure.Task is record.GlobalTaskID()")

// Output implements processor.TaskContext.
func (t *Task) Output(topic string) (processor.Output, error) {
	if t.cfg.ID == record.GlobalTaskID() {
		return nil, errGlobalOutput
	}
	o, err := t.output(t.cfg.Physical(topic))
	if err != nil {
		return nil, err
	}
	return o, nil
}

// output returns the output to a physical topic.
func (t *Task) output(physical string) (*output, error) {
	if o, ok := t.outputs[physical]; ok {
		return o, nil
	}
	n, err := t.cfg.Partitions(physical)
	if err != nil {
		return nil, &processor.LookupError{Task: t.cfg.ID, Topic: physical, Err: err}
	}
	if n == 0 {
		return nil, fmt.Errorf("task %s: output topic %q does not exist: create it first: "+
			"kafka-topics --create --topic %s --partitions <n>", t.cfg.ID, physical, physical)
	}
	o := &output{task: t, topic: physical, batches: make([]*record.Batch, n)}
	if c := t.cfg.Channels; c != nil && slices.Contains(c.Downstream, physical) {
		o.origin = record.Header{Key: checkpointing.TaskHeader, Value: checkpointing.AppendTask(nil, t.cfg.ID)}
	}
	t.outputs[physical] = o
	return o, nil
}

// Current implements processor.TaskContext.
func (t *Task) Current() *processor.RecordMetadata { return t.meta }

// StreamTime implements processor.TaskContext.
func (t *Task) StreamTime() int64 { return t.streamTime }

// WallClock implements processor.TaskContext.
func (t *Task) WallClock() int64 { return t.wallClock }

// RequestCommit implements processor.TaskContext.
func (t *Task) RequestCommit() { t.commitRequested, t.dirty = true, true }

// Enter implements processor.TaskContext.
func (t *Task) Enter(node string) { t.running = node }

// Dropped implements processor.TaskContext.
func (t *Task) Dropped(node, reason string) {
	t.metrics.Dropped++
	// One line per thousand: a topic full of such records must not fill the disk with log.
	if t.metrics.Dropped%1000 == 1 {
		t.cfg.Logger.Warn("skipping record", slog.String("task", t.cfg.ID.String()), slog.String("node", node),
			slog.String("reason", reason), slog.String("topic", t.meta.Topic), slog.Int("partition", int(t.meta.Partition)),
			slog.Int64("offset", t.meta.Offset), slog.Uint64("dropped_total", t.metrics.Dropped))
	}
}
