package worker

import (
	"context"
	"log/slog"

	"github.com/tidemarkio/tidemark/processor/task"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/store"
)

// follow makes these the standbys and warm-ups of this member. Those that are superfluous close, and stay as local
// state; one that is to run here was taken before.
func (m *Manager) follow(ctx context.Context, standbys, warmUps []record.TaskID) {
	if m.cfg.Standbys == nil {
		return
	}
	want := make(map[record.TaskID]bool, len(standbys)+len(warmUps))
	for _, id := range standbys {
		want[id] = false
	}
	for _, id := range warmUps {
		want[id] = true
	}
	for _, id := range m.cfg.Standbys.ids() {
		if _, ok := want[id]; !ok {
			m.retire(ctx, id)
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.mu.closed {
		return
	}
	for id, warmUp := range want {
		if m.mu.tasks[id] == nil { // else the assignment contradicts itself
			m.cfg.Standbys.start(id, warmUp, m.mu.closing[id], &m.background) //nolint:contextcheck // it outlives the rebalance
		}
	}
}

// retire closes a standby in the background.
func (m *Manager) retire(ctx context.Context, id record.TaskID) {
	ctx = context.WithoutCancel(ctx)
	m.mu.Lock()
	at := m.cfg.Standbys.take(id, StandbyMigrated)
	if at == nil {
		m.mu.Unlock()
		return
	}
	before, done := m.mu.closing[id], make(chan struct{})
	m.mu.closing[id] = done
	m.mu.Unlock()
	m.background.Go(func() {
		defer m.closedNow(id, done)
		if p := at.result(ctx); p != nil {
			if err := p.close(m.cfg.StateDir); err != nil {
				m.cfg.Logger.Error("standby not closed cleanly: the next start will check its state",
					slog.String("task", id.String()), slog.Any("error", err))
			}
		}
		if before != nil { // it may not have waited for it
			<-before
		}
	})
}

// closedNow lets the next incarnation of a task have its directory.
func (m *Manager) closedNow(id record.TaskID, done chan struct{}) {
	close(done)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.mu.closing[id] == done {
		delete(m.mu.closing, id)
	}
}

// caughtUp asks for a rebalance in which a warm-up gets its task. The subscription has to differ from the one before,
// or the coordinator would answer from memory.
func (m *Manager) caughtUp(id record.TaskID) {
	m.asked.Add(1)
	if m.cfg.Rejoin != nil {
		m.cfg.Rejoin("warm-up of " + id.String() + " has caught up")
	}
}

// ReadStandby runs fn with the stores of a standby or warm-up that follows its changelogs here, and how far behind
// they are. It waits for the goroutine that has them to come by, at most until ctx ends. fn must be quick and change
// nothing, and must not keep what it got. [ErrNoTask]: there is no such standby here, or not yet.
func (m *Manager) ReadStandby(
	ctx context.Context, id record.TaskID, fn func(t *task.Task, s Staleness) error,
) error {
	if m.cfg.Standbys == nil {
		return ErrNoTask
	}
	return m.cfg.Standbys.Read(ctx, id, fn)
}

// Standbys shows the standbys and warm-ups of this member, by task.
func (m *Manager) Standbys() []StandbySnapshot {
	if m.cfg.Standbys == nil {
		return nil
	}
	return m.cfg.Standbys.Snapshot()
}

// positionOf is the sum of the positions in changelogs, -1 if there are none.
func positionOf(cp store.Checkpoint, ok bool) (sum int64) {
	if !ok || len(cp.Changelog) == 0 {
		return -1
	}
	for _, at := range cp.Changelog {
		sum += at
	}
	return sum
}
