package tidemark

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/tidemarkio/tidemark/checkpointing"
	"github.com/tidemarkio/tidemark/processor/task"
	"github.com/tidemarkio/tidemark/processor/worker"
	"github.com/tidemarkio/tidemark/record"
)

// checkpoints is a member's part in checkpoints: it follows the control topic, has its tasks cut, stores their
// snapshots and says what became of them. Nothing of it delays a task, and if it fails, checkpoints do and processing
// goes on.
//
//	control topic ──trigger──► member loop ──barrier──► workers ──cut──► exporter ──ack──► control topic
//	      ▲                                                                                    │
//	      └────────── coordinator (coordinating.go), in the member that owns the first task ◄──┘
type checkpoints struct {
	in     *incarnation
	cfg    *Config
	topic  record.TopicPartition
	logger *slog.Logger
	// from is where news begin on the control topic: what the application was told before is not for this life.
	from int64
	// until is the end that the topic had when we began to read it. Owned by the member loop.
	until    int64
	channels map[int32]*task.Channels // by sub-topology
	exporter *checkpointing.Exporter
	acks     *ackQueue
	// wake says that something waits in mu.inbox, or that tasks have come or gone. coordinate says the latter to the
	// coordinator.
	wake, coordinate chan struct{}

	mu struct {
		sync.Mutex
		inbox []any // of the member loop: checkpointing.Cut, checkpointing.Decline
		view  *checkpointing.View
		parts map[int64]*part
		// known says that view has got to until.
		known bool
	}
}

// part is what this member does for a checkpoint in progress.
type part struct {
	trigger checkpointing.Trigger
	// handled are the tasks that were told of it or have declined.
	handled map[record.TaskID]bool
	// needs are the committed positions in repartition topics from before the tasks were told: their cuts lie behind.
	needs map[record.TopicPartition]int64
	// early are cuts that came before the trigger did: a barrier may overtake it.
	early []checkpointing.Cut
}

// newCheckpoints is called if checkpoints are enabled.
func newCheckpoints(in *incarnation) (*checkpoints, error) {
	cfg := &in.app.cfg
	m := &checkpoints{
		in: in, cfg: cfg, topic: controlTopic(cfg.ApplicationID), wake: make(chan struct{}, 1),
		coordinate: make(chan struct{}, 1), logger: cfg.Logger.With(slog.String("part", "checkpoints")),
	}
	tasks := in.topics.taskCounts()
	m.channels = task.ChannelsOf(in.topics.plan, in.topics.physical, func(sub int32) int32 { return tasks[sub] })
	m.mu.view, m.mu.parts = checkpointing.NewView(), make(map[int64]*part)
	m.acks = newAckQueue(m)
	return m, m.openExporter()
}

// run runs the goroutines of checkpoints until ctx ends.
func (m *checkpoints) run(ctx context.Context) {
	k := &coordinating{
		in: m.in, cfg: m.cfg, topic: m.topic, logger: m.logger, changed: m.coordinate, owner: m.ownsFirstTask,
		stored: m.stored, publish: m.publish, clean: m.clean,
	}
	var all sync.WaitGroup
	all.Go(func() { k.run(ctx) })
	all.Go(func() { m.acks.run(ctx) })
	all.Go(func() { m.follow(ctx) })
	all.Wait()
	m.exporter.Close()
}

// ownsFirstTask tells whether this member is to coordinate: that moves with the first task.
func (m *checkpoints) ownsFirstTask() bool {
	if len(m.in.topics.tasks) == 0 { // nothing matches a pattern yet
		return false
	}
	first := m.in.topics.tasks[0].ID
	for _, t := range m.in.topics.tasks {
		if t.ID.Compare(first) < 0 {
			first = t.ID
		}
	}
	_, owned := m.in.manager.Tasks()[first]
	return owned
}

// tasksChanged is called when tasks have come or gone.
func (m *checkpoints) tasksChanged() {
	notify(m.wake)
	notify(m.coordinate)
}

func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// post gives the member loop something to do. It never blocks: workers call it.
func (m *checkpoints) post(v any) {
	m.mu.Lock()
	m.mu.inbox = append(m.mu.inbox, v)
	m.mu.Unlock()
	notify(m.wake)
}

// follow is the member loop.
func (m *checkpoints) follow(ctx context.Context) {
	var tail sync.WaitGroup
	defer tail.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	heard := make(chan controlMessages)
	tail.Go(func() { m.tail(ctx, heard) })
	for {
		select {
		case batch := <-heard:
			m.hear(batch)
		case <-m.wake:
		case <-ctx.Done():
			m.drop()
			return
		}
		m.takeInbox() //nolint:contextcheck // an export ends with its checkpoint
		m.takePart(ctx)
	}
}

// tail reads the control topic, from the beginning again after an error.
func (m *checkpoints) tail(ctx context.Context, heard chan<- controlMessages) {
	for ctx.Err() == nil {
		err := tailControl(ctx, m.in.client, m.in.admin, m.topic, false, func(batch controlMessages) error {
			select {
			case heard <- batch:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
		if ctx.Err() != nil {
			return
		}
		m.logger.Warn("cannot read the control topic: trying again; processing goes on", slog.Any("error", err))
		select {
		case <-m.in.app.clock.After(time.Second):
		case <-ctx.Done():
		}
	}
}

// hear takes messages in. All of a batch are taken before anything is done about them: when we begin, most of what it
// tells is long over.
func (m *checkpoints) hear(batch controlMessages) {
	if batch.begins {
		m.mu.Lock()
		m.mu.view, m.mu.known = checkpointing.NewView(), batch.next == 0
		m.mu.Unlock()
		m.until = batch.next
		return
	}
	for i, message := range batch.messages {
		m.mu.Lock()
		said, err := m.mu.view.Apply(message)
		m.mu.Unlock()
		if err != nil {
			m.logger.Warn("a message on the control topic cannot be read", slog.Int64("offset", batch.offsets[i]),
				slog.Any("error", err))
		}
		if batch.offsets[i] >= m.from && said != nil {
			m.news(said)
		}
		m.from = max(m.from, batch.offsets[i]+1) // nothing is news twice
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mu.known = m.mu.known || batch.next >= m.until
}

// news deals with what was said while this application runs.
func (m *checkpoints) news(said any) {
	listener := &m.cfg.CheckpointListener
	switch said := said.(type) {
	case *checkpointing.Trigger:
		m.logger.Debug("checkpoint triggered", slog.Int64("id", said.ID), slog.Bool("savepoint", said.Savepoint))
		if listener.OnTriggered != nil {
			listener.OnTriggered(*said)
		}
	case *checkpointing.Completed:
		m.in.app.counting(func(c *checkpointCounts) { c.completion(said) })
		m.logger.Info("checkpoint completed", slog.Int64("id", said.ID), slog.Bool("savepoint", said.Savepoint),
			slog.String("location", said.Location), slog.Int64("bytes", said.Bytes),
			slog.Duration("took", time.Duration(said.CompletedMs-said.TriggeredMs)*time.Millisecond))
		if listener.OnCompleted != nil {
			listener.OnCompleted(*said)
		}
	case *checkpointing.Aborted:
		m.in.app.counting(func(c *checkpointCounts) { c.abortion(said) })
		tell := m.logger.Info // tasks are restored or move: that is life
		if said.Counted || said.Savepoint {
			tell = m.logger.Warn
		}
		tell("checkpoint aborted; processing goes on", slog.Int64("id", said.ID), slog.Bool("savepoint", said.Savepoint),
			slog.String("reason", said.Reason))
		if listener.OnAborted != nil {
			listener.OnAborted(*said)
		}
	case *checkpointing.Stop:
		m.logger.Info("the application is stopped", slog.String("savepoint", said.Savepoint))
		m.in.fail(errStopped)
	case *checkpointing.Failed:
		m.in.fail(&CheckpointFailuresError{ID: said.ID, Failures: said.Failures, Reason: said.Reason})
	}
}

// takeInbox takes what workers and the exporter have posted.
func (m *checkpoints) takeInbox() {
	m.mu.Lock()
	inbox := m.mu.inbox
	m.mu.inbox = nil
	m.mu.Unlock()
	for _, v := range inbox {
		switch v := v.(type) {
		case checkpointing.Cut:
			m.cut(v)
		case checkpointing.Decline:
			m.acks.add(checkpointing.Ack{
				ID: v.ID, Task: v.Task.String(), Declined: v.Reason, NotRunning: v.NotRunning,
			})
		}
	}
}

// cut hands a task's cut to the exporter, once it is known where it is to be stored.
func (m *checkpoints) cut(c checkpointing.Cut) {
	m.mu.Lock()
	p := m.mu.parts[c.Barrier.ID]
	completed, aborted := m.mu.view.Ended(c.Barrier.ID)
	m.mu.Unlock()
	switch {
	case completed || aborted:
		release(c)
	case p != nil && p.trigger.ID != 0:
		m.export(p.trigger, c)
	case p != nil:
		p.early = append(p.early, c)
	default:
		m.mu.Lock()
		m.mu.parts[c.Barrier.ID] = &part{early: []checkpointing.Cut{c}}
		m.mu.Unlock()
	}
}

func release(c checkpointing.Cut) {
	if c.Snapshot != nil {
		c.Snapshot.Release()
	}
}

// takePart tells the tasks of checkpoints in progress, and of those that have ended.
func (m *checkpoints) takePart(ctx context.Context) {
	m.mu.Lock()
	open, known := m.mu.view.InProgress(), m.mu.known
	m.mu.Unlock()
	if !known {
		return
	}
	tasks := m.in.manager.Tasks()
	for _, t := range open {
		m.mu.Lock()
		p := m.mu.parts[t.ID]
		if p == nil {
			p = &part{}
			m.mu.parts[t.ID] = p
		}
		m.mu.Unlock()
		if p.trigger.ID == 0 {
			m.begin(ctx, p, t, tasks)
		}
		m.declineMissed(p, tasks)
	}
	m.endParts(ctx)
}

// begin has the tasks that run here cut.
func (m *checkpoints) begin(
	ctx context.Context, p *part, t *checkpointing.Trigger, tasks map[record.TaskID]*worker.Worker,
) {
	p.handled = make(map[record.TaskID]bool)
	needs := m.in.committedRepartitions(ctx)
	m.mu.Lock()
	p.trigger, p.needs = *t, needs
	m.mu.Unlock()
	for id, w := range tasks {
		p.handled[id] = w != nil
	}
	m.tellWorkers(ctx, t.ID, func(w *worker.Worker) error { return w.Checkpoint(ctx, t.Barrier()) })
	for _, c := range p.early {
		m.export(p.trigger, c) //nolint:contextcheck // it ends with the checkpoint
	}
	p.early = nil
}

// declineMissed speaks for tasks of ours that were not told: they are being restored, or came after others were told.
// The coordinator need not wait for its timeout then.
func (m *checkpoints) declineMissed(p *part, tasks map[record.TaskID]*worker.Worker) {
	for id := range tasks {
		m.mu.Lock()
		acked := m.mu.view.Acked(p.trigger.ID, id)
		m.mu.Unlock()
		if p.handled[id] || acked || !p.trigger.Has(id) {
			continue // what a task that was told has to say comes from its worker
		}
		p.handled[id] = true
		m.acks.add(checkpointing.Ack{
			ID: p.trigger.ID, Task: id.String(), NotRunning: true, Declined: "it is being restored, or has moved",
		})
	}
}

// endParts deals with checkpoints that have completed or were aborted.
func (m *checkpoints) endParts(ctx context.Context) {
	m.mu.Lock()
	ended := make(map[int64]bool) // true: completed
	stops := make(map[int64]bool) // whose tasks stand still, and are not to go on
	for id, p := range m.mu.parts {
		if completed, aborted := m.mu.view.Ended(id); completed || aborted {
			ended[id], stops[id] = completed, completed && p.trigger.Stop
			for _, c := range p.early {
				release(c)
			}
			delete(m.mu.parts, id)
		}
	}
	m.mu.Unlock()
	for id, completed := range ended {
		m.acks.forget(id)
		if completed {
			m.exporter.Completed(id)
		} else {
			m.exporter.Aborted(id)
		}
		if !stops[id] {
			m.tellWorkers(ctx, id, func(w *worker.Worker) error { return w.CheckpointEnded(ctx, id) })
		}
	}
}

// tellWorkers tells all workers at once: each comes by between two of its steps.
func (m *checkpoints) tellWorkers(ctx context.Context, id int64, tell func(w *worker.Worker) error) {
	var wait sync.WaitGroup
	for _, w := range m.in.workers {
		wait.Go(func() {
			if err := tell(w); err != nil && !errors.Is(err, worker.ErrStopped) && ctx.Err() == nil {
				m.logger.Warn("a worker does not hear of a checkpoint", slog.Int64("id", id), slog.Any("error", err))
			}
		})
	}
	wait.Wait()
}

// spare takes out of what is to be purged what checkpoints need: retained ones refer to what was in flight, and those
// in progress may yet do so.
func (m *checkpoints) spare(before map[record.TopicPartition]int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.mu.known {
		clear(before)
	}
	for _, c := range m.mu.view.Retained() {
		for _, need := range c.Needs {
			tp := record.TopicPartition{Topic: need.Topic, Partition: need.Partition}
			if at, ok := before[tp]; ok {
				before[tp] = min(at, need.Offset)
			}
		}
	}
	for _, p := range m.mu.parts {
		for tp, at := range before {
			need, known := p.needs[tp]
			if !known { // the task came later: what it needs is not known here
				delete(before, tp)
				continue
			}
			before[tp] = min(at, need)
		}
	}
}

// drop lets go of what is under way.
func (m *checkpoints) drop() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, v := range m.mu.inbox {
		if c, ok := v.(checkpointing.Cut); ok {
			release(c)
		}
	}
	for _, p := range m.mu.parts {
		for _, c := range p.early {
			release(c)
		}
		p.early = nil
	}
}

// errStopped ends the application well: somebody has stopped all of it.
var errStopped = errors.New("the application is stopped")

// CheckpointFailuresError says that more checkpoints failed in a row than Config.Checkpointing.TolerableFailed allows.
type CheckpointFailuresError struct {
	ID       int64 // of the last one
	Failures int
	Reason   string
}

func (e *CheckpointFailuresError) Error() string {
	return "tidemark: " + plural(e.Failures, "checkpoint", "checkpoints") + " failed in a row, more than " +
		"Config.Checkpointing.TolerableFailed allows; the last one: " + e.Reason
}
