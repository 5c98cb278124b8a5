package worker

import (
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/processor/assign"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/topology"
)

// inputsBefore are those of the fakes, inputsNow those after a topic with one partition has come.
func inputsBefore(id record.TaskID) []record.TopicPartition {
	return []record.TopicPartition{part("in", id.Partition)}
}

func inputsNow(id record.TaskID) []record.TopicPartition {
	tps := inputsBefore(id)
	if id == taskID(0) {
		tps = append(tps, part("new", 0))
	}
	return tps
}

// comparing makes a member that knows the given inputs, and counts how often it was told that another one does not.
func comparing(t *testing.T, inputs func(id record.TaskID) []record.TopicPartition) (m *Manager, disagreed *int) {
	t.Helper()
	one := newMember(t, newCluster(), countPlan(t), nil)
	disagreed = new(int)
	cfg := one.manager.cfg
	cfg.Inputs, cfg.OnDisagree = inputs, func() { *disagreed++ }
	return NewManager(cfg), disagreed
}

// A static member comes back with other inputs, and the coordinator gives it from memory what it had. Its own tasks
// have the inputs of before, or it has none: it joins once more all the same, so that the leader hears of it.
func TestOtherInputsInAnAssignmentFromMemory(t *testing.T) {
	both := []record.TaskID{taskID(0), taskID(1)}
	before, now := digestOf(both, inputsBefore), digestOf(both, inputsNow)
	for name, c := range map[string]struct {
		assigned       uint64
		partitions     []record.TopicPartition // of a leader that sends no digest
		total          int
		rejoin, differ bool
	}{
		"the same":                     {assigned: now, total: 2},
		"other inputs of others":       {assigned: before, total: 2, rejoin: true, differ: true},
		"another number of tasks":      {assigned: now, total: 3, rejoin: true, differ: true},
		"an older leader, no tasks":    {total: 2},
		"an older leader, other tasks": {partitions: inputsNow(taskID(0)), total: 2, rejoin: true, differ: true},
	} {
		t.Run(name, func(t *testing.T) {
			m, disagreed := comparing(t, inputsNow)
			a := assign.Assignment{
				Version: assign.Version, Fingerprint: m.cfg.Fingerprint, Total: c.total, Inputs: c.assigned,
			}
			got := GroupAssignment{UserData: assign.AppendAssignment(nil, a), Partitions: c.partitions}
			_, first := m.Subscription()
			next, err := m.Assigned(t.Context(), got)
			require.NoError(t, err)
			require.Equal(t, c.rejoin, next.Rejoin)
			require.Equal(t, c.differ, *disagreed > 0)
			_, second := m.Subscription()
			require.Equal(t, c.rejoin, string(first) != string(second), "an equal one is answered from memory again")
			next, err = m.Assigned(t.Context(), got)
			require.NoError(t, err)
			require.False(t, next.Rejoin, "once")
		})
	}
}

// The leader looks which inputs there are if a member knows others, and tells all members which it has assigned.
func TestLeaderComparesInputs(t *testing.T) {
	leader, disagreed := comparing(t, inputsNow)
	topics, same := leader.Subscription()
	other, _ := comparing(t, inputsBefore)
	_, differs := other.Subscription()
	old := leader.subscriptionOf(t)
	old.Inputs = 0
	oldSame := assign.AppendSubscription(nil, old)
	old.Attempt = 1
	oldAsks := assign.AppendSubscription(nil, old)
	for name, c := range map[string]struct {
		topics []string
		data   []byte
		differ bool
	}{
		"the same":                   {topics, same, false},
		"others":                     {topics, differs, true},
		"an older member":            {topics, oldSame, false},
		"an older member, asks":      {topics, oldAsks, true},
		"an older member, its topic": {append([]string{"more"}, topics...), oldSame, true},
	} {
		t.Run(name, func(t *testing.T) {
			*disagreed = 0
			members := []GroupMember{{MemberID: "a", Leader: true, UserData: same, Topics: topics}}
			members = append(members, GroupMember{MemberID: "b", UserData: c.data, Topics: c.topics})
			out, err := leader.Assign(t.Context(), members)
			require.NoError(t, err)
			require.Equal(t, c.differ, *disagreed > 0)
			for _, a := range out {
				decoded, err := assign.DecodeAssignment(a.UserData)
				require.NoError(t, err)
				require.Equal(t, digestOf([]record.TaskID{taskID(0), taskID(1)}, inputsNow), decoded.Inputs)
			}
		})
	}
}

// A task is revoked whose commit cannot end, since what it reads is gone: the member looks before it waits for the
// commit.
func TestDisagreesBeforeItWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		var gate *gatedProducer
		m := newMember(t, c, countPlan(t, topology.InMemory()), func(cfg *Config) { gate = gated(cfg) })
		cfg := m.manager.cfg
		looked := make(chan struct{}, 10)
		cfg.OnDisagree = func() { looked <- struct{}{} }
		m.manager = NewManager(cfg)
		m.start()
		m.assign(taskID(0), taskID(1))
		introduced(t, c, in0, in1)
		gate.held.Store(true)
		c.produce(in1, keys(3)...)
		<-gate.sending
		revoked := make(chan struct{})
		go func() {
			defer close(revoked)
			m.assigned(assign.Assignment{Tasks: []record.TaskID{taskID(0)}, Inputs: 1})
		}()
		synctest.Wait()
		require.Len(t, looked, 1)
		require.Len(t, m.manager.Tasks(), 2, "it still waits")
		close(gate.release)
		<-revoked
		require.NoError(t, m.close(true))
	})
}

func (m *Manager) subscriptionOf(t *testing.T) assign.Subscription {
	t.Helper()
	_, data := m.Subscription()
	s, err := assign.DecodeSubscription(data)
	require.NoError(t, err)
	return s
}

// TestDigestOfInputs pins the digest: members of different releases compare it.
func TestDigestOfInputs(t *testing.T) {
	both := []record.TaskID{taskID(1), taskID(0)}
	require.Equal(t, digestOf([]record.TaskID{taskID(0), taskID(1)}, inputsNow), digestOf(both, inputsNow))
	require.Equal(t, uint64(0x90e4eb6f36e60cf3), digestOf(both, inputsNow))
}

// What the coordinator remembers may name tasks whose inputs are gone: there is nothing to run.
func TestTasksWithoutInputsDoNotStart(t *testing.T) {
	m, _ := comparing(t, func(record.TaskID) []record.TopicPartition { return nil })
	_, err := m.Assigned(t.Context(), GroupAssignment{UserData: assign.AppendAssignment(nil, assign.Assignment{
		Version: assign.Version, Fingerprint: m.cfg.Fingerprint, Total: 2, Tasks: []record.TaskID{taskID(1)},
	})})
	require.NoError(t, err)
	require.Empty(t, m.Tasks())
}
