package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemarkio/tidemark/eos"
	"github.com/tidemarkio/tidemark/record"
)

// lostMarkers makes the fake broker claim that a producer id has transactions open in some partitions, until a
// transaction over them ends, while its coordinator claims a state. It notes what the producer does about it.
type lostMarkers struct {
	mu    sync.Mutex
	fake  *kfake.Cluster
	id    int64
	open  map[record.TopicPartition]bool
	state string // of DescribeTransactions; "" is the fake's own
	added map[record.TopicPartition]bool
	log   []string
	// cut is how many EndTxn requests get no answer but a closed connection.
	cut int
}

func loseMarkers(env producerEnv, id int64, state string, tps ...record.TopicPartition) *lostMarkers {
	l := &lostMarkers{
		fake: env.fake, id: id, state: state, open: make(map[record.TopicPartition]bool),
		added: make(map[record.TopicPartition]bool),
	}
	for _, tp := range tps {
		l.open[tp] = true
	}
	for key, f := range map[kmsg.Key]func(kmsg.Request) (kmsg.Response, bool, error){
		kmsg.DescribeProducers: l.describeProducers, kmsg.DescribeTransactions: l.describeTransactions,
		kmsg.AddPartitionsToTxn: l.addPartitions, kmsg.AddOffsetsToTxn: l.addOffsets, kmsg.EndTxn: l.endTxn,
	} {
		env.fake.ControlKey(int16(key), func(req kmsg.Request) (kmsg.Response, error, bool) {
			env.fake.KeepControl()
			l.mu.Lock()
			defer l.mu.Unlock()
			res, handled, err := f(req)
			return res, err, handled
		})
	}
	return l
}

func (l *lostMarkers) describeProducers(r kmsg.Request) (kmsg.Response, bool, error) {
	req, ok := r.(*kmsg.DescribeProducersRequest)
	if !ok {
		return nil, false, nil
	}
	res := kmsg.NewPtrDescribeProducersResponse()
	res.Version = req.Version
	for _, t := range req.Topics {
		rt := kmsg.NewDescribeProducersResponseTopic()
		rt.Topic = t.Topic
		for _, p := range t.Partitions {
			rp := kmsg.NewDescribeProducersResponseTopicPartition()
			rp.Partition = p
			if l.open[part(t.Topic, p)] {
				active := kmsg.NewDescribeProducersResponseTopicPartitionActiveProducer()
				active.ProducerID, active.CurrentTxnStartOffset = l.id, 3
				other := active
				other.ProducerID++ // somebody else's open transaction is none of our business
				rp.ActiveProducers = append(rp.ActiveProducers, other, active)
			}
			rt.Partitions = append(rt.Partitions, rp)
		}
		res.Topics = append(res.Topics, rt)
	}
	return res, true, nil
}

func (l *lostMarkers) describeTransactions(r kmsg.Request) (kmsg.Response, bool, error) {
	req, ok := r.(*kmsg.DescribeTransactionsRequest)
	if !ok || l.state == "" {
		return nil, false, nil
	}
	res := kmsg.NewPtrDescribeTransactionsResponse()
	res.Version = req.Version
	for _, id := range req.TransactionalIDs {
		s := kmsg.NewDescribeTransactionsResponseTransactionState()
		s.TransactionalID, s.State, s.ProducerID = id, l.state, l.id
		res.TransactionStates = append(res.TransactionStates, s)
	}
	return res, true, nil
}

func (l *lostMarkers) addPartitions(r kmsg.Request) (kmsg.Response, bool, error) {
	if req, ok := r.(*kmsg.AddPartitionsToTxnRequest); ok {
		for _, t := range req.Topics {
			for _, p := range t.Partitions {
				l.added[part(t.Topic, p)] = true
				l.log = append(l.log, "add "+part(t.Topic, p).String())
			}
		}
	}
	return nil, false, nil
}

func (l *lostMarkers) addOffsets(kmsg.Request) (kmsg.Response, bool, error) {
	l.log = append(l.log, "add offsets")
	for tp := range l.open {
		if tp.Topic == offsetsTopic {
			l.added[tp] = true
		}
	}
	return nil, false, nil
}

func (l *lostMarkers) endTxn(r kmsg.Request) (kmsg.Response, bool, error) {
	req, ok := r.(*kmsg.EndTxnRequest)
	if !ok {
		return nil, false, nil
	}
	if l.cut > 0 {
		l.cut--
		l.log = append(l.log, "cut")
		return nil, true, errors.New("the connection is cut")
	}
	l.log = append(l.log, fmt.Sprintf("end commit=%t", req.Commit))
	for tp := range l.added {
		delete(l.open, tp)
	}
	clear(l.added)
	return nil, false, nil
}

func (l *lostMarkers) done() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	log := slices.Clone(l.log)
	if len(log) > 1 {
		slices.Sort(log[:len(log)-1]) // partitions are added in any order
	}
	return log
}

func TestLostMarkersAreWrittenAgain(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		state   string
		offsets bool
		want    string // the end; "": none
	}{
		{"CompleteCommit", false, "end commit=true"},
		{"PrepareCommit", false, "end commit=true"},
		{"CompleteAbort", false, "end commit=false"},
		{"CompleteCommit", true, "end commit=true"},
		{"CompleteAbort", true, "end commit=false"},
		{"Empty", false, ""},
		{"Dead", true, ""},
	} {
		t.Run(fmt.Sprintf("%s/offsets=%t", c.state, c.offsets), func(t *testing.T) {
			t.Parallel()
			env := newFake(t, kfake.SeedTopics(4, offsetsTopic))
			topic := env.topic(t, 2, nil)
			lost, whole := part(topic, 0), part(topic, 1)
			p := env.transactional(t, func(cfg *ProducerConfig) {
				cfg.GroupID = "hello"
				cfg.Suspects = func() []record.TopicPartition {
					return []record.TopicPartition{lost, whole, part("never created", 0)}
				}
			})
			open := []record.TopicPartition{lost}
			want := []string{"add " + lost.String(), c.want}
			if c.offsets {
				// 99162322 & 0x7fffffff modulo 4 partitions.
				open = append(open, part(offsetsTopic, 2))
				want = []string{"add offsets", "add " + lost.String(), c.want}
				slices.Sort(want[:2])
			}
			l := loseMarkers(env, p.id, c.state, open...)
			err := p.Init(testContext(t))
			if c.want == "" {
				require.ErrorIs(t, err, eos.ErrFatal)
				require.ErrorContains(t, err, "kafka-transactions")
				require.ErrorContains(t, err, lost.String())
				require.Empty(t, l.done(), "nothing is guessed")
				return
			}
			require.NoError(t, err)
			require.Equal(t, want, l.done())
			require.Equal(t, stateReady, p.state())
			require.Equal(t, []int64{1}, transact(t, p, batch(whole, "after"))[:1])
			require.Equal(t, []string{"after"}, env.committed(t, whole, 1))
		})
	}
}

func TestNothingIsMendedWithoutLostMarkers(t *testing.T) {
	t.Parallel()
	env := newFake(t)
	topic := env.topic(t, 1, nil)
	p := env.transactional(t, func(cfg *ProducerConfig) {
		cfg.Suspects = func() []record.TopicPartition { return []record.TopicPartition{part(topic, 0)} }
	})
	l := loseMarkers(env, p.id, "CompleteCommit")
	require.NoError(t, p.Init(testContext(t)))
	require.Empty(t, l.done())
}

// The connection is lost in the middle of mending. The coordinator then knows of the mending transaction only, which it
// would abort: the next Init must end it as the lost one ended.
func TestMendingIsInterrupted(t *testing.T) {
	t.Parallel()
	for state, want := range map[string]string{"CompleteCommit": "end commit=true", "CompleteAbort": "end commit=false"} {
		t.Run(state, func(t *testing.T) {
			t.Parallel()
			env := newFake(t)
			lost := part(env.topic(t, 1, nil), 0)
			p := env.transactional(t, func(cfg *ProducerConfig) {
				cfg.Suspects = func() []record.TopicPartition { return []record.TopicPartition{lost} }
			})
			l := loseMarkers(env, p.id, state, lost)
			l.cut = 1
			ctx, cancel := context.WithTimeout(testContext(t), 15*time.Second)
			defer cancel()
			err := p.Init(ctx)
			require.Error(t, err)
			require.Equal(t, eos.ClassAborted, eos.Classify(err), "%v", err)
			l.mu.Lock()
			l.state = "Ongoing"
			l.mu.Unlock()
			require.NoError(t, p.Init(ctx))
			done := l.done()
			require.Equal(t, want, done[len(done)-1])
			require.NotContains(t, done[:len(done)-1], want)
			require.Equal(t, stateReady, p.state())
		})
	}
}

func TestFateOf(t *testing.T) {
	t.Parallel()
	for state, want := range map[string]fate{
		"Ongoing": fateAborted, "PrepareAbort": fateAborted, "CompleteAbort": fateAborted, "PrepareEpochFence": fateAborted,
		"PrepareCommit": fateCommitted, "CompleteCommit": fateCommitted, "Empty": fateUnknown, "Dead": fateUnknown,
		"": fateUnknown,
	} {
		require.Equal(t, want, fateOf(state), state)
	}
	require.Equal(t, "unknown aborted committed", fmt.Sprint(fateUnknown, " ", fateAborted, " ", fateCommitted))
}

func TestJavaHash(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]int32{
		"": 0, "a": 97, "ab": 97*31 + 98, "hello": 99162322, "word-count": 376847500, "polygenelubricants": -2147483648,
	} {
		require.Equal(t, want, javaHash(s), s)
	}
}
