package worker

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/processor/assign"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/topology"
)

// A member that is to leave goes on until the leader says that nobody needs it any more.
func TestLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		m, _ := newKeeper(t, c, topology.InMemory())
		m.start()
		m.assign(taskID(0))
		_, sent := m.manager.Subscription()
		require.False(t, m.subscription().Leaving)
		mayLeave := m.manager.Leave()
		require.Equal(t, "leaving", <-m.rejoined)
		require.True(t, m.subscription().Leaving)
		_, now := m.manager.Subscription()
		require.NotEqual(t, sent, now, "or the coordinator would not wake the leader")
		require.Equal(t, mayLeave, m.manager.Leave())
		require.Empty(t, m.rejoined, "it has asked")
		left := func() bool {
			select {
			case <-mayLeave:
				return true
			default:
				return false
			}
		}
		m.assign(taskID(0)) // somebody warms up
		require.False(t, left())
		c.produce(in0, keys(10)...)
		until(t, "it goes on", func() bool { return c.committed(in0) == 10 })
		next := m.assigned(assign.Assignment{Pending: true, Leave: true})
		require.False(t, next.Rejoin, "it leaves, which is a rebalance, too")
		require.True(t, left())
		require.Empty(t, m.manager.Owned())
		m.assigned(assign.Assignment{Leave: true}) // before it has left
		require.NoError(t, m.close(true))
	})
}

// A membership may be lost while its member closes: nobody waits for the other then.
func TestLostWhileClosing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, _ := newKeeper(t, newCluster(), topology.InMemory())
		m.start()
		m.assign(taskID(0))
		until(t, "the task runs", func() bool { n, _ := m.manager.TaskStates(); return n == 1 })
		lost := false
		m.manager.Close(t.Context(), true, func() {
			m.manager.Lost(errSomething)
			m.assigned(assign.Assignment{})
			lost = true
		})
		require.True(t, lost)
		m.stop()
		require.NoError(t, <-m.ran)
	})
}

// The leader lets go who has no task any more, and everybody if nobody stays.
func TestLeaderLetsMembersGo(t *testing.T) {
	c := newCluster()
	m, _ := newKeeper(t, c)
	answers := func(subs ...assign.Subscription) (leave []bool) {
		var members []GroupMember
		for i, s := range subs {
			s.ProcessID, s.Fingerprint = string(rune('a'+i)), m.plan.Fingerprint()
			members = append(members, GroupMember{
				MemberID: s.ProcessID, Leader: i == 0, UserData: assign.AppendSubscription(nil, s),
			})
		}
		out, err := m.manager.Assign(t.Context(), members)
		require.NoError(t, err)
		for _, gm := range members {
			a, err := assign.DecodeAssignment(out[gm.MemberID].UserData)
			require.NoError(t, err)
			leave = append(leave, a.Leave)
		}
		return leave
	}
	has := assign.Subscription{Owned: []record.TaskID{taskID(0)}}
	other := assign.Subscription{Owned: []record.TaskID{taskID(1)}}
	leaving, otherLeaving := has, other
	leaving.Leaving, otherLeaving.Leaving = true, true
	require.Equal(t, []bool{false, false}, answers(has, other))
	require.Equal(t, []bool{false, false}, answers(leaving, other), "nobody has its state yet")
	ready := other
	ready.Previous, ready.Following, ready.Ready = leaving.Owned, leaving.Owned, leaving.Owned
	require.Equal(t, []bool{true, false}, answers(leaving, ready))
	require.Equal(t, []bool{true, true}, answers(leaving, otherLeaving))
	require.Equal(t, []bool{true, false}, answers(assign.Subscription{Leaving: true}, other), "it had none")
}

// A membership is lost because nobody can be reached, in the middle of a commit: closing does not wait for its outcome.
func TestCloseWhileALostCommitHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		m, gate := gatedMember(t, c, taskID(0))
		c.produce(in0, keys(3)...)
		<-gate.sending
		lost := make(chan struct{})
		go func() {
			m.manager.Lost(errSomething)
			close(lost)
		}()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		m.manager.Close(ctx, true, func() { <-lost })
		m.stop()
		require.NoError(t, <-m.ran)
		require.Zero(t, c.committed(in0))
	})
}

// A membership is lost while a worker does not answer. Whoever closes then still gets its tasks, and closes them.
func TestCloseTakesWhatWasLostFromABusyWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, _ := newKeeper(t, newCluster(), topology.InMemory())
		var left []record.TaskID
		m.manager.cfg.OnLeave = func(id record.TaskID) { left = append(left, id) }
		m.start()
		m.assign(taskID(0))
		until(t, "the task runs", func() bool { n, _ := m.manager.TaskStates(); return n == 1 })
		gate := make(chan struct{})
		go func() { _ = m.worker.do(context.Background(), func(context.Context) error { <-gate; return nil }) }()
		synctest.Wait()
		go m.manager.Lost(errSomething)
		synctest.Wait()
		closed := make(chan struct{})
		go func() {
			m.manager.Close(context.Background(), true, nil)
			close(closed)
		}()
		synctest.Wait()
		close(gate)
		<-closed
		require.Equal(t, []record.TaskID{taskID(0)}, left)
		m.stop()
		require.NoError(t, <-m.ran)
	})
}
