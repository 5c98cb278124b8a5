package kafka

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemarkio/tidemark/eos"
	"github.com/tidemarkio/tidemark/record"
)

// keyOf returns the protocol's number of a request.
func keyOf(r kmsg.Request) int16 { return r.Key() }

func TestProduceAnswersThatPass(t *testing.T) {
	t.Parallel()
	for _, code := range []*kerr.Error{
		kerr.NotLeaderForPartition, kerr.UnknownTopicOrPartition, kerr.LeaderNotAvailable, kerr.RequestTimedOut,
		kerr.NotEnoughReplicas, kerr.NotEnoughReplicasAfterAppend, kerr.KafkaStorageError, kerr.NetworkException,
		kerr.FencedLeaderEpoch, kerr.ConcurrentTransactions, kerr.CoordinatorLoadInProgress, kerr.NotCoordinator,
	} {
		t.Run(code.Message, func(t *testing.T) {
			t.Parallel()
			env := newFake(t)
			tp := part(env.topic(t, 1, nil), 0)
			p := env.transactional(t, func(c *ProducerConfig) { c.MaxRequestBytes = minRequestBytes })
			var texts []string
			for i := range 40 { // several batches, so that the order matters
				texts = append(texts, fmt.Sprintf("%s-%d", strings.Repeat("x", 30), i))
			}
			faults := env.fake.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: tp.Topic, Err: code, Count: 3})
			require.Equal(t, []int64{40}, transact(t, p, batch(tp, texts...)))
			require.Equal(t, 3, faults.Hits())
			require.Equal(t, texts, env.committed(t, tp, 40), "each once and in order, also if the broker had appended")
		})
	}
}

func TestProduceAnswersThatDoNot(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		code  *kerr.Error
		class eos.Class
		state txnState
		hint  string
	}{
		{kerr.OutOfOrderSequenceNumber, eos.ClassAborted, stateLost, ""},
		{kerr.UnknownProducerID, eos.ClassAborted, stateLost, ""},
		{kerr.InvalidTxnState, eos.ClassAborted, stateLost, ""},
		{kerr.InvalidProducerIDMapping, eos.ClassAborted, stateLost, ""},
		{kerr.CorruptMessage, eos.ClassAborted, stateDoomed, ""},
		{kerr.InvalidProducerEpoch, eos.ClassFenced, stateLost, "newer owner"},
		{kerr.ProducerFenced, eos.ClassFenced, stateLost, "newer owner"},
		{kerr.TopicAuthorizationFailed, eos.ClassFatal, stateDoomed, "grant WRITE and DESCRIBE on topic"},
		{kerr.TransactionalIDAuthorizationFailed, eos.ClassFatal, stateDoomed, "on transactional id"},
		{kerr.ClusterAuthorizationFailed, eos.ClassFatal, stateDoomed, "IDEMPOTENT_WRITE"},
		{kerr.InvalidRecord, eos.ClassFatal, stateDoomed, "null key"},
		{kerr.InvalidTimestamp, eos.ClassFatal, stateDoomed, "message.timestamp"},
		{kerr.UnsupportedForMessageFormat, eos.ClassFatal, stateDoomed, ""},
		{kerr.MessageTooLarge, eos.ClassRecord, stateDoomed, "max.message.bytes"},
		{kerr.RecordListTooLarge, eos.ClassRecord, stateDoomed, "max.message.bytes"},
	} {
		t.Run(c.code.Message, func(t *testing.T) {
			t.Parallel()
			env := newFake(t)
			ctx := testContext(t)
			topic := env.topic(t, 2, nil)
			p := env.transactional(t)
			env.fake.Fault(kfake.Fault{
				Keys: []kmsg.Key{kmsg.Produce}, Topic: topic, Partitions: []int32{0}, Err: c.code, Count: -1,
			})
			require.NoError(t, p.Begin(ctx, nil, false))
			_, err := p.Send(ctx, []*record.Batch{batch(part(topic, 0), "a"), batch(part(topic, 1), "dropped")})
			require.Equal(t, c.class, eos.Classify(err), "%v", err)
			require.ErrorContains(t, err, topic+"-0")
			require.ErrorContains(t, err, c.hint)
			require.Equal(t, c.state, p.state())
			require.Equal(t, eos.ClassAborted, eos.Classify(p.Commit(ctx)), "a transaction that failed cannot be committed")
			require.NoError(t, p.Abort(ctx))
			transact(t, p, batch(part(topic, 1), "b"))
			require.Equal(t, []string{"b"}, env.committed(t, part(topic, 1), 1))
		})
	}
}

func TestDuplicateSequenceIsSuccess(t *testing.T) {
	t.Parallel()
	env := newFake(t)
	tp := part(env.topic(t, 1, nil), 0)
	p := env.transactional(t)
	env.fake.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: tp.Topic, Err: kerr.DuplicateSequenceNumber})
	require.Equal(t, []int64{-1}, transact(t, p, batch(tp, "the broker claims to have it")))
}

// TestTransactionAnswers injects answers into the requests of a transaction.
func TestTransactionAnswers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		key   kmsg.Key
		code  *kerr.Error
		count int
		class eos.Class
		hint  string
	}{
		{kmsg.AddPartitionsToTxn, kerr.ConcurrentTransactions, 5, eos.ClassNone, ""},
		{kmsg.AddPartitionsToTxn, kerr.CoordinatorLoadInProgress, 3, eos.ClassNone, ""},
		{kmsg.AddPartitionsToTxn, kerr.NotCoordinator, 2, eos.ClassNone, ""},
		{kmsg.AddPartitionsToTxn, kerr.CoordinatorNotAvailable, 2, eos.ClassNone, ""},
		{kmsg.AddPartitionsToTxn, kerr.ProducerFenced, 1, eos.ClassFenced, "newer owner"},
		{kmsg.AddPartitionsToTxn, kerr.InvalidTxnState, 1, eos.ClassAborted, ""},
		{kmsg.AddPartitionsToTxn, kerr.InvalidProducerIDMapping, 1, eos.ClassAborted, ""},
		{kmsg.AddPartitionsToTxn, kerr.TopicAuthorizationFailed, 1, eos.ClassFatal, "grant WRITE"},
		{kmsg.AddPartitionsToTxn, kerr.TransactionalIDAuthorizationFailed, 1, eos.ClassFatal, "transactional id"},
		{kmsg.AddOffsetsToTxn, kerr.ConcurrentTransactions, 2, eos.ClassNone, ""},
		{kmsg.AddOffsetsToTxn, kerr.NotCoordinator, 2, eos.ClassNone, ""},
		{kmsg.AddOffsetsToTxn, kerr.GroupAuthorizationFailed, 1, eos.ClassFatal, "grant READ on group"},
		{kmsg.AddOffsetsToTxn, kerr.InvalidProducerEpoch, 1, eos.ClassFenced, ""},
		{kmsg.TxnOffsetCommit, kerr.CoordinatorLoadInProgress, 2, eos.ClassNone, ""},
		{kmsg.TxnOffsetCommit, kerr.NotCoordinator, 2, eos.ClassNone, ""},
		{kmsg.TxnOffsetCommit, kerr.UnknownTopicOrPartition, 2, eos.ClassNone, ""},
		{kmsg.TxnOffsetCommit, kerr.IllegalGeneration, 1, eos.ClassGeneration, ""},
		{kmsg.TxnOffsetCommit, kerr.UnknownMemberID, 1, eos.ClassGeneration, ""},
		{kmsg.TxnOffsetCommit, kerr.RebalanceInProgress, 1, eos.ClassGeneration, ""},
		{kmsg.TxnOffsetCommit, kerr.FencedInstanceID, 1, eos.ClassFenced, ""},
		{kmsg.TxnOffsetCommit, kerr.OffsetMetadataTooLarge, 1, eos.ClassFatal, "offset.metadata.max.bytes"},
		{kmsg.EndTxn, kerr.ConcurrentTransactions, 2, eos.ClassNone, ""},
		{kmsg.EndTxn, kerr.NotCoordinator, 2, eos.ClassNone, ""},
		{kmsg.EndTxn, kerr.CoordinatorNotAvailable, 2, eos.ClassNone, ""},
		{kmsg.EndTxn, kerr.CoordinatorLoadInProgress, 2, eos.ClassNone, ""},
		{kmsg.EndTxn, kerr.ProducerFenced, 1, eos.ClassFenced, "newer owner"},
		{kmsg.EndTxn, kerr.InvalidProducerEpoch, 1, eos.ClassFenced, "outlived its timeout"},
		{kmsg.EndTxn, kerr.InvalidTxnState, 1, eos.ClassUnknownOutcome, ""},
		{kmsg.EndTxn, kerr.UnknownServerError, 1, eos.ClassUnknownOutcome, ""},
		{kmsg.EndTxn, kerr.TransactionalIDAuthorizationFailed, 1, eos.ClassFatal, "transactional id"},
	} {
		t.Run(c.key.Name()+"/"+c.code.Message, func(t *testing.T) {
			t.Parallel()
			env := newFake(t)
			ctx := testContext(t)
			tp := part(env.topic(t, 1, nil), 0)
			p := env.transactional(t)
			faults := env.fake.Fault(kfake.Fault{Keys: []kmsg.Key{c.key}, Err: c.code, Count: c.count})
			run := func(text string, offset int64) error {
				if err := p.Begin(ctx, []record.TopicPartition{tp}, true); err != nil {
					return err
				}
				if _, err := p.Send(ctx, []*record.Batch{batch(tp, text)}); err != nil {
					return err
				}
				member := eos.Member{GroupID: p.cfg.GroupID, Generation: -1}
				offsets := map[record.TopicPartition]eos.Offset{tp: {Offset: offset}}
				err := p.SendOffsets(ctx, member, offsets)
				if errors.Is(err, eos.ErrGeneration) {
					require.Equal(t, stateOpen, p.state())
				}
				if err != nil {
					return err
				}
				return p.Commit(ctx)
			}
			err := run("a", 1)
			require.Equal(t, c.count, faults.Hits())
			require.Equal(t, c.class, eos.Classify(err), "%v", err)
			if c.class == eos.ClassNone {
				require.Equal(t, []string{"a"}, env.committed(t, tp, 1))
				return
			}
			require.ErrorContains(t, err, c.hint)
			require.NoError(t, p.Abort(ctx))
			require.NoError(t, run("b", 2))
			require.Equal(t, []string{"b"}, env.committed(t, tp, 1), "what failed did not happen")
		})
	}
}

func TestInitAnswers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		code  *kerr.Error
		count int
		class eos.Class
		hint  string
	}{
		{kerr.ConcurrentTransactions, 5, eos.ClassNone, ""},
		{kerr.NotCoordinator, 2, eos.ClassNone, ""},
		{kerr.CoordinatorLoadInProgress, 2, eos.ClassNone, ""},
		{kerr.InvalidTransactionTimeout, 1, eos.ClassFatal, "transaction.max.timeout.ms"},
		{kerr.TransactionalIDAuthorizationFailed, 1, eos.ClassFatal, "grant WRITE and DESCRIBE on transactional id"},
		{kerr.ProducerFenced, 1, eos.ClassFenced, ""},
	} {
		t.Run(c.code.Message, func(t *testing.T) {
			t.Parallel()
			env := newFake(t)
			env.fake.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.InitProducerID}, Err: c.code, Count: c.count})
			p := env.producer(t, ProducerConfig{TransactionalID: "x"})
			err := p.Init(testContext(t))
			require.Equal(t, c.class, eos.Classify(err), "%v", err)
			if err != nil {
				require.ErrorContains(t, err, c.hint)
			}
		})
	}
}

func TestLeaderMovesInsideATransaction(t *testing.T) {
	t.Parallel()
	env := newFake(t)
	ctx := testContext(t)
	topic := env.topic(t, 3, nil)
	p := env.transactional(t)
	var batches []*record.Batch
	for i := range int32(3) {
		batches = append(batches, batch(part(topic, i), "a", "b"))
	}
	require.NoError(t, p.Begin(ctx, nil, false))
	for round := range int32(4) {
		for i := range int32(3) {
			require.NoError(t, env.fake.MoveTopicPartition(topic, i, (round+i)%3))
		}
		offsets, err := p.Send(ctx, batches)
		require.NoError(t, err)
		end := int64(2 * (round + 1))
		require.Equal(t, []int64{end, end, end}, offsets)
	}
	require.NoError(t, p.Commit(ctx))
	require.Equal(t, strings.Split("a,b,a,b,a,b,a,b", ","), env.committed(t, part(topic, 1), 8))
}

func TestCoordinatorMovesInsideATransaction(t *testing.T) {
	t.Parallel()
	env := newFake(t)
	ctx := testContext(t)
	tp := part(env.topic(t, 1, nil), 0)
	p := env.transactional(t)
	before := env.fake.CoordinatorFor(p.TransactionalID())
	require.NoError(t, p.Begin(ctx, []record.TopicPartition{tp}, true))
	for env.fake.CoordinatorFor(p.TransactionalID()) == before {
		env.fake.RehashCoordinators()
	}
	_, err := p.Send(ctx, []*record.Batch{batch(tp, "a")})
	require.NoError(t, err)
	member := eos.Member{GroupID: p.cfg.GroupID, Generation: -1}
	require.NoError(t, p.SendOffsets(ctx, member, map[record.TopicPartition]eos.Offset{tp: {Offset: 5}}))
	require.NoError(t, p.Commit(ctx))
	require.Equal(t, []string{"a"}, env.committed(t, tp, 1))
}

// cutAt cuts the connection of the given set when the broker gets a request. executed: the broker serves it, and only
// the answer is lost.
func cutAt(t *testing.T, env producerEnv, s *conns, key int16, executed bool) {
	t.Helper()
	var done atomic.Bool // a control that passes the request on stays in force
	env.fake.ControlKey(key, func(kmsg.Request) (kmsg.Response, error, bool) {
		if done.Swap(true) {
			return nil, nil, false
		}
		if !executed {
			return nil, errors.New("cut by the test"), true
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, sl := range s.mu.slots {
			if c := sl.conn; c != nil {
				c.cut()
			}
		}
		return nil, nil, false
	})
}

func TestConnectionLostInsideATransaction(t *testing.T) {
	t.Parallel()
	for _, request := range []kmsg.Request{
		kmsg.NewPtrAddPartitionsToTxnRequest(), kmsg.NewPtrAddOffsetsToTxnRequest(), kmsg.NewPtrProduceRequest(),
		kmsg.NewPtrTxnOffsetCommitRequest(), kmsg.NewPtrEndTxnRequest(),
	} {
		for _, executed := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/executed=%t", kmsg.NameForKey(keyOf(request)), executed), func(t *testing.T) {
				t.Parallel()
				env := newFake(t)
				ctx := testContext(t)
				tp := part(env.topic(t, 1, nil), 0)
				p := env.transactional(t)
				admin := NewAdmin(env.client(t), AdminConfig{})
				transact(t, p, batch(tp, "before")) // connections are open
				set := p.control
				if keyOf(request) == keyOf(kmsg.NewPtrProduceRequest()) {
					set = p.data
				}
				cutAt(t, env, set, keyOf(request), executed)
				run := func(text string, offset int64) error {
					if err := p.Begin(ctx, []record.TopicPartition{tp}, true); err != nil {
						return err
					}
					if _, err := p.Send(ctx, []*record.Batch{batch(tp, text)}); err != nil {
						return err
					}
					member := eos.Member{GroupID: p.cfg.GroupID, Generation: -1}
					err := p.SendOffsets(ctx, member, map[record.TopicPartition]eos.Offset{tp: {Offset: offset}})
					if err != nil {
						return err
					}
					return p.Commit(ctx)
				}
				err := run("a", 1)
				require.Equal(t, stateLost, p.state())
				want := []string{"before", "b"}
				if keyOf(request) == keyOf(kmsg.NewPtrEndTxnRequest()) {
					require.Equal(t, eos.ClassUnknownOutcome, eos.Classify(err), "%v", err)
					require.NoError(t, p.Init(ctx))
					// Now the outcome is decided, and the offsets tell it.
					got, err := admin.CommittedOffsets(ctx, p.cfg.GroupID, []record.TopicPartition{tp})
					require.NoError(t, err)
					_, found := got[tp]
					require.Equal(t, executed, found)
					if executed {
						want = []string{"before", "a", "b"}
					}
				} else {
					require.Equal(t, eos.ClassAborted, eos.Classify(err), "%v", err)
					require.ErrorContains(t, err, "not continued over a lost connection")
					epoch := p.epoch
					require.NoError(t, p.Abort(ctx))
					require.Greater(t, p.epoch, epoch, "a new epoch, so that nothing late is taken")
				}
				require.NoError(t, run("b", 2))
				require.Equal(t, want, env.committed(t, tp, len(want)))
			})
		}
	}
}

func TestAbortOverALostConnection(t *testing.T) {
	t.Parallel()
	for _, executed := range []bool{false, true} {
		env := newFake(t)
		ctx := testContext(t)
		tp := part(env.topic(t, 1, nil), 0)
		p := env.transactional(t)
		require.NoError(t, p.Begin(ctx, nil, false))
		_, err := p.Send(ctx, []*record.Batch{batch(tp, "dropped")})
		require.NoError(t, err)
		cutAt(t, env, p.control, keyOf(kmsg.NewPtrEndTxnRequest()), executed)
		require.NoError(t, p.Abort(ctx))
		require.Equal(t, stateReady, p.state())
		transact(t, p, batch(tp, "kept"))
		require.Equal(t, []string{"kept"}, env.committed(t, tp, 1))
	}
}

func TestAtLeastOnceResendsOverALostConnection(t *testing.T) {
	t.Parallel()
	for _, executed := range []bool{false, true} {
		env := newFake(t)
		ctx := testContext(t)
		tp := part(env.topic(t, 1, nil), 0)
		p := env.producer(t, ProducerConfig{GroupID: "g"})
		require.NoError(t, p.Init(ctx))
		_, err := p.Send(ctx, []*record.Batch{batch(tp, "a")})
		require.NoError(t, err)
		cutAt(t, env, p.data, keyOf(kmsg.NewPtrProduceRequest()), executed)
		offsets, err := p.Send(ctx, []*record.Batch{batch(tp, "b")})
		require.NoError(t, err)
		require.Equal(t, []int64{2}, offsets, "once, thanks to its sequence number")
		cutAt(t, env, p.control, keyOf(kmsg.NewPtrOffsetCommitRequest()), executed)
		position := map[record.TopicPartition]eos.Offset{tp: {Offset: 1}}
		require.NoError(t, p.SendOffsets(ctx, eos.Member{Generation: -1}, position))
		require.Equal(t, []string{"a", "b"}, env.committed(t, tp, 2))
	}
}

// stall makes the broker sit on a request until the test ends. hit is closed when it arrives.
func stall(t *testing.T, env producerEnv, key int16) (hit chan struct{}) {
	t.Helper()
	hit = make(chan struct{})
	release := make(chan struct{})
	var done atomic.Bool
	env.fake.ControlKey(key, func(kmsg.Request) (kmsg.Response, error, bool) {
		if !done.Swap(true) {
			close(hit)
			<-release
		}
		return nil, nil, false
	})
	t.Cleanup(func() { close(release) })
	return hit
}

func TestContextEndsWhileTheBrokerIsSilent(t *testing.T) {
	t.Parallel()
	for _, request := range []kmsg.Request{
		kmsg.NewPtrInitProducerIDRequest(), kmsg.NewPtrAddPartitionsToTxnRequest(), kmsg.NewPtrProduceRequest(),
		kmsg.NewPtrTxnOffsetCommitRequest(), kmsg.NewPtrEndTxnRequest(),
	} {
		t.Run(kmsg.NameForKey(keyOf(request)), func(t *testing.T) {
			t.Parallel()
			env := newFake(t)
			tp := part(env.topic(t, 1, nil), 0)
			p := env.transactional(t)
			hit := stall(t, env, keyOf(request))
			ctx, cancel := context.WithCancelCause(testContext(t))
			reason := errors.New("the worker stops")
			done := make(chan error, 1)
			go func() {
				done <- func() error {
					if err := p.Init(ctx); err != nil {
						return err
					}
					if err := p.Begin(ctx, nil, true); err != nil {
						return err
					}
					if _, err := p.Send(ctx, []*record.Batch{batch(tp, "a")}); err != nil {
						return err
					}
					err := p.SendOffsets(ctx, eos.Member{Generation: -1}, map[record.TopicPartition]eos.Offset{tp: {}})
					if err != nil {
						return err
					}
					return p.Commit(ctx)
				}()
			}()
			<-hit
			cancel(reason)
			err := <-done
			require.ErrorIs(t, err, reason)
			require.Equal(t, stateLost, p.state())
			want := eos.ClassAborted
			if keyOf(request) == keyOf(kmsg.NewPtrEndTxnRequest()) {
				want = eos.ClassUnknownOutcome
			}
			require.Equal(t, want, eos.Classify(err), "%v", err)
		})
	}
}

func TestDeliveryTimeout(t *testing.T) {
	t.Parallel()
	for _, id := range []string{"", "x"} {
		env := newFake(t)
		ctx := testContext(t)
		tp := part(env.topic(t, 1, nil), 0)
		p := env.producer(t, ProducerConfig{
			TransactionalID: id, RequestTimeout: 50 * time.Millisecond, DeliveryTimeout: 200 * time.Millisecond,
		})
		require.NoError(t, p.Init(ctx))
		env.fake.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: tp.Topic, Err: kerr.NotEnoughReplicas, Count: -1})
		require.NoError(t, p.Begin(ctx, nil, false))
		_, err := p.Send(ctx, []*record.Batch{batch(tp, "a")})
		require.Equal(t, eos.ClassAborted, eos.Classify(err))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorContains(t, err, tp.String())
		require.NoError(t, p.Abort(ctx))
		require.Equal(t, stateReady, p.state())
	}
}

func TestCloseWhileSending(t *testing.T) {
	t.Parallel()
	env := newFake(t)
	ctx := testContext(t)
	tp := part(env.topic(t, 1, nil), 0)
	p := env.transactional(t)
	hit := stall(t, env, keyOf(kmsg.NewPtrProduceRequest()))
	require.NoError(t, p.Begin(ctx, nil, false))
	done := make(chan error, 1)
	go func() {
		_, err := p.Send(ctx, []*record.Batch{batch(tp, "a")})
		done <- err
	}()
	<-hit
	require.NoError(t, p.Close())
	require.Error(t, <-done)
	require.ErrorIs(t, p.Init(ctx), errClosed)
	require.NoError(t, p.Close())
}

func TestEveryTransitionOfTheDiagram(t *testing.T) {
	t.Parallel()
	var edges []string
	for from, to := range txnTransitions {
		for _, next := range to {
			if next != stateClosed {
				edges = append(edges, txnState(from).String()+" → "+next.String())
			}
		}
	}
	require.Equal(t, []string{
		"lost → ready",
		"ready → open", "ready → lost",
		"open → doomed", "open → ending", "open → lost",
		"doomed → ending", "doomed → lost",
		"ending → ready", "ending → lost",
	}, edges, "draw it in the comment of txnState too")
	require.Len(t, txnTransitions, len(txnStateNames))
	p := &Producer{}
	require.PanicsWithValue(t, `kafka: producer "": illegal transition lost → open`, func() { p.become(stateOpen) })
	p.become(stateClosed)
	p.become(stateOpen)
	require.Equal(t, stateClosed, p.state(), "final")
}

func TestTimestampsThatKafkaRefuses(t *testing.T) {
	t.Parallel()
	env := newFake(t)
	ctx := testContext(t)
	tp := part(env.topic(t, 1, nil), 0)
	for _, ts := range []int64{-1, timestampMax + 1} {
		p := env.transactional(t)
		b := &record.Batch{TopicPartition: tp}
		b.Append(nil, nil, 0, nil)
		b.Append(nil, nil, ts, nil)
		require.NoError(t, p.Begin(ctx, nil, false))
		_, err := p.Send(ctx, []*record.Batch{b})
		require.Equal(t, eos.ClassFatal, eos.Classify(err))
		require.ErrorContains(t, err, "record 1 for "+tp.String())
	}
}
