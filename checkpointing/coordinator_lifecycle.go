package checkpointing

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/tidemarkio/tidemark/record"
)

// begin triggers what is due: commands that wait, and the periodic checkpoint.
func (c *Coordinator) begin(now int64, out *actions) {
	c.queue = slices.DeleteFunc(c.queue, func(cmd *Command) bool {
		switch {
		case cmd.ExpiresMs > 0 && now >= cmd.ExpiresMs:
			c.answer(now, cmd.ID, Result{Error: "nobody waits for it any more: it could not begin in time"}, out)
		case c.stopping() || cmd.Kind == CommandCheckpoint && len(c.pending) >= c.conf.MaxConcurrent:
			return false
		default:
			c.trigger(now, cmd, out)
		}
		return true
	})
	if due, ok := c.due(); ok && now >= due {
		c.next = now + c.conf.Interval.Milliseconds()
		c.trigger(now, nil, out)
	}
	if c.cleanSoon {
		c.cleanSoon = false
		out.do(c.clean())
	}
}

// due returns when the next periodic checkpoint begins, false if something else must happen before.
func (c *Coordinator) due() (int64, bool) {
	if c.conf.Interval <= 0 || c.stopped || c.stopping() || len(c.pending) >= c.conf.MaxConcurrent {
		return 0, false
	}
	at := c.next
	if c.conf.MinPause > 0 {
		at = max(at, c.lastEnd+c.conf.MinPause.Milliseconds())
	}
	return at, true
}

// stopping reports whether a savepoint is being made behind which nothing comes.
func (c *Coordinator) stopping() bool {
	return slices.ContainsFunc(c.pending, func(p *pending) bool { return p.trigger.Stop })
}

// trigger begins a checkpoint, of its own accord if cmd is nil.
func (c *Coordinator) trigger(now int64, cmd *Command, out *actions) {
	t := &Trigger{
		V: messageVersion, ID: c.nextID, Unaligned: c.conf.Unaligned,
		AlignedTimeoutMs: c.conf.AlignedTimeout.Milliseconds(), Incremental: c.conf.Incremental, TriggeredMs: now,
		TimeoutMs: c.conf.Timeout.Milliseconds(), Tasks: c.cfg.Tasks, Fingerprint: c.cfg.Fingerprint,
		Location: CheckpointFolder(c.cfg.ApplicationID, c.nextID),
	}
	c.nextID++
	if cmd != nil {
		t.Command, t.Savepoint, t.Stop = cmd.ID, cmd.Kind != CommandCheckpoint, cmd.Kind == CommandStop
		t.Incremental = t.Incremental && !cmd.Full
		if cmd.TimeoutMs > 0 {
			t.TimeoutMs = cmd.TimeoutMs
		}
		c.running[cmd.ID] = true
	}
	if t.Savepoint {
		// Nothing of a savepoint lies elsewhere, and as little as possible is in flight.
		t.Location = SavepointFolder(c.cfg.ApplicationID, t.ID, cmd.ID)
		t.Incremental, t.Unaligned, t.AlignedTimeoutMs = false, false, 0
	}
	if n := len(c.retained); t.Incremental && n > 0 {
		t.Base = c.retained[n-1]
	}
	c.pending = append(c.pending, &pending{trigger: t, acks: make(map[string]*Ack)})
	out.write(encode(idKey(keyTrigger, t.ID), t))
}

// received takes a message that another has written.
func (c *Coordinator) received(now int64, m Message, out *actions) {
	switch {
	case m.Value == nil:
	case strings.HasPrefix(m.Key, keyAck):
		if a, err := decodeMessage[Ack](m.Key, m.Value); err == nil {
			c.acked(now, a, out)
		}
	case strings.HasPrefix(m.Key, keyCommand):
		if cmd, err := decodeMessage[Command](m.Key, m.Value); err == nil && keyCommand+cmd.ID == m.Key {
			c.command(now, cmd, out)
		}
	}
}

// acked takes what a task says. The first word counts: of two owners of a task that has moved, one cut first.
func (c *Coordinator) acked(now int64, a *Ack, out *actions) {
	p := c.find(a.ID)
	id, err := record.ParseTaskID(a.Task)
	switch {
	case p == nil:
		// Of a checkpoint that has ended: what it stored meanwhile is nobody's.
		out.tombstone(ackKey(a.ID, a.Task))
		for _, e := range c.history {
			if e.id == a.ID && !e.completed {
				c.leftBehind(e)
			}
		}
		return
	case err != nil || !p.trigger.Has(id):
		out.tombstone(ackKey(a.ID, a.Task))
		return
	case p.acks[a.Task] != nil:
		return // deleted when the checkpoint ends
	}
	p.acks[a.Task] = a
	switch {
	case a.Snapshot == nil:
		c.abort(now, p, fmt.Sprintf("task %s declined it: %s", a.Task, a.Declined), !a.NotRunning, out)
	case p.complete():
		c.publish(now, p, out)
	}
}

// publish stores the manifest of a checkpoint that is complete.
func (c *Coordinator) publish(now int64, p *pending, out *actions) {
	p.publishing = true
	tasks := make([]TaskSnapshot, 0, len(p.acks))
	for _, id := range p.trigger.taskIDs() {
		tasks = append(tasks, *p.acks[id.String()].Snapshot)
	}
	out.do(Publish{Trigger: *p.trigger, Tasks: tasks, CompletedMs: max(now, p.trigger.TriggeredMs)})
}

// published ends a checkpoint, well if its manifest is stored.
func (c *Coordinator) published(now int64, e Published, out *actions) {
	p := c.find(e.ID)
	if p == nil || !p.publishing {
		return
	}
	if e.Err != nil {
		c.abort(now, p, "its manifest cannot be stored: "+e.Err.Error(), true, out)
		return
	}
	c.pending = slices.DeleteFunc(c.pending, func(other *pending) bool { return other == p })
	t := p.trigger
	if !t.Savepoint {
		c.failures = 0
		c.retain(t.ID)
		// Older ones that are still in progress have nothing to offer any more.
		for _, other := range slices.Clone(c.pending) {
			if other.trigger.ID < t.ID && !other.trigger.Savepoint && other.trigger.Command == "" && !other.publishing {
				c.abort(now, other, fmt.Sprintf("checkpoint %d completed before it", t.ID), false, out)
			}
		}
	}
	done := c.summary(now, p)
	c.lastEnd = max(c.lastEnd, done.CompletedMs)
	out.write(encode(idKey(keyCompleted, t.ID), done))
	c.remember(ended{id: t.ID, completed: true}, out)
	c.forget(p, out)
	c.answer(now, t.Command, Result{Checkpoint: t.ID, Location: t.Location}, out)
	if t.Stop {
		c.stop(now, t.Command, t.Location, out)
	}
	c.cleanSoon = true
}

// abort ends a checkpoint badly. counted: it is a failure that may not happen too often in a row.
func (c *Coordinator) abort(now int64, p *pending, reason string, counted bool, out *actions) {
	c.pending = slices.DeleteFunc(c.pending, func(other *pending) bool { return other == p })
	t := p.trigger
	counted = counted && !t.Savepoint // who asked for it is told
	c.lastEnd = max(c.lastEnd, now)
	a := &Aborted{
		V: messageVersion, ID: t.ID, Savepoint: t.Savepoint, TriggeredMs: t.TriggeredMs, AbortedMs: now, Reason: reason,
		Location: t.Location, Counted: counted, Acked: len(p.acks), Tasks: t.TaskCount(), Command: t.Command,
	}
	out.write(encode(idKey(keyAborted, t.ID), a))
	c.remember(endedBadly(a), out)
	c.forget(p, out)
	c.answer(now, t.Command, Result{Checkpoint: t.ID, Error: "the checkpoint was aborted: " + reason}, out)
	c.leftBehind(endedBadly(a))
	if !counted {
		return
	}
	c.failures++
	if limit := max(c.conf.TolerableFailed, 0); c.conf.TolerableFailed != TolerateAny && c.failures > limit {
		out.write(encode(keyFailed, &Failed{
			V: messageVersion, FailedMs: now, ID: t.ID, Failures: c.failures, Reason: reason,
		}))
		c.failures = 0
	}
}

// retire ends what has taken too long, and forgets results that nobody asks for any more.
func (c *Coordinator) retire(now int64, out *actions) {
	for _, p := range slices.Clone(c.pending) {
		if p.publishing || now < p.deadline() {
			continue
		}
		missing := p.missing()
		names := make([]string, 0, 5)
		for _, id := range missing[:min(len(missing), cap(names))] {
			names = append(names, id.String())
		}
		c.abort(now, p, fmt.Sprintf("%d of %d tasks did not acknowledge it within %s: %s", len(missing),
			p.trigger.TaskCount(), p.trigger.Timeout(), strings.Join(names, ", ")), true, out)
	}
	for _, id := range slices.Sorted(maps.Keys(c.results)) {
		if now >= c.results[id]+resultKeptMs {
			delete(c.results, id)
			out.tombstone(keyResult + id)
		}
	}
}

// retain keeps one more checkpoint and drops the oldest.
func (c *Coordinator) retain(id int64) {
	if c.stopped && c.conf.Retention == DeleteOnCancellation {
		c.retained = nil
		return
	}
	c.retained = append(c.retained, id)
	slices.Sort(c.retained)
	c.retained = slices.Clone(c.retained[max(0, len(c.retained)-c.conf.Retained):])
}

// clean lists what is still needed.
func (c *Coordinator) clean() Clean {
	k := Clean{Retained: slices.Clone(c.retained), Below: c.nextID}
	for _, p := range c.pending {
		k.InProgress = append(k.InProgress, p.trigger.ID)
		if p.trigger.Base != 0 {
			k.Bases = append(k.Bases, p.trigger.Base)
		}
	}
	slices.Sort(k.Bases)
	k.Bases = slices.Compact(k.Bases)
	slices.Sort(c.folders)
	k.Folders, c.folders = slices.Compact(c.folders), nil
	return k
}

// endedBadly is what the history keeps of a checkpoint that was aborted.
func endedBadly(a *Aborted) ended {
	e := ended{id: a.ID}
	if a.Savepoint {
		e.folder = a.Location
	}
	return e
}

// cleaned notes what was deleted. What was not goes with the next time.
func (c *Coordinator) cleaned(e Tidied) {
	if e.Err != nil {
		c.folders = append(c.folders, e.Folders...)
		return
	}
	for i := range c.history {
		at := &c.history[i]
		at.tidy = at.tidy || slices.Contains(e.Folders, at.folder)
	}
}

// leftBehind has what an aborted checkpoint has stored deleted, perhaps once more: its tasks may hear of it late.
func (c *Coordinator) leftBehind(e ended) {
	c.cleanSoon = true
	if e.folder != "" {
		c.folders = append(c.folders, e.folder)
	}
}

// remember keeps the history short. The newest stays always: ids go on behind it.
func (c *Coordinator) remember(e ended, out *actions) {
	c.history = append(c.history, e)
	slices.SortFunc(c.history, func(a, b ended) int { return cmp.Compare(a.id, b.id) })
	for i := 0; len(c.history) > historyMax && i < len(c.history)-1; {
		old := c.history[i]
		untidy := old.folder != "" && !old.tidy && len(c.history) <= untidyMax
		if slices.Contains(c.retained, old.id) || untidy {
			i++ // the purge of repartition topics, or who takes over, asks what it needs
			continue
		}
		kind := keyAborted
		if old.completed {
			kind = keyCompleted
		}
		out.tombstone(idKey(kind, old.id))
		c.history = slices.Delete(c.history, i, i+1)
	}
}

// forget deletes the messages of a checkpoint that has ended.
func (c *Coordinator) forget(p *pending, out *actions) {
	for _, task := range slices.Sorted(maps.Keys(p.acks)) {
		out.tombstone(ackKey(p.trigger.ID, task))
	}
	out.tombstone(idKey(keyTrigger, p.trigger.ID))
}
