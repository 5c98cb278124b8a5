package integration

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark"
	"github.com/tidemarkio/tidemark/integration/broker"
	"github.com/tidemarkio/tidemark/record"
)

// heard is what a RebalanceListener has heard last.
type heard struct {
	mu   sync.Mutex
	last tidemark.TasksAssigned
	lost int
}

func (h *heard) listener() tidemark.RebalanceListener {
	return tidemark.RebalanceListener{
		OnAssigned: func(e tidemark.TasksAssigned) {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.last = e
		},
		OnLost: func(tidemark.TasksLost) {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.lost++
		},
	}
}

func (h *heard) now() tidemark.TasksAssigned {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.last
}

// TestClusterOfTasks: both of two instances can tell who runs and who copies every task of the application, and it is
// what each has been told by the group.
func TestClusterOfTasks(t *testing.T) {
	s := newScenario(t, broker.Start(t))
	told := []*heard{{}, {}}
	apps := make([]*app, len(told))
	for i, h := range told {
		cfg := s.config()
		cfg.StandbyReplicas, cfg.RebalanceListener = 1, h.listener()
		apps[i] = s.run(countTopology(s.in, s.out), cfg)
	}
	awaitTotal(t, 4, apps...)
	s.send(500)
	for _, a := range apps {
		eventually(t, "all tasks with a standby each", func() bool {
			m, err := a.app.Metadata(t.Context())
			if err != nil || len(m.Tasks()) != 4 {
				return false
			}
			active, standby := make(map[record.TaskID]bool), make(map[record.TaskID]bool)
			for _, task := range m.Tasks() {
				if task.Active == nil || len(task.Standbys) != 1 || len(task.Standbys[0].WarmUp) > 0 {
					return false
				}
				require.NotEqual(t, task.Active.MemberID, task.Standbys[0].MemberID)
				require.Equal(t, 1, task.Active.Workers)
			}
			for _, h := range told {
				for _, id := range h.now().Tasks {
					active[id] = true
				}
				for _, id := range h.now().Standbys {
					standby[id] = true
				}
			}
			return len(active) == 4 && len(standby) == 4
		})
	}
	m, err := apps[0].app.Metadata(t.Context())
	require.NoError(t, err)
	for _, i := range m.Instances {
		mine := told[0].now()
		if len(i.Active) > 0 && i.Active[0] != mine.Tasks[0] {
			mine = told[1].now()
		}
		require.ElementsMatch(t, mine.Tasks, i.Active)
		require.ElementsMatch(t, mine.Standbys, i.Standby)
	}
	checkCounts(t, s.awaitOutputs(s.out, s.sent), s.sent)
	for _, a := range apps {
		a.close()
	}
	require.Zero(t, told[0].lost+told[1].lost)
}
