package kafka

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemarkio/tidemark/processor/assign"
	"github.com/tidemarkio/tidemark/processor/worker"
	"github.com/tidemarkio/tidemark/record"
)

// groupTest is a group whose members share the partitions of one topic, one task each.
type groupTest struct {
	t     testing.TB
	env   producerEnv
	conf  GroupConfig
	topic string
	tasks []assign.Task

	mu struct {
		sync.Mutex
		owner map[record.TopicPartition]*groupMember
	}
}

func newGroupTest(t testing.TB, env producerEnv, partitions int32) *groupTest {
	t.Helper()
	gt := &groupTest{t: t, env: env, topic: env.topic(t, partitions, nil)}
	gt.conf = GroupConfig{
		GroupID: uniqueName("group"), SessionTimeout: 6 * time.Second, RebalanceTimeout: 8 * time.Second,
		HeartbeatInterval: 50 * time.Millisecond,
	}
	var err error
	gt.tasks, err = assign.Tasks([]assign.Subtopology{{Topics: map[string]int32{gt.topic: partitions}}})
	require.NoError(t, err)
	gt.mu.owner = make(map[record.TopicPartition]*groupMember)
	return gt
}

// groupMember is a member and its handler.
type groupMember struct {
	*groupTest
	group    *Group
	stop     context.CancelFunc
	ended    chan error
	assigned chan []record.TopicPartition
	lost     chan error
	// hook runs inside Assigned, assignErr fails Assign.
	hook      func(context.Context) error
	assignErr error
	pending   atomic.Bool

	state struct {
		sync.Mutex
		owned []record.TopicPartition
	}
}

// member starts a member.
func (gt *groupTest) member(instance string, change ...func(*groupMember, *GroupConfig)) *groupMember {
	gt.t.Helper()
	m := &groupMember{
		groupTest: gt, ended: make(chan error, 1), assigned: make(chan []record.TopicPartition, 100),
		lost: make(chan error, 100),
	}
	conf := gt.conf
	conf.InstanceID = instance
	conf.Logger = slog.New(slog.NewTextHandler(testWriter{gt.t}, &slog.HandlerOptions{Level: slog.LevelDebug}))
	for _, f := range change {
		f(m, &conf)
	}
	var err error
	m.group, err = NewGroup(gt.env.client(gt.t), conf)
	require.NoError(gt.t, err)
	ctx, stop := context.WithCancel(context.Background())
	m.stop = stop
	done := make(chan struct{})
	go func() {
		defer close(done)
		m.ended <- m.group.Run(ctx, m)
	}()
	gt.t.Cleanup(func() { stop(); <-done })
	return m
}

type testWriter struct{ t testing.TB }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Logf("%s", p)
	return len(p), nil
}

func (m *groupMember) Subscription() ([]string, []byte) {
	return []string{m.topic}, assign.AppendSubscription(nil, assign.Subscription{ProcessID: m.group.conf.InstanceID})
}

func (m *groupMember) Owned() []record.TopicPartition {
	m.state.Lock()
	defer m.state.Unlock()
	return slices.Clone(m.state.owned)
}

func (m *groupMember) Assign(
	_ context.Context, members []worker.GroupMember,
) (map[string]worker.GroupAssignment, error) {
	if m.assignErr != nil {
		return nil, m.assignErr
	}
	var ms []assign.Member
	for _, gm := range members {
		am := assign.Member{ID: gm.MemberID, ProcessID: gm.InstanceID, Generation: gm.Generation}
		for _, tp := range gm.Owned {
			am.Owned = append(am.Owned, record.TaskID{Partition: tp.Partition})
		}
		ms = append(ms, am)
	}
	target, err := assign.Assign(assign.IDs(m.tasks), ms)
	if err != nil {
		return nil, err
	}
	now, _ := assign.Withhold(target, ms)
	out := make(map[string]worker.GroupAssignment)
	for id, tasks := range now {
		out[id] = worker.GroupAssignment{
			Partitions: assign.Partitions(m.tasks, tasks),
			UserData:   assign.AppendAssignment(nil, assign.Assignment{Version: assign.Version, Tasks: tasks}),
		}
	}
	return out, nil
}

func (m *groupMember) Assigned(ctx context.Context, a worker.GroupAssignment) (worker.Afterwards, error) {
	if m.hook != nil {
		if err := m.hook(ctx); err != nil {
			return worker.Afterwards{}, err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.state.Lock()
	defer m.state.Unlock()
	rejoin := false
	for _, tp := range m.state.owned {
		if !slices.Contains(a.Partitions, tp) {
			delete(m.mu.owner, tp)
			rejoin = true
		}
	}
	for _, tp := range a.Partitions {
		if other := m.mu.owner[tp]; other != nil && other != m {
			m.t.Errorf("%s is owned twice", tp)
		}
		m.mu.owner[tp] = m
	}
	m.state.owned = a.Partitions
	m.assigned <- a.Partitions
	return worker.Afterwards{Rejoin: rejoin, Pending: m.pending.Load()}, nil
}

func (m *groupMember) Lost(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.state.Lock()
	defer m.state.Unlock()
	for _, tp := range m.state.owned {
		if m.mu.owner[tp] == m {
			delete(m.mu.owner, tp)
		}
	}
	m.state.owned = nil
	m.lost <- err
}

// await waits for an assignment of n partitions and returns it and all that came before.
func (m *groupMember) await(n int) (last []record.TopicPartition, all [][]record.TopicPartition) {
	m.t.Helper()
	deadline := time.After(testPatience)
	for {
		select {
		case last = <-m.assigned:
			all = append(all, last)
			if len(last) == n {
				return last, all
			}
		case err := <-m.ended:
			require.FailNow(m.t, "the member ended", "%v", err)
		case <-deadline:
			require.FailNow(m.t, "no such assignment", "want %d partitions, got %v", n, all)
		}
	}
}

func awaitError(t testing.TB, ch <-chan error) error {
	t.Helper()
	select {
	case err := <-ch:
		return err
	case <-time.After(testPatience):
		require.FailNow(t, "nothing happened")
		return nil
	}
}

func TestGroupSharesAndHandsOver(t *testing.T) {
	onBoth(t, func(t *testing.T, env producerEnv) {
		gt := newGroupTest(t, env, 4)
		a := gt.member("")
		a.await(4)
		require.GreaterOrEqual(t, a.group.Member().Generation, int32(1))

		b := gt.member("")
		kept, steps := a.await(2)
		for _, step := range steps {
			require.Subset(t, step, kept, "what stays must never be taken away")
		}
		got, _ := b.await(2)
		require.NotSubset(t, got, kept[:1])
		require.NotSubset(t, got, kept[1:])

		b.stop()
		require.NoError(t, awaitError(t, b.ended))
		b.Lost(nil) // it has closed: its partitions are free
		a.await(4)
		require.Empty(t, a.lost)
		require.Equal(t, int32(-1), b.group.Member().Generation)
	})
}

func TestGroupStaticMemberComesBack(t *testing.T) {
	onBoth(t, func(t *testing.T, env producerEnv) {
		gt := newGroupTest(t, env, 4)
		a := gt.member("a")
		a.await(4)
		b := gt.member("b")
		a.await(2)
		b.await(2)
		before := a.Owned()
		generation := b.group.Member().Generation

		a.stop() // closes the connections and does not leave: what a crash looks like from outside
		require.NoError(t, awaitError(t, a.ended))
		a.Lost(nil)
		start := time.Now()
		again := gt.member("a")
		got, _ := again.await(2)
		require.Less(t, time.Since(start), gt.conf.SessionTimeout)
		require.Equal(t, before, got, "the same assignment")
		if env.fake != nil {
			return // kfake rebalances when the subscription's bytes changed; Kafka only when its protocols did
		}
		require.Equal(t, generation, again.group.Member().Generation, "no rebalance")
		require.Empty(t, b.assigned)
		require.Equal(t, generation, b.group.Member().Generation)
	})
}

func TestGroupStaticMemberLeavesOnClose(t *testing.T) {
	onBoth(t, func(t *testing.T, env producerEnv) {
		gt := newGroupTest(t, env, 2)
		a := gt.member("a", func(_ *groupMember, c *GroupConfig) { c.LeaveOnClose = true })
		a.await(2)
		b := gt.member("b")
		a.await(1)
		b.await(1)
		a.stop()
		require.NoError(t, awaitError(t, a.ended))
		a.Lost(nil)
		b.await(2)
	})
}

func TestGroupFencedInstance(t *testing.T) {
	onBoth(t, func(t *testing.T, env producerEnv) {
		gt := newGroupTest(t, env, 2)
		a := gt.member("twin")
		a.await(2)
		// The twin runs the same tasks until we are told: only fencing by Kafka protects the data meanwhile.
		other := &groupTest{t: t, env: env, conf: gt.conf, topic: gt.topic, tasks: gt.tasks}
		other.mu.owner = make(map[record.TopicPartition]*groupMember)
		b := other.member("twin")
		err := awaitError(t, a.lost)
		require.ErrorIs(t, err, sarama.ErrFencedInstancedId)
		err = awaitError(t, a.ended)
		require.ErrorIs(t, err, sarama.ErrFencedInstancedId)
		require.ErrorContains(t, err, `another process uses the instance id "twin"`)
		b.await(2)
	})
}

// TestGroupExpelled removes the member from outside: its next heartbeat tells it so.
func TestGroupExpelled(t *testing.T) {
	onBoth(t, func(t *testing.T, env producerEnv) {
		gt := newGroupTest(t, env, 2)
		a := gt.member("")
		a.await(2)
		client := env.client(t)
		conns := client.newConns("test", 0)
		member := a.group.Member()
		res, err := ask(testContext(t), &Group{client: client, conf: gt.conf}, conns, (*sarama.Broker).LeaveGroup,
			&sarama.LeaveGroupRequest{
				Version: 3, GroupId: gt.conf.GroupID, Members: []sarama.MemberIdentity{{MemberId: member.MemberID}},
			})
		require.NoError(t, err)
		require.Equal(t, sarama.ErrNoError, res.Err)
		require.ErrorIs(t, awaitError(t, a.lost), sarama.ErrUnknownMemberId)
		a.await(2)
		require.NotEqual(t, member.MemberID, a.group.Member().MemberID)
	})
}

func TestGroupRejoin(t *testing.T) {
	onBoth(t, func(t *testing.T, env producerEnv) {
		gt := newGroupTest(t, env, 2)
		a := gt.member("")
		a.await(2)
		before := a.group.Member()
		a.group.Rejoin("partitions were added")
		a.await(2)
		after := a.group.Member()
		require.Equal(t, before.MemberID, after.MemberID)
		require.Greater(t, after.Generation, before.Generation)
		require.Empty(t, a.lost)
	})
}

func TestGroupAssignFails(t *testing.T) {
	onBoth(t, func(t *testing.T, env producerEnv) {
		gt := newGroupTest(t, env, 2)
		refusal := errors.New("mixed topologies")
		a := gt.member("", func(m *groupMember, _ *GroupConfig) { m.assignErr = refusal })
		require.ErrorIs(t, awaitError(t, a.ended), refusal)
	})
}

// shortSession makes expiry testable; a real broker's minimum is 6 s.
func shortSession(t *testing.T) *groupTest {
	t.Helper()
	gt := newGroupTest(t, newFake(t, kfake.GroupMinSessionTimeout(100*time.Millisecond)), 2)
	gt.conf.SessionTimeout, gt.conf.HeartbeatInterval = 500*time.Millisecond, 30*time.Millisecond
	return gt
}

// TestGroupSessionExpires: the coordinator answers, but never confirms. Our own clock must end the membership.
func TestGroupSessionExpires(t *testing.T) {
	gt := shortSession(t)
	a := gt.member("a")
	a.await(2)
	require.False(t, a.group.ConfirmedUntil().IsZero())
	fault := gt.env.fake.Fault(kfake.Fault{
		Keys: []kmsg.Key{kmsg.Heartbeat}, Err: kerr.CoordinatorLoadInProgress, Count: -1,
	})
	require.NoError(t, fault.Wait(testContext(t), 1))
	confirmed := a.group.ConfirmedUntil()
	require.ErrorIs(t, awaitError(t, a.lost), errSessionExpired)
	require.False(t, time.Now().Before(confirmed), "what nobody confirms is not prolonged")
	fault.Remove()
	a.await(2)
	require.True(t, a.group.ConfirmedUntil().After(confirmed))
}

// TestGroupIsNotConfirmedBefore: who is no member has nothing to be confirmed.
func TestGroupIsNotConfirmedBefore(t *testing.T) {
	g, err := NewGroup(nil, GroupConfig{GroupID: "g"})
	require.NoError(t, err)
	require.True(t, g.ConfirmedUntil().IsZero())
}

// TestGroupExpiresDuringHandOver: Assigned hangs and the membership ends meanwhile; the context tells it.
func TestGroupExpiresDuringHandOver(t *testing.T) {
	gt := shortSession(t)
	first := true
	inside := make(chan struct{})
	a := gt.member("", func(m *groupMember, _ *GroupConfig) {
		m.hook = func(ctx context.Context) error {
			if !first {
				return nil
			}
			first = false
			close(inside)
			<-ctx.Done()
			return context.Cause(ctx)
		}
	})
	<-inside
	fault := gt.env.fake.Fault(kfake.Fault{
		Keys: []kmsg.Key{kmsg.Heartbeat}, Err: kerr.CoordinatorNotAvailable, Count: -1,
	})
	require.ErrorIs(t, awaitError(t, a.lost), errSessionExpired)
	fault.Remove()
	a.await(2)
}

// TestGroupHeartbeatsDuringHandOver: a hand-over may take several session timeouts.
func TestGroupHeartbeatsDuringHandOver(t *testing.T) {
	gt := shortSession(t)
	beats := gt.env.fake.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Heartbeat}, Count: -1, Observe: true})
	a := gt.member("", func(m *groupMember, _ *GroupConfig) {
		m.hook = func(ctx context.Context) error { return beats.Wait(ctx, 40) }
	})
	a.await(2)
	require.Empty(t, a.lost)
}

func TestGroupSurvivesCoordinatorMove(t *testing.T) {
	gt := newGroupTest(t, newFake(t), 2)
	a := gt.member("")
	a.await(2)
	member := a.group.Member()
	before := gt.env.fake.CoordinatorFor(gt.conf.GroupID)
	for gt.env.fake.CoordinatorFor(gt.conf.GroupID) == before {
		gt.env.fake.RehashCoordinators()
	}
	beats := gt.env.fake.Fault(kfake.Fault{
		Keys: []kmsg.Key{kmsg.Heartbeat}, Count: -1, Observe: true, Group: gt.conf.GroupID,
		Nodes: []int32{gt.env.fake.CoordinatorFor(gt.conf.GroupID)},
	})
	require.NoError(t, beats.Wait(testContext(t), 3))
	a.group.Rejoin("test")
	a.await(2)
	require.Equal(t, member.MemberID, a.group.Member().MemberID)
	require.Empty(t, a.lost)
}

func TestGroupRetriesTransientErrors(t *testing.T) {
	gt := newGroupTest(t, newFake(t), 2)
	for _, key := range []kmsg.Key{kmsg.JoinGroup, kmsg.SyncGroup} {
		gt.env.fake.Fault(
			kfake.Fault{Keys: []kmsg.Key{key}, Err: kerr.CoordinatorLoadInProgress},
			kfake.Fault{Keys: []kmsg.Key{key}, Err: kerr.NotCoordinator},
			kfake.Fault{Keys: []kmsg.Key{key}, Err: kerr.RebalanceInProgress},
		)
	}
	a := gt.member("")
	a.await(2)
	require.Empty(t, a.lost)
}

func TestGroupFatalErrors(t *testing.T) {
	for _, tc := range []struct {
		err  *kerr.Error
		want string
	}{
		{kerr.GroupAuthorizationFailed, "grant this principal the ACL Read on group"},
		{kerr.InconsistentGroupProtocol, "clients of another kind are in this group"},
		{kerr.InvalidSessionTimeout, "group.min.session.timeout.ms"},
		{kerr.GroupMaxSizeReached, "group.max.size"},
	} {
		t.Run(tc.err.Message, func(t *testing.T) {
			gt := newGroupTest(t, newFake(t), 1)
			gt.env.fake.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.JoinGroup}, Err: tc.err, Count: -1})
			require.ErrorContains(t, awaitError(t, gt.member("").ended), tc.want)
		})
	}
}

// TestGroupClosesDuringAJoin: a member that is waiting in its first join takes it back, or the group would wait for it.
func TestGroupClosesDuringAJoin(t *testing.T) {
	onBoth(t, func(t *testing.T, env producerEnv) {
		gt := newGroupTest(t, env, 2)
		block, inside := make(chan struct{}), make(chan struct{}, 10)
		var busy atomic.Bool
		a := gt.member("", func(m *groupMember, _ *GroupConfig) {
			m.hook = func(ctx context.Context) error { // while it is busy, the group must wait for it
				if busy.Load() {
					inside <- struct{}{}
					select {
					case <-block:
					case <-ctx.Done():
					}
				}
				return nil
			}
		})
		a.await(2)
		busy.Store(true)
		a.group.Rejoin("test")
		<-inside
		b := gt.member("")
		require.Eventually(t, func() bool { return b.group.Member().MemberID != "" }, testPatience, time.Millisecond)
		start := time.Now()
		b.stop()
		require.NoError(t, awaitError(t, b.ended))
		require.Less(t, time.Since(start), gt.conf.SessionTimeout)
		close(block)
		a.await(2)
		require.Empty(t, a.lost)
	})
}

// TestGroupClosesWithoutBroker: the broker is gone, Run must end at once nevertheless.
func TestGroupClosesWithoutBroker(t *testing.T) {
	gt := newGroupTest(t, newFake(t), 2)
	a := gt.member("")
	a.await(2)
	gt.env.fake.Close()
	start := time.Now()
	a.stop()
	require.NoError(t, awaitError(t, a.ended))
	require.Less(t, time.Since(start), gt.conf.SessionTimeout)
}

func TestGroupConfigIsValidated(t *testing.T) {
	_, err := NewGroup(newFake(t).client(t), GroupConfig{SessionTimeout: time.Second, HeartbeatInterval: time.Second})
	require.ErrorContains(t, err, "no group id")
	require.ErrorContains(t, err, "at most a third of the session timeout")
}

// TestGroupHeartbeatsOftenWhilePending: who is told that another rebalance is about to come does not sleep through it.
func TestGroupHeartbeatsOftenWhilePending(t *testing.T) {
	gt := newGroupTest(t, newFake(t), 2)
	// Five take longer than the test waits.
	gt.conf.HeartbeatInterval, gt.conf.SessionTimeout = 3*time.Second, 30*time.Second
	beats := make(chan struct{}, 100)
	gt.env.fake.ControlKey(kmsg.Heartbeat.Int16(), func(kmsg.Request) (kmsg.Response, error, bool) {
		gt.env.fake.KeepControl()
		beats <- struct{}{}
		return nil, nil, false
	})
	a := gt.member("", func(m *groupMember, _ *GroupConfig) { m.pending.Store(true) })
	a.await(2)
	deadline := time.After(14 * time.Second)
	for range 5 {
		select {
		case <-beats:
		case <-deadline:
			require.FailNow(t, "no heartbeats")
		}
	}
	a.pending.Store(false)
	a.group.Rejoin("to hear that nothing is pending")
	for len(a.assigned) == 0 { // a heartbeat or two may come meanwhile
		select {
		case <-beats:
		case <-deadline:
			require.FailNow(t, "no rebalance")
		}
	}
	require.Equal(t, gt.conf.HeartbeatInterval, (&session{Group: a.group}).heartbeatInterval())
}
