package task

import (
	"log/slog"
	"math"
)

// A task with several inputs takes the lowest timestamp first, which means little while an input is empty: its next
// record may be older than all that wait. What then happens is Kafka Streams' max.task.idle.ms (KIP-353, KIP-695):
//
//	the empty input …                        MaxTaskIdle < 0   = 0        > 0
//	has records on the broker, not yet here  go on             wait       wait
//	was never heard of since the start       go on             wait       wait
//	is empty on the broker, too              go on             go on      wait that long, then go on
//
// Once it went on without an input it waits for that one again only after the input has had a record.

// neverIdle is idleDeadline where nothing is waited for.
const neverIdle = math.MaxInt64

// queueIdle is what a queue knows for the time it is empty. Owned by the task goroutine.
type queueIdle struct {
	// told says that the broker has said where the partition ends, since the last reset.
	told bool
	// deadline is until when the task waits for the input, 0 while it does not. Invariant: 0 unless the queue is empty.
	deadline int64
	// enforced says that the task goes on without the input, and that this was logged.
	enforced bool
}

// mayGoOn decides whether records may be processed although some queues are empty. It sets idleDeadline.
func (t *Task) mayGoOn() bool {
	t.idleDeadline = neverIdle
	if t.cfg.MaxTaskIdle < 0 {
		return true
	}
	for _, q := range t.queues {
		if !q.empty() {
			continue
		}
		if !q.idle.told || q.highWatermark > q.position {
			q.idle.deadline, q.idle.enforced = 0, false
			return false // a fetch is on its way, and wakes the worker
		}
		if q.idle.deadline == 0 {
			q.idle.deadline = t.wallClock + t.cfg.MaxTaskIdle.Milliseconds()
		}
		if t.wallClock < q.idle.deadline {
			t.idleDeadline = q.idle.deadline
			return false
		}
	}
	return true
}

// goesOn notes that a record is processed although queues are empty.
func (t *Task) goesOn() {
	if t.cfg.MaxTaskIdle < 0 {
		return
	}
	t.metrics.Enforced++
	for _, q := range t.queues {
		if !q.empty() || q.idle.enforced {
			continue
		}
		q.idle.enforced = true
		t.cfg.Logger.Debug("processing although an input is empty: its next records may come late",
			slog.String("task", t.cfg.ID.String()), slog.String("topic", q.tp.Topic),
			slog.Int("partition", int(q.tp.Partition)), slog.Duration("waited", t.cfg.MaxTaskIdle))
	}
}

// IdleUntil returns until when the task waits for an empty input although it has records, by the wall clock of the last
// Process, or for barriers; MaxInt64 if it does not wait for the clock.
func (t *Task) IdleUntil() int64 {
	if len(t.alignment.active) == 0 {
		return t.idleDeadline
	}
	return min(t.idleDeadline, t.alignment.deadline())
}

// heard notes what a fetch tells about an input.
func (q *queue) heard(highWatermark int64) {
	q.highWatermark, q.idle.told = highWatermark, true
}
