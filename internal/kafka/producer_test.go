package kafka

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/tidemarkio/tidemark/eos"
	"github.com/tidemarkio/tidemark/integration/broker"
	"github.com/tidemarkio/tidemark/processor/worker"
	"github.com/tidemarkio/tidemark/record"
)

// producerEnv is a cluster that producer tests run against.
type producerEnv struct {
	addrs []string
	fake  *kfake.Cluster // nil: a real Kafka
}

// topicSeq makes names unique within the process; the clock makes them unique on a shared real broker.
var topicSeq atomic.Int64

func uniqueName(prefix string) string {
	return fmt.Sprintf("%s-%d-%d", prefix, time.Now().UnixNano(), topicSeq.Add(1))
}

func newFake(t testing.TB, opts ...kfake.Opt) producerEnv {
	t.Helper()
	c, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(3)}, opts...)...)
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return producerEnv{addrs: c.ListenAddrs(), fake: c}
}

// newReal connects to the real Kafka of the test harness, or to one that runs at TIDEMARK_KAFKA.
func newReal(t testing.TB) producerEnv {
	t.Helper()
	if addr := os.Getenv("TIDEMARK_KAFKA"); addr != "" {
		return producerEnv{addrs: []string{addr}}
	}
	if os.Getenv("TIDEMARK_INTEGRATION") != "real" {
		t.Skip("SKIPPED: real Kafka: set TIDEMARK_INTEGRATION=real; green on kfake alone proves little")
	}
	return producerEnv{addrs: broker.Start(t).Bootstrap()}
}

// onBoth runs a test on the fake and on the real broker.
func onBoth(t *testing.T, test func(t *testing.T, env producerEnv)) {
	t.Helper()
	t.Run("kfake", func(t *testing.T) { test(t, newFake(t)) })
	t.Run("kafka", func(t *testing.T) { test(t, newReal(t)) })
}

// testPatience bounds every wait for what must come.
const testPatience = time.Minute

func testContext(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), testPatience)
	t.Cleanup(cancel)
	return ctx
}

func (e producerEnv) client(t testing.TB) *Client {
	t.Helper()
	c, err := NewClient(e.addrs, nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	return c
}

func (e producerEnv) topic(t testing.TB, partitions int32, config map[string]string) string {
	t.Helper()
	name := uniqueName("t")
	admin := NewAdmin(e.client(t), AdminConfig{})
	require.NoError(t, admin.CreateTopic(testContext(t), name, partitions, -1, config))
	return name
}

func (e producerEnv) producer(t testing.TB, cfg ProducerConfig) *Producer {
	t.Helper()
	p, err := NewProducer(e.client(t), cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.Close()) })
	return p
}

// transactional returns an initialised producer for a new transactional id and group.
func (e producerEnv) transactional(t testing.TB, change ...func(*ProducerConfig)) *Producer {
	t.Helper()
	cfg := ProducerConfig{TransactionalID: uniqueName("tx"), GroupID: uniqueName("g")}
	for _, f := range change {
		f(&cfg)
	}
	p := e.producer(t, cfg)
	require.NoError(t, p.Init(testContext(t)))
	return p
}

// batch makes a batch of records whose keys and values are texts.
func batch(tp record.TopicPartition, texts ...string) *record.Batch {
	b := &record.Batch{TopicPartition: tp}
	for i, s := range texts {
		b.Append([]byte("k"+s), []byte(s), 1_700_000_000_000+int64(i), []record.Header{{Key: "h", Value: []byte(s)}})
	}
	return b
}

func part(topic string, partition int32) record.TopicPartition {
	return record.TopicPartition{Topic: topic, Partition: partition}
}

// committed reads n committed records of a partition from its start.
func (e producerEnv) committed(t testing.TB, tp record.TopicPartition, n int) []string {
	t.Helper()
	conf := sarama.NewConfig()
	conf.Version = kafkaVersion
	conf.Consumer.IsolationLevel = sarama.ReadCommitted
	conf.Consumer.MaxWaitTime = 100 * time.Millisecond
	consumer, err := sarama.NewConsumer(e.addrs, conf)
	require.NoError(t, err)
	defer func() { require.NoError(t, consumer.Close()) }()
	pc, err := consumer.ConsumePartition(tp.Topic, tp.Partition, sarama.OffsetOldest)
	require.NoError(t, err)
	defer func() { require.NoError(t, pc.Close()) }()
	var got []string
	deadline := time.After(testPatience)
	for len(got) < n {
		select {
		case m := <-pc.Messages():
			require.Equal(t, "k"+string(m.Value), string(m.Key))
			require.Equal(t, string(m.Value), string(m.Headers[0].Value))
			got = append(got, string(m.Value))
		case <-deadline:
			require.FailNow(t, "records are missing", "want %d, got %q", n, got)
		}
	}
	return got
}

// transact runs one transaction with one batch and commits it.
func transact(t testing.TB, p *Producer, b *record.Batch) []int64 {
	t.Helper()
	ctx := testContext(t)
	require.NoError(t, p.Begin(ctx, []record.TopicPartition{b.TopicPartition}, false))
	offsets, err := p.Send(ctx, []*record.Batch{b})
	require.NoError(t, err)
	require.NoError(t, p.Commit(ctx))
	return offsets
}

func TestCommittedIsVisibleAbortedIsNot(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, env producerEnv) {
		ctx := testContext(t)
		tp := part(env.topic(t, 2, nil), 1)
		p := env.transactional(t)
		require.Equal(t, []int64{2}, transact(t, p, batch(tp, "a", "b")))

		require.NoError(t, p.Begin(ctx, []record.TopicPartition{tp}, false))
		_, err := p.Send(ctx, []*record.Batch{batch(tp, "dropped")})
		require.NoError(t, err)
		require.NoError(t, p.Abort(ctx))

		offsets := transact(t, p, batch(tp, "c"))
		require.Equal(t, []int64{2 + 1 + 1 + 1 + 1}, offsets, "a b, commit marker, dropped, abort marker, then c")
		require.Equal(t, []string{"a", "b", "c"}, env.committed(t, tp, 3))
	})
}

func TestManyPartitionsAndBatchesKeepTheirOrder(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, env producerEnv) {
		ctx := testContext(t)
		topic := env.topic(t, 3, nil)
		p := env.transactional(t, func(c *ProducerConfig) {
			c.MaxRequestBytes, c.Compression = 4<<10, sarama.CompressionSnappy // many small batches
		})
		var batches []*record.Batch
		want := make(map[int32][]string)
		for round := range 4 {
			for partition := range int32(3) {
				var texts []string
				for i := range 200 {
					texts = append(texts, fmt.Sprintf("%d.%d.%d", partition, round, i))
				}
				want[partition] = append(want[partition], texts...)
				batches = append(batches, batch(part(topic, partition), texts...))
			}
		}
		batches = append(batches, batch(part(topic, 0)))
		require.NoError(t, p.Begin(ctx, nil, false)) // Send adds the partitions
		offsets, err := p.Send(ctx, batches)
		require.NoError(t, err)
		require.Equal(t, []int64{200, 200, 200, 400, 400, 400, 600, 600, 600, 800, 800, 800, -1}, offsets)
		require.NoError(t, p.Commit(ctx))
		for partition, texts := range want {
			require.Equal(t, texts, env.committed(t, part(topic, partition), len(texts)))
		}
	})
}

func TestEmptyTransaction(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, env producerEnv) {
		ctx := testContext(t)
		p := env.transactional(t)
		require.NoError(t, p.Begin(ctx, nil, false))
		require.NoError(t, p.Commit(ctx))
		require.NoError(t, p.Begin(ctx, nil, false))
		require.NoError(t, p.Abort(ctx))
		require.NoError(t, p.Abort(ctx), "nothing is open")
		require.Error(t, p.Commit(ctx), "nothing is open")
	})
}

func TestZombieIsFenced(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, env producerEnv) {
		ctx := testContext(t)
		tp := part(env.topic(t, 1, nil), 0)
		old := env.transactional(t)
		require.NoError(t, old.Begin(ctx, []record.TopicPartition{tp}, false))
		_, err := old.Send(ctx, []*record.Batch{batch(tp, "zombie")})
		require.NoError(t, err)

		young := env.producer(t, ProducerConfig{TransactionalID: old.TransactionalID(), GroupID: old.cfg.GroupID})
		require.NoError(t, young.Init(ctx))
		_, err = old.Send(ctx, []*record.Batch{batch(tp, "zombie again")})
		if env.fake == nil { // kfake sees first that no transaction is open
			require.Equal(t, eos.ClassFenced, eos.Classify(err), "%v", err)
		}
		require.Error(t, err)
		require.Equal(t, stateLost, old.state())
		transact(t, young, batch(tp, "new"))
		require.Equal(t, []string{"new"}, env.committed(t, tp, 1))

		// A zombie that missed all of it learns it from the commit.
		require.NoError(t, old.Init(ctx))
		require.NoError(t, old.Begin(ctx, []record.TopicPartition{tp}, false))
		_, err = old.Send(ctx, []*record.Batch{batch(tp, "late")})
		require.NoError(t, err)
		require.NoError(t, young.Init(ctx))
		err = old.Commit(ctx)
		require.Equal(t, eos.ClassFenced, eos.Classify(err), "%v", err)
	})
}

func TestOffsetsCommitWithTheTransaction(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, env producerEnv) {
		ctx := testContext(t)
		tp := part(env.topic(t, 1, nil), 0)
		p := env.transactional(t)
		admin := NewAdmin(env.client(t), AdminConfig{})
		group := p.cfg.GroupID
		member := eos.Member{GroupID: group, Generation: -1} // nobody has joined: a plain group of offsets
		tps := []record.TopicPartition{tp}

		got, err := admin.CommittedOffsets(ctx, group, tps)
		require.NoError(t, err)
		require.Empty(t, got, "no offset is not offset 0")

		require.NoError(t, p.Begin(ctx, tps, true))
		_, err = p.Send(ctx, []*record.Batch{batch(tp, "a")})
		require.NoError(t, err)
		offset := eos.Offset{Offset: 7, Metadata: "meta"}
		require.NoError(t, p.SendOffsets(ctx, member, map[record.TopicPartition]eos.Offset{tp: offset}))
		_, err = admin.CommittedOffsets(ctx, group, tps)
		if env.fake == nil { // kfake does not know a group before its first commit
			require.ErrorIs(t, err, worker.ErrUnstableOffsets)
		}
		require.NoError(t, p.Commit(ctx))
		got, err = stableOffsets(ctx, admin, group, tps)
		require.NoError(t, err)
		require.Equal(t, map[record.TopicPartition]eos.Offset{tp: offset}, got)

		require.NoError(t, p.Begin(ctx, tps, true))
		require.NoError(t, p.SendOffsets(ctx, member, map[record.TopicPartition]eos.Offset{tp: {Offset: 9}}))
		_, err = admin.CommittedOffsets(ctx, group, tps)
		require.ErrorIs(t, err, worker.ErrUnstableOffsets)
		got, err = admin.PossiblyUnstableOffsets(ctx, group, tps)
		require.NoError(t, err)
		require.Equal(t, map[record.TopicPartition]eos.Offset{tp: offset}, got)
		require.NoError(t, p.Abort(ctx))
		got, err = stableOffsets(ctx, admin, group, tps)
		require.NoError(t, err)
		require.Equal(t, map[record.TopicPartition]eos.Offset{tp: offset}, got)

		require.NoError(t, p.Begin(ctx, tps, true))
		stale := eos.Member{GroupID: group, MemberID: "gone", Generation: 3}
		err = p.SendOffsets(ctx, stale, map[record.TopicPartition]eos.Offset{tp: {Offset: 11}})
		require.Equal(t, eos.ClassGeneration, eos.Classify(err), "%v", err)
		require.Equal(t, stateOpen, p.state(), "the transaction is intact")
		require.NoError(t, p.SendOffsets(ctx, member, map[record.TopicPartition]eos.Offset{tp: {Offset: 10}}))
		require.NoError(t, p.Commit(ctx))
		got, err = stableOffsets(ctx, admin, group, tps)
		require.NoError(t, err)
		require.Equal(t, int64(10), got[tp].Offset)
	})
}

// stableOffsets waits out markers that the broker still writes after EndTxn was answered.
func stableOffsets(ctx context.Context, a *Admin, group string, tps []record.TopicPartition) (
	got map[record.TopicPartition]eos.Offset, err error,
) {
	b := backoff{first: time.Millisecond, max: 20 * time.Millisecond}
	for {
		if got, err = a.CommittedOffsets(ctx, group, tps); err == nil || ctx.Err() != nil {
			return got, err
		}
		_ = b.wait(ctx)
	}
}

func TestAtLeastOnce(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, env producerEnv) {
		ctx := testContext(t)
		tp := part(env.topic(t, 1, nil), 0)
		group := uniqueName("g")
		p := env.producer(t, ProducerConfig{GroupID: group})
		require.NoError(t, p.Init(ctx))
		require.Empty(t, p.TransactionalID())
		for i := range 3 {
			require.NoError(t, p.Begin(ctx, []record.TopicPartition{tp}, true))
			offsets, err := p.Send(ctx, []*record.Batch{batch(tp, strconv.Itoa(i))})
			require.NoError(t, err)
			require.Equal(t, []int64{int64(i + 1)}, offsets)
			member := eos.Member{GroupID: group, Generation: -1}
			require.NoError(t, p.SendOffsets(ctx, member, map[record.TopicPartition]eos.Offset{tp: {Offset: int64(i)}}))
			require.NoError(t, p.Commit(ctx))
		}
		require.NoError(t, p.Abort(ctx))
		require.Equal(t, []string{"0", "1", "2"}, env.committed(t, tp, 3))
		admin := NewAdmin(env.client(t), AdminConfig{})
		got, err := admin.CommittedOffsets(ctx, group, []record.TopicPartition{tp})
		require.NoError(t, err)
		require.Equal(t, int64(2), got[tp].Offset)
	})
}

func TestTooLargeForTheBroker(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, env producerEnv) {
		ctx := testContext(t)
		topic := env.topic(t, 2, map[string]string{"max.message.bytes": "2000"})
		p := env.transactional(t)
		var texts []string
		for i := range 500 {
			texts = append(texts, fmt.Sprintf("%03d", i))
		}
		transact(t, p, batch(part(topic, 0), texts...))
		require.Equal(t, texts, env.committed(t, part(topic, 0), len(texts)), "batches were split, nothing lost or moved")

		huge := batch(part(topic, 0), "x", "y", string(make([]byte, 3000)), "z")
		require.NoError(t, p.Begin(ctx, nil, false))
		_, err := p.Send(ctx, []*record.Batch{batch(part(topic, 1), "dropped"), huge})
		var tooLarge *eos.RecordTooLargeError
		require.ErrorAs(t, err, &tooLarge)
		require.Equal(t, 2, tooLarge.Index)
		require.Equal(t, part(topic, 0), tooLarge.TopicPartition)
		require.Greater(t, tooLarge.SizeBytes, 6000)
		require.Zero(t, tooLarge.LimitBytes)
		require.Equal(t, eos.ClassRecord, eos.Classify(err))
		require.Equal(t, stateDoomed, p.state())
		require.NoError(t, p.Abort(ctx))
		transact(t, p, batch(part(topic, 1), "kept"))
		require.Equal(t, []string{"kept"}, env.committed(t, part(topic, 1), 1))
	})
}

func TestTooLargeForTheProducer(t *testing.T) {
	t.Parallel()
	env := newFake(t)
	ctx := testContext(t)
	tp := part(env.topic(t, 1, nil), 0)
	p := env.transactional(t, func(c *ProducerConfig) { c.MaxRequestBytes = 2000 })
	require.NoError(t, p.Begin(ctx, nil, false))
	_, err := p.Send(ctx, []*record.Batch{batch(tp, "a", string(make([]byte, 3000)))})
	var tooLarge *eos.RecordTooLargeError
	require.ErrorAs(t, err, &tooLarge)
	require.Equal(t, 1, tooLarge.Index)
	require.Equal(t, 2000, tooLarge.LimitBytes)
	require.NoError(t, p.Abort(ctx))
	transact(t, p, batch(tp, "b"))
	require.Equal(t, []string{"b"}, env.committed(t, tp, 1))
}
