package worker

// Leave asks the others to take this member's tasks, which go on here until somebody has their state and is ready. The
// channel is closed when the member may leave the group: it has no task any more, or nobody stays who could take them.
// Then comes Close. The leader may not answer for a long time, so whoever waits should have a bound.
//
// Kafka Streams has nothing like it: CloseOptions.leaveGroup lets the tasks go, and others restore them meanwhile.
func (m *Manager) Leave() <-chan struct{} {
	if m.cfg.Rejoin == nil {
		m.leave()
	} else if !m.leaving.Swap(true) {
		m.cfg.Rejoin("leaving")
	}
	return m.mayLeave
}

// leave says that the member may leave.
func (m *Manager) leave() {
	m.mu.Lock()
	defer m.mu.Unlock()
	select {
	case <-m.mayLeave:
	default:
		close(m.mayLeave)
	}
}
