package kafka

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemarkio/tidemark/eos"
	"github.com/tidemarkio/tidemark/record"
)

func TestTopics(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, env producerEnv) {
		ctx := testContext(t)
		admin := NewAdmin(env.client(t), AdminConfig{})
		name := uniqueName("t")
		counts, err := admin.Partitions(ctx, []string{name})
		require.NoError(t, err)
		require.Empty(t, counts)

		config := map[string]string{"cleanup.policy": "compact", "max.message.bytes": "123456"}
		require.NoError(t, admin.CreateTopic(ctx, name, 5, 1, config))
		require.NoError(t, admin.CreateTopic(ctx, name, 5, 1, config), "it exists already")
		counts, err = admin.Partitions(ctx, []string{name, name + "-missing"})
		require.NoError(t, err)
		require.Equal(t, map[string]int32{name: 5}, counts)
		got, err := admin.TopicConfig(ctx, name)
		require.NoError(t, err)
		require.Equal(t, "compact", got["cleanup.policy"])
		require.Equal(t, "123456", got["max.message.bytes"])
		require.NotEmpty(t, got["retention.ms"], "effective, not only what was set")

		if env.fake == nil { // kfake takes any name and configuration
			err = admin.CreateTopic(ctx, uniqueName("t"), 1, 1, map[string]string{"cleanup.policy": "nonsense"})
			require.ErrorContains(t, err, "nonsense", "the broker's own words")
			require.Error(t, admin.CreateTopic(ctx, "not a name!", 1, 1, nil))
		}
		require.NoError(t, admin.Close())
		require.NoError(t, admin.Close())
	})
}

func TestOffsetsOfAPartition(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, env producerEnv) {
		ctx := testContext(t)
		topic := env.topic(t, 2, nil)
		admin := NewAdmin(env.client(t), AdminConfig{})
		p := env.transactional(t)
		tps := []record.TopicPartition{part(topic, 0), part(topic, 1)}
		transact(t, p, batch(tps[0], "a", "b", "c"))
		require.NoError(t, p.Begin(ctx, nil, false))
		_, err := p.Send(ctx, []*record.Batch{batch(tps[0], "open")})
		require.NoError(t, err)

		end, err := admin.EndOffsets(ctx, tps, false)
		require.NoError(t, err)
		require.Equal(t, map[record.TopicPartition]int64{tps[0]: 5, tps[1]: 0}, end)
		stable, err := admin.EndOffsets(ctx, tps, true)
		require.NoError(t, err)
		require.Equal(t, map[record.TopicPartition]int64{tps[0]: 4, tps[1]: 0}, stable)

		require.NoError(t, admin.DeleteRecords(ctx, map[record.TopicPartition]int64{tps[0]: 2}))
		start, err := admin.StartOffsets(ctx, tps)
		require.NoError(t, err)
		require.Equal(t, map[record.TopicPartition]int64{tps[0]: 2, tps[1]: 0}, start)
		err = admin.DeleteRecords(ctx, map[record.TopicPartition]int64{tps[1]: 9})
		require.ErrorContains(t, err, "offset 9 lies beyond the end")
		empty, err := admin.EndOffsets(ctx, nil, true)
		require.NoError(t, err)
		require.Empty(t, empty)
	})
}

func TestFenceProducer(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, env producerEnv) {
		ctx := testContext(t)
		tp := part(env.topic(t, 1, nil), 0)
		admin := NewAdmin(env.client(t), AdminConfig{})
		dead := env.transactional(t)
		blocking, err := admin.BlockingProducers(ctx, tp)
		require.NoError(t, err)
		require.Empty(t, blocking)
		require.NoError(t, dead.Begin(ctx, nil, false))
		_, err = dead.Send(ctx, []*record.Batch{batch(tp, "open")})
		require.NoError(t, err)
		blocking, err = admin.BlockingProducers(ctx, tp)
		require.NoError(t, err)
		require.Equal(t, []string{dead.TransactionalID()}, blocking)

		require.NoError(t, admin.FenceProducer(ctx, dead.TransactionalID()))
		end, err := admin.EndOffsets(ctx, []record.TopicPartition{tp}, false)
		require.NoError(t, err)
		stable, err := admin.EndOffsets(ctx, []record.TopicPartition{tp}, true)
		require.NoError(t, err)
		require.Equal(t, end, stable, "on return everything is decided")
		blocking, err = admin.BlockingProducers(ctx, tp)
		require.NoError(t, err)
		require.Empty(t, blocking)
		err = dead.Commit(ctx)
		require.Equal(t, eos.ClassFenced, eos.Classify(err), "%v", err)
		require.Error(t, admin.FenceProducer(ctx, ""))
	})
}

func TestAdminRetriesWhatPasses(t *testing.T) {
	t.Parallel()
	env := newFake(t)
	ctx := testContext(t)
	topic := env.topic(t, 3, nil)
	admin := NewAdmin(env.client(t), AdminConfig{})
	tps := []record.TopicPartition{part(topic, 0), part(topic, 1), part(topic, 2)}
	for _, c := range []struct {
		fault kfake.Fault
		do    func() error
	}{
		{kfake.Fault{Keys: []kmsg.Key{kmsg.ListOffsets}, Topic: topic, Err: kerr.NotLeaderForPartition}, func() error {
			_, err := admin.EndOffsets(ctx, tps, true)
			return err
		}},
		{kfake.Fault{Keys: []kmsg.Key{kmsg.DeleteRecords}, Topic: topic, Err: kerr.NotLeaderForPartition}, func() error {
			return admin.DeleteRecords(ctx, map[record.TopicPartition]int64{tps[1]: 0})
		}},
		{kfake.Fault{Keys: []kmsg.Key{kmsg.CreateTopics}, Err: kerr.NotController}, func() error {
			return admin.CreateTopic(ctx, uniqueName("t"), 1, -1, nil)
		}},
		{kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetFetch}, Err: kerr.CoordinatorLoadInProgress}, func() error {
			_, err := admin.CommittedOffsets(ctx, "g", tps)
			return err
		}},
		{kfake.Fault{Keys: []kmsg.Key{kmsg.FindCoordinator}, Err: kerr.CoordinatorNotAvailable}, func() error {
			return admin.FenceProducer(ctx, uniqueName("tx"))
		}},
		{kfake.Fault{Keys: []kmsg.Key{kmsg.InitProducerID}, Err: kerr.ConcurrentTransactions}, func() error {
			return admin.FenceProducer(ctx, uniqueName("tx"))
		}},
	} {
		c.fault.Count = 2
		faults := env.fake.Fault(c.fault)
		require.NoError(t, c.do(), "%v", c.fault.Err)
		require.Equal(t, 2, faults.Hits(), "%v", c.fault.Err)
	}
}

func TestAdminSaysWhichPermissionIsMissing(t *testing.T) {
	t.Parallel()
	env := newFake(t)
	ctx := testContext(t)
	topic := env.topic(t, 1, nil)
	admin := NewAdmin(env.client(t), AdminConfig{})
	tps := []record.TopicPartition{part(topic, 0)}
	env.fake.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetFetch}, Err: kerr.GroupAuthorizationFailed})
	_, err := admin.CommittedOffsets(ctx, "g", tps)
	require.ErrorContains(t, err, "grant DESCRIBE on this group")
	env.fake.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.CreateTopics}, Err: kerr.TopicAuthorizationFailed})
	require.ErrorContains(t, admin.CreateTopic(ctx, "new", 1, 1, nil), "grant CREATE")
	env.fake.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.InitProducerID}, Err: kerr.TransactionalIDAuthorizationFailed})
	require.ErrorContains(t, admin.FenceProducer(ctx, "x"), "grant WRITE on this transactional id")
}

func TestAdminEndsWithItsContext(t *testing.T) {
	t.Parallel()
	env := newFake(t)
	topic := env.topic(t, 1, nil)
	admin := NewAdmin(env.client(t), AdminConfig{})
	ctx, cancel := context.WithTimeout(testContext(t), 30*time.Millisecond)
	defer cancel()
	_, err := admin.EndOffsets(ctx, []record.TopicPartition{part(topic, 5)}, true)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, topic+"-5", "the last failure is told too")
}
