package kafka

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemarkio/tidemark/eos"
	"github.com/tidemarkio/tidemark/record"
)

// lostMarkers plays the coordinator of one transactional id, before the fake broker: it claims that the producer id has
// transactions open in some partitions until a transaction over them ends, and notes what producers do about it.
type lostMarkers struct {
	mu      sync.Mutex
	fake    *kfake.Cluster
	id      int64
	epoch   int16
	open    map[record.TopicPartition]bool
	state   string // of DescribeTransactions
	timeout int32
	added   map[record.TopicPartition]bool
	log     []string
	// cut ends the connection instead of answering a request, with the effect of that request (late) or without.
	cut map[kmsg.Key]cutting
	// onCut is called when it did, onLook before a look-up of open transactions is answered.
	onCut, onLook func()
	// stale is how many look-ups of open transactions find no leader.
	stale int
}

type cutting int

const (
	cutEarly cutting = iota + 1
	cutLate
)

func loseMarkers(env producerEnv, p *Producer, state string, tps ...record.TopicPartition) *lostMarkers {
	l := &lostMarkers{
		fake: env.fake, id: p.id, epoch: p.epoch, state: state, timeout: int32(p.cfg.TransactionTimeout.Milliseconds()),
		open: make(map[record.TopicPartition]bool), added: make(map[record.TopicPartition]bool),
		cut: make(map[kmsg.Key]cutting), onCut: func() {}, onLook: func() {},
	}
	for _, tp := range tps {
		l.open[tp] = true
	}
	for key, f := range map[kmsg.Key]func(kmsg.Request) (kmsg.Response, bool, error){
		kmsg.DescribeProducers: l.describeProducers, kmsg.DescribeTransactions: l.describeTransactions,
		kmsg.AddPartitionsToTxn: l.addPartitions, kmsg.AddOffsetsToTxn: l.addOffsets, kmsg.EndTxn: l.endTxn,
		kmsg.InitProducerID: l.initProducerID,
	} {
		env.fake.ControlKey(int16(key), func(req kmsg.Request) (kmsg.Response, error, bool) {
			env.fake.KeepControl()
			l.mu.Lock()
			defer l.mu.Unlock()
			how := l.cut[key]
			if how == cutEarly {
				return nil, l.cutNow(key), true
			}
			res, handled, err := f(req)
			if how == cutLate {
				return nil, l.cutNow(key), true
			}
			return res, err, handled
		})
	}
	return l
}

func (l *lostMarkers) cutNow(key kmsg.Key) error {
	delete(l.cut, key)
	l.onCut()
	return errors.New("the connection is cut")
}

// initProducerID decides what is undecided first, as Kafka does; the mark in the timeout goes with the state.
func (l *lostMarkers) initProducerID(r kmsg.Request) (kmsg.Response, bool, error) {
	req, ok := r.(*kmsg.InitProducerIDRequest)
	if !ok {
		return nil, false, nil
	}
	switch l.state {
	case "Ongoing", "PrepareAbort":
		l.end(false)
	case "PrepareCommit":
		l.end(true)
	default:
		l.state, l.timeout = "Empty", req.TransactionTimeoutMillis
		l.epoch++
		res := kmsg.NewPtrInitProducerIDResponse()
		res.Version, res.ProducerID, res.ProducerEpoch = req.Version, l.id, l.epoch
		return res, true, nil
	}
	res := kmsg.NewPtrInitProducerIDResponse()
	res.Version, res.ErrorCode = req.Version, kerr.ConcurrentTransactions.Code
	return res, true, nil
}

// end writes markers to what was added.
func (l *lostMarkers) end(commit bool) {
	l.log = append(l.log, fmt.Sprintf("end commit=%t", commit))
	l.state = map[bool]string{true: "CompleteCommit", false: "CompleteAbort"}[commit]
	for tp := range l.added {
		delete(l.open, tp)
	}
	clear(l.added)
}

func (l *lostMarkers) describeProducers(r kmsg.Request) (kmsg.Response, bool, error) {
	req, ok := r.(*kmsg.DescribeProducersRequest)
	if !ok {
		return nil, false, nil
	}
	l.onLook()
	res := kmsg.NewPtrDescribeProducersResponse()
	res.Version = req.Version
	for _, t := range req.Topics {
		rt := kmsg.NewDescribeProducersResponseTopic()
		rt.Topic = t.Topic
		for _, p := range t.Partitions {
			rp := kmsg.NewDescribeProducersResponseTopicPartition()
			rp.Partition = p
			if l.stale > 0 {
				l.stale--
				rp.ErrorCode = kerr.NotLeaderForPartition.Code
			} else if l.open[part(t.Topic, p)] {
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
	if !ok {
		return nil, false, nil
	}
	res := kmsg.NewPtrDescribeTransactionsResponse()
	res.Version = req.Version
	for _, id := range req.TransactionalIDs {
		s := kmsg.NewDescribeTransactionsResponseTransactionState()
		s.TransactionalID, s.State, s.ProducerID = id, l.state, l.id
		s.ProducerEpoch, s.TimeoutMillis = l.epoch, l.timeout
		res.TransactionStates = append(res.TransactionStates, s)
	}
	return res, true, nil
}

func (l *lostMarkers) addPartitions(r kmsg.Request) (kmsg.Response, bool, error) {
	req, ok := r.(*kmsg.AddPartitionsToTxnRequest)
	if !ok {
		return nil, false, nil
	}
	l.state = "Ongoing"
	res := kmsg.NewPtrAddPartitionsToTxnResponse()
	res.Version = req.Version
	for _, t := range req.Topics {
		rt := kmsg.NewAddPartitionsToTxnResponseTopic()
		rt.Topic = t.Topic
		for _, p := range t.Partitions {
			l.added[part(t.Topic, p)] = true
			l.log = append(l.log, "add "+part(t.Topic, p).String())
			rp := kmsg.NewAddPartitionsToTxnResponseTopicPartition()
			rp.Partition = p
			rt.Partitions = append(rt.Partitions, rp)
		}
		res.Topics = append(res.Topics, rt)
	}
	return res, true, nil
}

func (l *lostMarkers) addOffsets(r kmsg.Request) (kmsg.Response, bool, error) {
	l.log = append(l.log, "add offsets")
	l.state = "Ongoing"
	for tp := range l.open {
		if tp.Topic == offsetsTopic {
			l.added[tp] = true
		}
	}
	res := kmsg.NewPtrAddOffsetsToTxnResponse()
	res.Version = r.GetVersion()
	return res, true, nil
}

func (l *lostMarkers) endTxn(r kmsg.Request) (kmsg.Response, bool, error) {
	req, ok := r.(*kmsg.EndTxnRequest)
	if !ok {
		return nil, false, nil
	}
	res := kmsg.NewPtrEndTxnResponse()
	res.Version = req.Version
	if l.state != "Ongoing" || req.ProducerEpoch != l.epoch {
		res.ErrorCode = kerr.InvalidTxnState.Code
		return res, true, nil
	}
	l.end(req.Commit)
	return res, true, nil
}

// did returns what was done, the order of additions aside, and what is still open.
func (l *lostMarkers) did() (log []string, open int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	log = slices.Clone(l.log)
	if len(log) > 1 {
		slices.Sort(log[:len(log)-1])
	}
	return log, len(l.open)
}

// unmarked tells whether the coordinator remembers no fate any more.
func (l *lostMarkers) unmarked() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return markOf(time.Duration(l.timeout)*time.Millisecond) == fateUnknown
}

func TestLostMarkersAreWrittenAgain(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		state   string
		offsets bool
		want    []string // the ends
	}{
		{"CompleteCommit", false, []string{"end commit=true"}},
		{"CompleteAbort", false, []string{"end commit=false"}},
		{"CompleteCommit", true, []string{"end commit=true"}},
		{"CompleteAbort", true, []string{"end commit=false"}},
		// Init ends what is prepared or open, and its markers are lost.
		{"PrepareCommit", false, []string{"end commit=true", "end commit=true"}},
		{"Ongoing", false, []string{"end commit=false", "end commit=false"}},
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
			want := append([]string{"add " + lost.String()}, c.want...)
			if c.offsets {
				// 99162322 & 0x7fffffff modulo 4 partitions.
				open = append(open, part(offsetsTopic, 2))
				want = append([]string{"add offsets"}, want...)
			}
			l := loseMarkers(env, p, c.state, open...)
			l.stale = 2
			require.NoError(t, p.Init(testContext(t)))
			did, left := l.did()
			require.Equal(t, want, did)
			require.Zero(t, left)
			require.True(t, l.unmarked())
			require.Equal(t, stateReady, p.state())
		})
	}
}

// Whoever comes after a coordinator that has forgotten the end must not guess.
func TestForgottenEndIsNotGuessed(t *testing.T) {
	t.Parallel()
	for _, state := range []string{"Empty", "Dead"} {
		t.Run(state, func(t *testing.T) {
			t.Parallel()
			env := newFake(t)
			lost := part(env.topic(t, 1, nil), 0)
			p := env.transactional(t, func(cfg *ProducerConfig) {
				cfg.Suspects = func() []record.TopicPartition { return []record.TopicPartition{lost} }
			})
			l := loseMarkers(env, p, state, lost)
			err := p.Init(testContext(t))
			require.ErrorIs(t, err, eos.ErrFatal)
			require.ErrorContains(t, err, "kafka-transactions")
			require.ErrorContains(t, err, lost.String())
			did, _ := l.did()
			require.Empty(t, did)
		})
	}
}

// What looks like a lost marker is none if the id was used meanwhile: by its owner, who was taken for dead and is not.
func TestTransactionThatBeginsMeanwhileHasLostNothing(t *testing.T) {
	t.Parallel()
	for _, state := range []string{"Empty", "CompleteCommit", "CompleteAbort"} {
		t.Run(state, func(t *testing.T) {
			t.Parallel()
			env := newFake(t)
			written := part(env.topic(t, 1, nil), 0)
			p := env.transactional(t, func(cfg *ProducerConfig) {
				cfg.Suspects = func() []record.TopicPartition { return []record.TopicPartition{written} }
			})
			l := loseMarkers(env, p, state)
			begun := false
			l.onLook = func() {
				if !begun {
					begun, l.state, l.open[written], l.added[written] = true, "Ongoing", true, true
				}
			}
			require.NoError(t, p.Init(testContext(t)))
			did, left := l.did()
			require.Equal(t, []string{"end commit=false"}, did)
			require.Zero(t, left)
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
	l := loseMarkers(env, p, "CompleteCommit")
	require.NoError(t, p.Init(testContext(t)))
	did, _ := l.did()
	require.Empty(t, did)
	require.True(t, l.unmarked())
}

// The producer that mends dies at any step, before or after the request took effect; another process goes on. The
// records must end as their transaction did.
func TestMendingIsInterrupted(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		key kmsg.Key
		how cutting
	}{
		{kmsg.InitProducerID, cutEarly},
		{kmsg.InitProducerID, cutLate},
		{kmsg.AddPartitionsToTxn, cutEarly},
		{kmsg.AddPartitionsToTxn, cutLate},
		{kmsg.EndTxn, cutEarly},
		{kmsg.EndTxn, cutLate},
	} {
		for state, end := range map[string]string{"CompleteCommit": "end commit=true", "CompleteAbort": "end commit=false"} {
			t.Run(fmt.Sprintf("%s/%s/late=%t", state, c.key.Name(), c.how == cutLate), func(t *testing.T) {
				t.Parallel()
				env := newFake(t)
				lost := part(env.topic(t, 1, nil), 0)
				suspects := func(cfg *ProducerConfig) {
					cfg.Suspects = func() []record.TopicPartition { return []record.TopicPartition{lost} }
				}
				first := env.transactional(t, suspects)
				second := env.producer(t, first.cfg)
				l := loseMarkers(env, first, state, lost)
				dying, kill := context.WithCancel(testContext(t))
				l.cut[c.key], l.onCut = c.how, kill
				require.Error(t, first.Init(dying))
				require.NoError(t, second.Init(testContext(t)))
				did, left := l.did()
				require.Zero(t, left)
				require.True(t, l.unmarked())
				for _, what := range did {
					require.Contains(t, []string{"add " + lost.String(), end}, what)
				}
			})
		}
	}
}

// The same without a death: the producer goes on by itself.
func TestMendingOutlivesLostConnections(t *testing.T) {
	t.Parallel()
	env := newFake(t)
	lost := part(env.topic(t, 1, nil), 0)
	p := env.transactional(t, func(cfg *ProducerConfig) {
		cfg.Suspects = func() []record.TopicPartition { return []record.TopicPartition{lost} }
	})
	l := loseMarkers(env, p, "CompleteCommit", lost)
	l.cut[kmsg.AddPartitionsToTxn], l.cut[kmsg.EndTxn] = cutLate, cutEarly
	require.NoError(t, p.Init(testContext(t)))
	did, left := l.did()
	require.Zero(t, left)
	require.NotContains(t, did, "end commit=false")
}

// A connection that was idle for long is replaced, and the new one may lead to another life of the broker.
func TestIdleProducerLooksForLostMarkers(t *testing.T) {
	t.Parallel()
	env := newFake(t)
	lost := part(env.topic(t, 1, nil), 0)
	p := env.transactional(t)
	transact(t, p, batch(lost, "a"))
	p.idleMax = -1
	l := loseMarkers(env, p, "CompleteCommit", lost)
	require.NoError(t, p.Begin(testContext(t), []record.TopicPartition{lost}, false))
	did, left := l.did()
	require.Zero(t, left)
	require.Equal(t, []string{"add " + lost.String(), "add " + lost.String(), "end commit=true"}, sorted(did))
}

func sorted(s []string) []string {
	slices.Sort(s)
	return s
}

func TestLastTransaction(t *testing.T) {
	t.Parallel()
	minute := time.Minute + 3*time.Millisecond + time.Microsecond // not what the broker is told
	for _, c := range []struct {
		state string
		mark  fate
		want  lastTransaction
	}{
		{"Ongoing", fateUnknown, lastTransaction{fate: fateAborted, undecided: true}},
		{"Ongoing", fateCommitted, lastTransaction{fate: fateCommitted, undecided: true, mending: true}},
		{"Ongoing", fateAborted, lastTransaction{fate: fateAborted, undecided: true, mending: true}},
		{"PrepareAbort", fateUnknown, lastTransaction{fate: fateAborted, undecided: true}},
		{"PrepareEpochFence", fateUnknown, lastTransaction{fate: fateAborted, undecided: true}},
		{"PrepareCommit", fateUnknown, lastTransaction{fate: fateCommitted, undecided: true}},
		{"CompleteAbort", fateUnknown, lastTransaction{fate: fateAborted}},
		{"CompleteAbort", fateCommitted, lastTransaction{fate: fateCommitted}}, // the mending one ran into its timeout
		{"CompleteCommit", fateUnknown, lastTransaction{fate: fateCommitted}},
		{"Empty", fateUnknown, lastTransaction{}},
		{"Empty", fateCommitted, lastTransaction{fate: fateCommitted}},
		{"Dead", fateUnknown, lastTransaction{}},
		{"", fateUnknown, lastTransaction{}},
	} {
		got := lastOf(&sarama.TransactionState{TransactionState: c.state, TransactionTimeout: mark(minute, c.mark)})
		require.Equal(t, c.want, got, "%s, %s", c.state, c.mark)
	}
	require.Equal(t, "unknown aborted committed", fmt.Sprint(fateUnknown, " ", fateAborted, " ", fateCommitted))
	// It must not exceed transaction.max.timeout.ms.
	require.Less(t, mark(minute, fateCommitted), mark(minute, fateUnknown))
}

// The broker itself says in which partition of its topic a group's offsets are. Half of all groups have a negative
// hash; a broker that was killed showed that their partition was another one than we thought.
func TestOffsetsPartition(t *testing.T) {
	t.Parallel()
	env := newReal(t)
	ctx := testContext(t)
	signs := make(map[bool]int)
	for signs[true] < 3 || signs[false] < 3 {
		group := uniqueName("g")
		if signs[javaHash(group) < 0]++; signs[javaHash(group) < 0] > 3 {
			continue
		}
		p := env.transactional(t, func(cfg *ProducerConfig) { cfg.GroupID = group })
		require.NoError(t, p.Begin(ctx, nil, true))
		offsets := map[record.TopicPartition]eos.Offset{part(env.topic(t, 1, nil), 0): {Offset: 1}}
		require.NoError(t, p.SendOffsets(ctx, eos.Member{Generation: -1}, offsets))
		_, open, err := p.stillOpen(ctx, p.id)
		require.NoError(t, err)
		require.True(t, open, "%s, hash %d", group, javaHash(group))
		require.NoError(t, p.Abort(ctx))
	}
}

func TestJavaHash(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]int32{
		"": 0, "a": 97, "ab": 97*31 + 98, "hello": 99162322, "word-count": 376847500, "polygenelubricants": -2147483648,
	} {
		require.Equal(t, want, javaHash(s), s)
	}
}

func TestJavaAbs(t *testing.T) {
	t.Parallel()
	for n, want := range map[int32]int32{0: 0, 5: 5, -5: 5, math.MaxInt32: math.MaxInt32, math.MinInt32: 0} {
		require.Equal(t, want, javaAbs(n))
	}
}
