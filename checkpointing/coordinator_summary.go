package checkpointing

import (
	"cmp"
	"slices"
)

// summary is what the topic tells of a checkpoint that completed.
func (c *Coordinator) summary(now int64, p *pending) *Completed {
	t := p.trigger
	done := &Completed{
		V: messageVersion, ID: t.ID, Base: t.Base, Savepoint: t.Savepoint, Location: t.Location, TriggeredMs: t.TriggeredMs,
		CompletedMs: max(now, t.TriggeredMs), Command: t.Command, Retained: slices.Clone(c.retained),
	}
	needs := make(map[Need]int64)
	for _, id := range t.taskIDs() {
		a := p.acks[id.String()]
		s := taskStats(t, a)
		done.Bytes += s.Bytes
		done.StateBytes += s.StateBytes
		if t.TaskCount() <= taskStatsMax {
			done.Tasks = append(done.Tasks, s)
		}
		for _, r := range a.Snapshot.InFlight {
			at := Need{Topic: r.Topic, Partition: r.Partition}
			if first, ok := needs[at]; r.Start < r.End && (!ok || r.Start < first) {
				needs[at] = r.Start
			}
		}
	}
	if t.Savepoint {
		return done // has copies
	}
	for at, first := range needs {
		at.Offset = first
		done.Needs = append(done.Needs, at)
	}
	slices.SortFunc(done.Needs, func(a, b Need) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
	return done
}

func taskStats(t *Trigger, a *Ack) TaskStats {
	s := TaskStats{
		Task: a.Task, AckMs: max(0, a.AckMs-t.TriggeredMs), StartDelayMs: a.Snapshot.Timings.StartDelayMs,
		AlignmentMs: a.Snapshot.Timings.AlignmentMs, SyncMs: a.Snapshot.Timings.SyncMs,
		AsyncMs: a.Snapshot.Timings.AsyncMs, Bytes: a.Snapshot.Bytes, Unaligned: a.Snapshot.Unaligned,
	}
	for _, f := range a.Snapshot.Files {
		s.StateBytes += f.Bytes
	}
	s.Full = len(a.Snapshot.Files) <= 1
	return s
}
