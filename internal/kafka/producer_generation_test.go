package kafka

import (
	"context"
	"testing"

	"github.com/IBM/sarama"
	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/eos"
	"github.com/tidemarkio/tidemark/record"
)

// joinAlone makes a member the only one of its group and returns its identity.
func joinAlone(t *testing.T, env producerEnv, group, memberID, instanceID, topic string) eos.Member {
	t.Helper()
	ctx := testContext(t)
	c := env.client(t)
	s := c.newConns("test member", 0)
	member := eos.Member{GroupID: group, MemberID: memberID, InstanceID: instanceID}
	ask := func(do func(ctx context.Context, broker int32) error) {
		require.NoError(t, retry(ctx, defaultBackoff(), func() error {
			broker, err := c.coordinator(ctx, sarama.CoordinatorGroup, group)
			if err == nil {
				err = do(ctx, broker)
			}
			if staleCoordinator(err) {
				c.forgetCoordinator(sarama.CoordinatorGroup, group)
			}
			return err
		}))
	}
	ask(func(ctx context.Context, broker int32) error {
		for {
			req := &sarama.JoinGroupRequest{
				Version: 5, GroupId: group, SessionTimeout: 30_000, RebalanceTimeout: 5_000, MemberId: member.MemberID,
				GroupInstanceId: optional(instanceID), ProtocolType: "consumer",
			}
			err := req.AddGroupProtocolMetadata("test", &sarama.ConsumerGroupMemberMetadata{Topics: []string{topic}})
			require.NoError(t, err)
			res, err := callBroker(ctx, s, broker, (*sarama.Broker).JoinGroup, req)
			if err != nil {
				return err
			}
			member.MemberID, member.Generation = res.MemberId, res.GenerationId
			if res.Err != sarama.ErrMemberIdRequired {
				return codeError(res.Err)
			}
		}
	})
	ask(func(ctx context.Context, broker int32) error {
		req := &sarama.SyncGroupRequest{
			Version: 3, GroupId: group, GenerationId: member.Generation, MemberId: member.MemberID,
			GroupInstanceId: optional(instanceID),
		}
		req.AddGroupAssignment(member.MemberID, []byte{0})
		res, err := callBroker(ctx, s, broker, (*sarama.Broker).SyncGroup, req)
		if err != nil {
			return err
		}
		return codeError(res.Err)
	})
	return member
}

// TestOffsetsOfAnOldGeneration is KIP-447: the group coordinator refuses offsets of a member that missed a rebalance,
// and the transaction survives for its current identity.
func TestOffsetsOfAnOldGeneration(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, env producerEnv) {
		ctx := testContext(t)
		topic := env.topic(t, 1, nil)
		tp := part(topic, 0)
		p := env.transactional(t)
		old := joinAlone(t, env, p.cfg.GroupID, "", "instance", topic)
		send := func(m eos.Member, offset int64) error {
			return p.SendOffsets(ctx, m, map[record.TopicPartition]eos.Offset{tp: {Offset: offset}})
		}
		require.NoError(t, p.Begin(ctx, nil, true))
		require.NoError(t, send(old, 1))
		require.NoError(t, p.Commit(ctx))

		// The same member joins again: another generation.
		young := joinAlone(t, env, p.cfg.GroupID, old.MemberID, "instance", topic)
		stale := young
		stale.Generation--
		unknown := young
		unknown.MemberID, unknown.InstanceID = "nobody", ""
		require.NoError(t, p.Begin(ctx, nil, true))
		for _, m := range []eos.Member{stale, unknown} {
			err := send(m, 2)
			require.Equal(t, eos.ClassGeneration, eos.Classify(err), "%+v: %v", m, err)
			require.Equal(t, stateOpen, p.state())
		}
		require.NoError(t, send(young, 3))
		require.NoError(t, p.Commit(ctx))

		// Another process takes the instance id over: the old one is fenced.
		taker := joinAlone(t, env, p.cfg.GroupID, "", "instance", topic)
		require.NotEqual(t, young.MemberID, taker.MemberID)
		require.NoError(t, p.Begin(ctx, nil, true))
		err := send(young, 4)
		require.Equal(t, eos.ClassFenced, eos.Classify(err), "%v", err)
		require.NoError(t, p.Abort(ctx))
		got, err := stableOffsets(ctx, NewAdmin(env.client(t), AdminConfig{}), p.cfg.GroupID, []record.TopicPartition{tp})
		require.NoError(t, err)
		require.Equal(t, int64(3), got[tp].Offset)
	})
}
