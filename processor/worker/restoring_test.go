package worker

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/topology"
)

// Tasks on their way are seen with what they are doing, how far they are, and how long that will take.
func TestRestoresAreSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		first := newMember(t, c, countPlan(t, topology.InMemory()), nil)
		first.start()
		first.assign(taskID(0))
		introduced(t, c, in0)
		c.produce(in0, keys(6)...)
		until(t, "all", func() bool { return c.committed(in0) == 6 })
		require.Empty(t, first.manager.Restores())
		require.NoError(t, first.close(true))

		m := newMember(t, c, countPlan(t, topology.InMemory()), nil)
		m.reader.gate = make(chan struct{})
		m.start()
		began := time.Now()
		m.assign(taskID(0))
		synctest.Wait()
		end := int64(len(c.logs[counts0]))
		require.Equal(t, []RestoreSnapshot{{
			ID: taskID(0), State: RestoreReplaying, Since: began, Base: "none",
			Stores: []RestoringStore{{Store: "counts", TopicPartition: counts0, End: end}}, Lag: end,
		}}, m.manager.Restores())

		time.Sleep(time.Second)
		m.restorer.restores.read(taskID(0), 0, end/2, time.Now())
		got := m.manager.Restores()[0]
		require.Equal(t, end-end/2, got.Lag)
		require.InDelta(t, float64(got.Lag)/float64(end/2), got.Remaining.Seconds(), 0.001)
		m.restorer.restores.become(taskID(0), RestoreStarting)
		require.Zero(t, m.manager.Restores()[0].Remaining)
		close(m.reader.gate)
		until(t, "the task", func() bool { running, _ := m.manager.TaskStates(); return running == 1 })
		require.Empty(t, m.manager.Restores())
		require.Empty(t, m.restorer.restores.all)
		require.NoError(t, m.close(true))
	})
}

// Who listens hears of a restore that does not come to its end.
func TestRestoreIsSuspended(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		c.produce(counts0, "k", "k")
		m := newMember(t, c, countPlan(t, topology.InMemory()), nil)
		m.reader.gate = make(chan struct{})
		var heard []RestoreSuspended
		m.restorer.cfg.Listener.OnSuspended = func(e RestoreSuspended) { heard = append(heard, e) }
		m.start()
		m.assign(taskID(0))
		synctest.Wait()
		m.assign()
		require.Len(t, heard, 1)
		require.ErrorIs(t, heard[0].Err, context.Canceled)
		heard[0].Err = nil
		require.Equal(t, RestoreSuspended{Store: "counts", TopicPartition: counts0, To: 2}, heard[0])
		require.NoError(t, m.close(true))
	})
}

func TestRestoreStateNames(t *testing.T) {
	require.Equal(t, "waiting", RestoreWaiting.String())
	require.Equal(t, "starting", RestoreStarting.String())
	require.Equal(t, "RestoreState(9)", RestoreState(9).String())
}

// The listener hears of what goes before it goes, of what there is then, and of what is lost.
func TestRebalanceListener(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		m := newMember(t, c, countPlan(t, topology.InMemory()), nil)
		var heard []string
		cfg := m.manager.cfg
		cfg.Listener = RebalanceListener{
			OnRevoked: func(e TasksRevoked) {
				require.Len(t, m.manager.Tasks(), 2, "before they go")
				heard = append(heard, e.String())
			},
			OnAssigned: func(e TasksAssigned) { heard = append(heard, e.String()) },
			OnLost:     func(e TasksLost) { heard = append(heard, e.String()) },
		}
		m.manager = NewManager(cfg)
		m.start()
		m.assign(taskID(0), taskID(1))
		introduced(t, c, in0, in1)
		m.assign(taskID(1))
		m.manager.Lost(errSomething)
		require.Equal(t, []string{
			"assigned [0_0 0_1], new [0_0 0_1], standbys [], warm-ups []",
			"revoked [0_0]",
			"assigned [0_1], new [], standbys [], warm-ups []",
			"lost [0_1]: something",
		}, heard)
		require.NoError(t, m.close(true))
	})
}

// Ends replaces what came with the last fetch, unless it knows less.
func TestEndsOfInputs(t *testing.T) {
	s := Snapshot{Tasks: []TaskSnapshot{{ID: taskID(0), Inputs: []InputSnapshot{
		{TopicPartition: in0, Position: 5, End: 7, Lag: 2}, {TopicPartition: in1, Position: 9, End: 9},
	}}}}
	s.Ends(map[record.TopicPartition]int64{in0: 20, in1: 3})
	require.Equal(t, []InputSnapshot{
		{TopicPartition: in0, Position: 5, End: 20, Lag: 15}, {TopicPartition: in1, Position: 9, End: 9},
	}, s.Tasks[0].Inputs)
}
