package kafka

import (
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemarkio/tidemark/processor/worker"
	"github.com/tidemarkio/tidemark/record"
)

// What is out is counted until it is given back, and belongs to nobody once the partition was moved or removed.
func TestFetcherCountsWhatIsOut(t *testing.T) {
	onBoth(t, func(t *testing.T, env producerEnv) {
		tp := record.TopicPartition{Topic: env.topic(t, 1, nil)}
		f := env.fetcher(t, FetcherConfig{})
		require.Zero(t, f.Buffered(tp))
		env.produce(t, tp, "one", "three")
		f.Add(tp, 0)
		bytes, got := 0, []*worker.Fetched(nil)
		for n := 0; n < 2; {
			b := next(t, f)
			got, n = append(got, b), n+len(b.Records)
			bytes += b.Bytes
		}
		size := 0
		for _, b := range got {
			for _, r := range b.Records {
				size += len(r.Key) + len(r.Value)
			}
		}
		require.Equal(t, size, bytes)
		require.Positive(t, bytes)
		require.Equal(t, bytes, f.Buffered(tp))
		for _, b := range got {
			f.Release(b)
		}
		require.Zero(t, f.Buffered(tp))
		f.Add(tp, 0)
		next(t, f)
		f.Remove(tp)
		require.Zero(t, f.Buffered(tp))
	})
}

func (e producerEnv) fetcher(t testing.TB, conf FetcherConfig) *Fetcher {
	t.Helper()
	f := NewFetcher(e.client(t), conf)
	t.Cleanup(func() { require.NoError(t, f.Close()) })
	return f
}

// produce sends plain records.
func (e producerEnv) produce(t testing.TB, tp record.TopicPartition, texts ...string) {
	t.Helper()
	p := e.producer(t, ProducerConfig{})
	require.NoError(t, p.Init(testContext(t)))
	_, err := p.Send(testContext(t), []*record.Batch{batch(tp, texts...)})
	require.NoError(t, err)
}

// transaction runs one transaction.
func transaction(t testing.TB, p *Producer, commit bool, batches ...*record.Batch) {
	t.Helper()
	ctx := testContext(t)
	tps := make([]record.TopicPartition, len(batches))
	for i := range batches {
		tps[i] = batches[i].TopicPartition
	}
	require.NoError(t, p.Begin(ctx, tps, false))
	_, err := p.Send(ctx, batches)
	require.NoError(t, err)
	if commit {
		require.NoError(t, p.Commit(ctx))
	} else {
		require.NoError(t, p.Abort(ctx))
	}
}

// next receives one batch.
func next(t testing.TB, f *Fetcher) *worker.Fetched {
	t.Helper()
	select {
	case b := <-f.Batches():
		return b
	case <-time.After(testPatience):
		require.FailNow(t, "no batch")
		return nil
	}
}

// drain reads a partition until its position is at least end.
func drain(t testing.TB, f *Fetcher, tp record.TopicPartition, end int64) (texts []string) {
	t.Helper()
	for {
		b := next(t, f)
		require.NoError(t, b.Err)
		require.Equal(t, tp, b.TopicPartition)
		texts = append(texts, values(b.Records)...)
		f.Release(b)
		if b.Next >= end {
			require.Equal(t, end, b.Next)
			return texts
		}
	}
}

func header(value string) []record.Header { return []record.Header{{Key: "h", Value: []byte(value)}} }

func values(records []record.Raw) []string {
	texts := make([]string, 0, len(records))
	for _, r := range records {
		texts = append(texts, string(r.Value))
	}
	return texts
}

func TestFetcherDelivers(t *testing.T) {
	onBoth(t, func(t *testing.T, env producerEnv) {
		tp := part(env.topic(t, 1, nil), 0)
		env.produce(t, tp, "a", "b", "c")
		f := env.fetcher(t, FetcherConfig{})
		f.Add(tp, 1)
		b := next(t, f)
		require.NoError(t, b.Err)
		require.Equal(t, []record.Raw{
			{Key: []byte("kb"), Value: []byte("b"), Offset: 1, Timestamp: 1_700_000_000_001, Headers: header("b")},
			{Key: []byte("kc"), Value: []byte("c"), Offset: 2, Timestamp: 1_700_000_000_002, Headers: header("c")},
		}, b.Records, "without the record below the offset asked for")
		require.Equal(t, int64(3), b.Next)
		require.Equal(t, int64(3), b.HighWatermark)
		require.False(t, f.Stale(b))

		env.produce(t, tp, "d") // while the fetcher is at the end
		require.Equal(t, []string{"d"}, drain(t, f, tp, 4))
	})
}

// A partition without records says so once after each Add: tasks with other inputs wait for it.
func TestFetcherTellsOfAnEmptyPartition(t *testing.T) {
	onBoth(t, func(t *testing.T, env producerEnv) {
		tp := part(env.topic(t, 1, nil), 0)
		f := env.fetcher(t, FetcherConfig{})
		told := func(end int64) {
			t.Helper()
			b := next(t, f)
			require.NoError(t, b.Err)
			require.Empty(t, b.Records)
			require.Equal(t, end, b.Next)
			require.Equal(t, end, b.HighWatermark)
			f.Release(b)
		}
		f.Add(tp, 0)
		told(0)
		env.produce(t, tp, "a")
		require.Equal(t, []string{"a"}, drain(t, f, tp, 1), "and is not told again")
		f.Add(tp, 1)
		told(1)
	})
}

// TestFetcherReadsCommitted interleaves two producers' transactions: a committed, an aborted one each, and plain
// records.
func TestFetcherReadsCommitted(t *testing.T) {
	onBoth(t, func(t *testing.T, env producerEnv) {
		tp := part(env.topic(t, 1, nil), 0)
		ctx := testContext(t)
		one, two := env.transactional(t), env.transactional(t)
		tps := []record.TopicPartition{tp}
		send := func(p *Producer, texts ...string) {
			_, err := p.Send(ctx, []*record.Batch{batch(tp, texts...)})
			require.NoError(t, err)
		}
		require.NoError(t, one.Begin(ctx, tps, false))
		send(one, "abort1")
		require.NoError(t, two.Begin(ctx, tps, false))
		send(two, "commit1", "commit2")
		send(one, "abort2")
		env.produce(t, tp, "plain1")
		require.NoError(t, one.Abort(ctx))
		require.NoError(t, one.Begin(ctx, tps, false)) // the same producer again, now it commits
		send(one, "commit3")
		require.NoError(t, two.Commit(ctx))
		require.NoError(t, one.Commit(ctx))
		transaction(t, two, false, batch(tp, "abort3"))

		// 7 records, 4 markers; the last is an aborted record and its marker.
		const end = 11
		want := []string{"commit1", "commit2", "plain1", "commit3"}
		f := env.fetcher(t, FetcherConfig{})
		f.Add(tp, 0)
		require.Equal(t, want, drain(t, f, tp, end))
		f.Add(tp, 3) // in the middle of the aborted transaction: abort2 must still be recognised
		require.Equal(t, want[2:], drain(t, f, tp, end))
		f.Add(tp, 9) // only the aborted record and its marker are left: progress without records
		require.Empty(t, drain(t, f, tp, end))

		var read []string
		require.NoError(t, NewReader(env.client(t)).Read(ctx, tp, 0, end, func(rs []record.Raw, _ int64) error {
			read = append(read, values(rs)...)
			return nil
		}))
		require.Equal(t, want, read)
	})
}

// TestFetcherHoldsBackOpenTransactions: nothing beyond the last stable offset comes out.
func TestFetcherHoldsBackOpenTransactions(t *testing.T) {
	onBoth(t, func(t *testing.T, env producerEnv) {
		tp := part(env.topic(t, 1, nil), 0)
		ctx := testContext(t)
		env.produce(t, tp, "before")
		p := env.transactional(t)
		require.NoError(t, p.Begin(ctx, []record.TopicPartition{tp}, false))
		_, err := p.Send(ctx, []*record.Batch{batch(tp, "open")})
		require.NoError(t, err)
		f := env.fetcher(t, FetcherConfig{})
		f.Add(tp, 0)
		b := next(t, f)
		require.Equal(t, []string{"before"}, values(b.Records))
		require.Equal(t, int64(1), b.HighWatermark, "the last stable offset")
		f.Release(b)
		require.NoError(t, p.Commit(ctx))
		require.Equal(t, []string{"open"}, drain(t, f, tp, 3))
	})
}

func TestFetcherCompressedAndLogAppendTime(t *testing.T) {
	onBoth(t, func(t *testing.T, env producerEnv) {
		topic := env.topic(t, 4, map[string]string{"message.timestamp.type": "LogAppendTime"})
		for i, codec := range []sarama.CompressionCodec{
			sarama.CompressionGZIP, sarama.CompressionSnappy, sarama.CompressionLZ4, sarama.CompressionZSTD,
		} {
			tp := part(topic, int32(i))
			conf := sarama.NewConfig()
			conf.Version = kafkaVersion
			conf.Producer.Compression, conf.Producer.Return.Successes = codec, true
			conf.Producer.Partitioner = sarama.NewManualPartitioner
			sp, err := sarama.NewSyncProducer(env.addrs, conf)
			require.NoError(t, err)
			before := time.Now().Add(-time.Minute).UnixMilli()
			_, _, err = sp.SendMessage(&sarama.ProducerMessage{
				Topic: topic, Partition: tp.Partition, Timestamp: time.UnixMilli(1000),
				Value: sarama.StringEncoder(strings.Repeat("x", 1000)),
			})
			require.NoError(t, err)
			require.NoError(t, sp.Close())
			f := env.fetcher(t, FetcherConfig{})
			f.Add(tp, 0)
			b := next(t, f)
			require.NoError(t, b.Err)
			require.Len(t, b.Records[0].Value, 1000)
			require.Nil(t, b.Records[0].Key)
			require.Nil(t, b.Records[0].Headers)
			if env.fake == nil { // kfake keeps the producer's time
				require.Greater(t, b.Records[0].Timestamp, before)
			}
		}
	})
}

// TestFetcherFlowControl: two batches out, no third until one comes back; the neighbour goes on.
func TestFetcherFlowControl(t *testing.T) {
	onBoth(t, func(t *testing.T, env producerEnv) {
		topic := env.topic(t, 2, nil)
		slow, fast := part(topic, 0), part(topic, 1)
		big := strings.Repeat("x", 4000)
		f := env.fetcher(t, FetcherConfig{PartitionBytesMax: 1 << 10}) // one batch of records a time
		const batches = 10
		for range batches {
			env.produce(t, slow, big)
			env.produce(t, fast, big)
		}
		f.Add(slow, 0)
		f.Add(fast, 0)
		var held []*worker.Fetched
		seen := int64(0)
		for seen < batches {
			b := next(t, f)
			if b.TopicPartition == slow {
				held = append(held, b)
				continue
			}
			seen = b.Next
			f.Release(b)
		}
		for len(held) < batchesMax { // the fast one may have been through before
			held = append(held, next(t, f))
		}
		require.Empty(t, f.Batches())
		require.Len(t, held, batchesMax)
		for end := held[1].Next; end < batches; {
			for _, b := range held {
				f.Release(b)
			}
			held = held[:0]
			b := next(t, f)
			require.Equal(t, slow, b.TopicPartition)
			end = b.Next
			held = append(held, b)
		}
	})
}

func TestFetcherStale(t *testing.T) {
	onBoth(t, func(t *testing.T, env producerEnv) {
		tp := part(env.topic(t, 1, nil), 0)
		env.produce(t, tp, "a", "b")
		f := env.fetcher(t, FetcherConfig{})
		f.Add(tp, 0)
		first := next(t, f)
		f.Add(tp, 1)
		require.True(t, f.Stale(first))
		f.Release(first) // must not count for the new generation
		second := next(t, f)
		require.False(t, f.Stale(second))
		require.Equal(t, []string{"b"}, values(second.Records))
		f.Remove(tp)
		require.True(t, f.Stale(second))
	})
}

func TestFetcherOutOfRange(t *testing.T) {
	onBoth(t, func(t *testing.T, env producerEnv) {
		tp := part(env.topic(t, 1, nil), 0)
		env.produce(t, tp, "a", "b", "c")
		admin := NewAdmin(env.client(t), AdminConfig{})
		require.NoError(t, admin.DeleteRecords(testContext(t), map[record.TopicPartition]int64{tp: 2}))
		f := env.fetcher(t, FetcherConfig{})
		for _, offset := range []int64{1, 4} {
			f.Add(tp, offset)
			b := next(t, f)
			require.ErrorIs(t, b.Err, worker.ErrOffsetOutOfRange)
			require.ErrorContains(t, b.Err, fmt.Sprintf("fetch %s at offset %d", tp, offset))
		}
		f.Add(tp, 2)
		require.Equal(t, []string{"c"}, drain(t, f, tp, 3))
	})
}

// TestFetcherLargeBatch: a batch far beyond the limit comes all the same.
func TestFetcherLargeBatch(t *testing.T) {
	onBoth(t, func(t *testing.T, env producerEnv) {
		topic := env.topic(t, 3, nil)
		big := strings.Repeat("x", 300_000)
		f := env.fetcher(t, FetcherConfig{PartitionBytesMax: 1 << 10, ResponseBytesMax: 1 << 10})
		for p := range int32(3) {
			env.produce(t, part(topic, p), big, big)
			f.Add(part(topic, p), 0)
		}
		for got := 0; got < 6; {
			b := next(t, f)
			require.NoError(t, b.Err)
			got += len(b.Records)
			f.Release(b)
		}
	})
}

func TestFetcherUnknownTopic(t *testing.T) {
	onBoth(t, func(t *testing.T, env producerEnv) {
		f := env.fetcher(t, FetcherConfig{UnknownTopicTimeout: 300 * time.Millisecond})
		known := part(env.topic(t, 1, nil), 0)
		f.Add(part(uniqueName("none"), 0), 0)
		f.Add(known, 0)
		env.produce(t, known, "a")
		b := next(t, f)
		require.Equal(t, known, b.TopicPartition, "the missing one must not hold back the other")
		b = next(t, f)
		require.ErrorIs(t, b.Err, sarama.ErrUnknownTopicOrPartition)
		require.ErrorContains(t, b.Err, "was the topic deleted")
	})
}

// TestFetcherWithoutLeader: a partition without leader does not hold back the others.
func TestFetcherWithoutLeader(t *testing.T) {
	env := newFake(t)
	orphan, other := part(env.topic(t, 1, nil), 0), part(env.topic(t, 1, nil), 0)
	env.produce(t, orphan, "late")
	fault := env.fake.Fault(kfake.Fault{
		Keys: []kmsg.Key{kmsg.Metadata}, Topic: orphan.Topic, Err: kerr.LeaderNotAvailable, Count: -1,
	})
	f := env.fetcher(t, FetcherConfig{})
	f.Add(orphan, 0)
	require.NoError(t, fault.Wait(testContext(t), 2))
	f.Add(other, 0)
	env.produce(t, other, "a")
	require.Equal(t, []string{"a"}, drain(t, f, other, 1))
	fault.Remove()
	require.Equal(t, []string{"late"}, drain(t, f, orphan, 1))
}

// TestFetcherDamagedBatch: the broker sends a batch whose checksum is wrong, in one response with a good one.
func TestFetcherDamagedBatch(t *testing.T) {
	env := newFake(t, kfake.NumBrokers(1))
	bad, good := part(env.topic(t, 1, nil), 0), part(env.topic(t, 1, nil), 0)
	env.produce(t, good, "a")
	garbage := make([]byte, 100)
	garbage[11], garbage[16] = 88, 2 // length and format; the checksum is zero
	env.fake.ControlKey(int16(kmsg.Fetch), func(req kmsg.Request) (kmsg.Response, error, bool) {
		env.fake.KeepControl()
		fetch, ok := req.(*kmsg.FetchRequest)
		require.True(t, ok)
		for _, topic := range fetch.Topics {
			if topic.Topic != bad.Topic {
				continue
			}
			res, ok := fetch.ResponseKind().(*kmsg.FetchResponse)
			require.True(t, ok)
			p := kmsg.NewFetchResponseTopicPartition()
			p.RecordBatches, p.LastStableOffset = garbage, 10
			rt := kmsg.NewFetchResponseTopic()
			rt.Topic, rt.Partitions = bad.Topic, append(rt.Partitions, p)
			res.Topics = append(res.Topics, rt)
			return res, nil, true
		}
		return nil, nil, false
	})
	f := env.fetcher(t, FetcherConfig{})
	f.Add(bad, 0)
	f.Add(good, 0)
	require.Equal(t, []string{"a"}, drain(t, f, good, 1))
	b := next(t, f)
	require.Equal(t, bad, b.TopicPartition)
	require.ErrorContains(t, b.Err, "the log is damaged there")
}

func TestFetcherFollowsTheLeader(t *testing.T) {
	env := newFake(t)
	tp := part(env.topic(t, 1, nil), 0)
	f := env.fetcher(t, FetcherConfig{})
	f.Add(tp, 0)
	for i := range 6 {
		env.produce(t, tp, strconv.Itoa(i))
		require.Equal(t, []string{strconv.Itoa(i)}, drain(t, f, tp, int64(i+1)))
		require.NoError(t, env.fake.MoveTopicPartition(tp.Topic, 0, int32(i%3)))
	}
}

// TestFetcherRetries puts each transient error in the way of a fetch.
func TestFetcherRetries(t *testing.T) {
	env := newFake(t)
	tp := part(env.topic(t, 1, nil), 0)
	f := env.fetcher(t, FetcherConfig{})
	f.Add(tp, 0)
	for i, err := range []*kerr.Error{
		kerr.NotLeaderForPartition, kerr.LeaderNotAvailable, kerr.UnknownTopicOrPartition, kerr.FencedLeaderEpoch,
		kerr.UnknownServerError, kerr.KafkaStorageError, kerr.OffsetNotAvailable,
	} {
		fault := env.fake.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Topic: tp.Topic, Err: err, Count: 2})
		require.NoError(t, fault.Wait(testContext(t), 2))
		env.produce(t, tp, err.Message)
		require.Equal(t, []string{err.Message}, drain(t, f, tp, int64(i+1)))
	}
}

func TestFetcherUnauthorized(t *testing.T) {
	env := newFake(t)
	tp := part(env.topic(t, 1, nil), 0)
	env.fake.Fault(kfake.Fault{
		Keys: []kmsg.Key{kmsg.Fetch}, Topic: tp.Topic, Err: kerr.TopicAuthorizationFailed, Count: -1,
	})
	f := env.fetcher(t, FetcherConfig{})
	f.Add(tp, 0)
	require.ErrorContains(t, next(t, f).Err, "grant this principal the ACL Read on topic")
}

// TestFetcherSurvivesBrokenConnections: the connection breaks, the others go on, and it comes back.
func TestFetcherSurvivesBrokenConnections(t *testing.T) {
	env := newFake(t)
	tp := part(env.topic(t, 1, nil), 0)
	f := env.fetcher(t, FetcherConfig{Logger: slog.New(slog.NewTextHandler(testWriter{t}, nil))})
	f.Add(tp, 0)
	env.produce(t, tp, "a")
	require.Equal(t, []string{"a"}, drain(t, f, tp, 1))
	broken := make(chan struct{}, 3)
	env.fake.ControlKey(int16(kmsg.Fetch), func(kmsg.Request) (kmsg.Response, error, bool) {
		env.fake.KeepControl()
		select {
		case broken <- struct{}{}:
			return nil, kerr.UnknownServerError, true // an error closes the connection
		default:
			return nil, nil, false
		}
	})
	for range cap(broken) {
		<-broken
	}
	env.produce(t, tp, "b")
	require.Equal(t, []string{"b"}, drain(t, f, tp, 2))
}

// TestFetcherCloses: while a broker is unreachable, and with undelivered batches.
func TestFetcherCloses(t *testing.T) {
	env := newFake(t)
	topic := env.topic(t, 100, nil)
	f := NewFetcher(env.client(t), FetcherConfig{})
	for p := range int32(100) {
		env.produce(t, part(topic, p), "a")
		f.Add(part(topic, p), 0)
	}
	first := next(t, f)
	require.NotNil(t, first)
	env.fake.Close()
	start := time.Now()
	require.NoError(t, f.Close())
	require.NoError(t, f.Close())
	require.Less(t, time.Since(start), 5*time.Second, "without a timeout")
}

// TestFetcherConsistent compares with what was written: many partitions moved about at random.
func TestFetcherConsistent(t *testing.T) {
	onBoth(t, func(t *testing.T, env producerEnv) {
		const partitions, rounds = 5, 20
		topic := env.topic(t, partitions, nil)
		want := make(map[int32][]string)
		p := env.transactional(t)
		for i := range rounds {
			for n := range int32(partitions) {
				commit := (i+int(n))%3 != 0
				text := fmt.Sprintf("%d/%d", n, i)
				transaction(t, p, commit, batch(part(topic, n), text))
				if commit {
					want[n] = append(want[n], text)
				}
			}
		}
		f := env.fetcher(t, FetcherConfig{PartitionBytesMax: 200})
		got := make(map[int32][]string)
		for n := range int32(partitions) {
			f.Add(part(topic, n), 0)
		}
		left := partitions
		for steps := 0; left > 0; steps++ {
			b := next(t, f)
			if f.Stale(b) {
				continue
			}
			require.NoError(t, b.Err)
			n := b.TopicPartition.Partition
			got[n] = append(got[n], values(b.Records)...)
			f.Release(b)
			if b.Next == 2*rounds {
				left--
			} else if steps%7 == 0 {
				f.Add(b.TopicPartition, b.Next) // drops what is on its way
			}
		}
		require.Equal(t, want, got)
	})
}
