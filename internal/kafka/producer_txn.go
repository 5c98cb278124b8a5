package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/IBM/sarama"

	"github.com/tidemarkio/tidemark/eos"
	"github.com/tidemarkio/tidemark/record"
)

// Begin implements [eos.Producer]. In an open transaction it adds the partitions that are missing. While the broker
// still writes the markers of the transaction before (CONCURRENT_TRANSACTIONS) it asks again after a millisecond.
func (p *Producer) Begin(ctx context.Context, partitions []record.TopicPartition, withOffsets bool) error {
	if !p.transactional() {
		return nil
	}
	switch s := p.state(); s {
	case stateReady:
		p.forgetTransaction()
		if err := p.renewIdle(ctx); err != nil {
			return err
		}
	case stateOpen:
	default:
		return p.misuse("Begin", s)
	}
	ctx, cancel := context.WithTimeout(ctx, p.cfg.DeliveryTimeout)
	defer cancel()
	return p.add(ctx, partitions, withOffsets)
}

// add adds what is missing to the transaction, opening it if need be.
func (p *Producer) add(ctx context.Context, partitions []record.TopicPartition, withOffsets bool) error {
	if err := p.addPartitions(ctx, partitions); err != nil {
		return err
	}
	if withOffsets {
		if err := p.addOffsets(ctx); err != nil {
			return err
		}
	}
	p.opening()
	return nil
}

// renewIdle replaces connections that have been idle for long. Behind the new ones may be another life of the broker,
// which may have lost markers of the last transaction: a live connection would have told.
func (p *Producer) renewIdle(ctx context.Context) error {
	data, control := p.data.dropIdle(p.idleMax), p.control.dropIdle(p.idleMax)
	if !data && !control {
		return nil
	}
	return p.Init(ctx)
}

// addPartitions adds what is not yet part of the transaction.
func (p *Producer) addPartitions(ctx context.Context, partitions []record.TopicPartition) error {
	missing := make(map[string][]int32)
	n := 0
	for _, tp := range partitions {
		if _, ok := p.added[tp]; !ok {
			missing[tp.Topic] = append(missing[tp.Topic], tp.Partition)
			p.added[tp] = struct{}{} // also if the request fails: it may have been executed, and EndTxn must cover it
			n++
		}
	}
	if n == 0 {
		return nil
	}
	where := fmt.Sprintf("add %d partitions to transaction %q", n, p.cfg.TransactionalID)
	return p.ask(ctx, sarama.CoordinatorTransaction, where, func(c *conn) (string, error) {
		req := &sarama.AddPartitionsToTxnRequest{
			Version: 3, TransactionalID: p.cfg.TransactionalID, ProducerID: p.id, ProducerEpoch: p.epoch,
			TopicPartitions: missing,
		}
		p.opening()
		res, err := call(ctx, c, (*sarama.Broker).AddPartitionsToTxn, req)
		if err != nil {
			return "", err
		}
		return firstError(res.Errors)
	})
}

// addOffsets adds the group's offsets to the transaction.
func (p *Producer) addOffsets(ctx context.Context) error {
	if p.offsetsAdded {
		return nil
	}
	p.offsetsAdded = true
	where := fmt.Sprintf("add offsets of group %q to transaction %q", p.cfg.GroupID, p.cfg.TransactionalID)
	return p.ask(ctx, sarama.CoordinatorTransaction, where, func(c *conn) (string, error) {
		req := &sarama.AddOffsetsToTxnRequest{
			Version: 3, TransactionalID: p.cfg.TransactionalID, ProducerID: p.id, ProducerEpoch: p.epoch,
			GroupID: p.cfg.GroupID,
		}
		p.opening()
		res, err := call(ctx, c, (*sarama.Broker).AddOffsetsToTxn, req)
		if err != nil {
			return "", err
		}
		return "", codeError(res.Err)
	})
}

// SendOffsets implements [eos.Producer].
func (p *Producer) SendOffsets(
	ctx context.Context, member eos.Member, offsets map[record.TopicPartition]eos.Offset,
) error {
	if len(offsets) == 0 {
		return nil
	}
	if member.GroupID == "" {
		member.GroupID = p.cfg.GroupID
	}
	ctx, cancel := context.WithTimeout(ctx, p.cfg.DeliveryTimeout)
	defer cancel()
	s := p.state()
	if !p.transactional() {
		if s != stateReady {
			return p.misuse("SendOffsets", s)
		}
		return p.commitOffsets(ctx, member, offsets)
	}
	if s != stateOpen {
		return p.misuse("SendOffsets", s)
	}
	if member.GroupID != p.cfg.GroupID {
		return fmt.Errorf("kafka: SendOffsets: member of group %q, but the producer is for group %q: %w", member.GroupID,
			p.cfg.GroupID, eos.ErrFatal)
	}
	if err := p.addOffsets(ctx); err != nil {
		return err
	}
	topics := make(map[string][]*sarama.PartitionOffsetMetadata)
	for tp, o := range offsets {
		topics[tp.Topic] = append(topics[tp.Topic], &sarama.PartitionOffsetMetadata{
			Partition: tp.Partition, Offset: o.Offset, LeaderEpoch: -1, Metadata: &o.Metadata,
		})
	}
	where := fmt.Sprintf("offsets of group %q in transaction %q", member.GroupID, p.cfg.TransactionalID)
	return p.ask(ctx, sarama.CoordinatorGroup, where, func(c *conn) (string, error) {
		req := &sarama.TxnOffsetCommitRequest{
			Version: 3, TransactionalID: p.cfg.TransactionalID, GroupID: member.GroupID, ProducerID: p.id,
			ProducerEpoch: p.epoch, GenerationID: member.Generation, MemberID: member.MemberID,
			GroupInstanceID: optional(member.InstanceID), Topics: topics,
		}
		res, err := call(ctx, c, (*sarama.Broker).TxnOffsetCommit, req)
		if err != nil {
			return "", err
		}
		if req.Version < 3 { // it went out without generation: nothing would fence a zombie
			return "", sarama.ErrUnsupportedVersion
		}
		return firstError(res.Topics)
	})
}

// commitOffsets commits plainly (at least once).
func (p *Producer) commitOffsets(
	ctx context.Context, member eos.Member, offsets map[record.TopicPartition]eos.Offset,
) error {
	where := fmt.Sprintf("commit offsets of group %q", member.GroupID)
	return p.ask(ctx, sarama.CoordinatorGroup, where, func(c *conn) (string, error) {
		req := &sarama.OffsetCommitRequest{
			Version: 8, ConsumerGroup: member.GroupID, ConsumerGroupGeneration: member.Generation,
			ConsumerID: member.MemberID, GroupInstanceId: optional(member.InstanceID),
		}
		for tp, o := range offsets {
			req.AddBlockWithLeaderEpoch(tp.Topic, tp.Partition, o.Offset, -1, 0, o.Metadata)
		}
		res, err := call(ctx, c, (*sarama.Broker).CommitOffset, req)
		if err != nil {
			return "", err
		}
		for topic, partitions := range res.Errors {
			for _, k := range partitions {
				if k != sarama.ErrNoError {
					return topic, k
				}
			}
		}
		return "", nil
	})
}

// ask sends a request to a coordinator until it is answered for good. Error answers that say "not now" are retried in
// place until ctx ends, see connLost for lost connections. do returns the topic that an error is about.
func (p *Producer) ask(
	ctx context.Context, kind sarama.CoordinatorType, where string, do func(*conn) (topic string, err error),
) error {
	key := p.cfg.GroupID
	if kind == sarama.CoordinatorTransaction {
		key = p.cfg.TransactionalID
	}
	quick := backoff{first: time.Millisecond, max: 20 * time.Millisecond}
	slow := defaultBackoff()
	for {
		topic := ""
		broker, err := p.client.coordinator(ctx, kind, key)
		if err == nil {
			var c *conn
			if c, err = p.control.get(ctx, broker); err == nil {
				topic, err = do(c)
			}
			if err == nil {
				return nil
			}
			if staleCoordinator(err) {
				p.client.forgetCoordinator(kind, key)
			}
			if isConnLost(err) {
				p.cfg.Logger.Warn("connection to coordinator lost", slog.String("request", where), slog.Any("error", err))
				if lost := p.connLost(ctx, where, err); lost != nil {
					return lost
				}
			}
		}
		if s := p.state(); s == stateClosed {
			return fmt.Errorf("kafka: %s: %w", where, errClosed)
		}
		if !retriable(err) {
			if k, ok := errors.AsType[sarama.KError](err); ok {
				return p.refused(where, topic, k)
			}
			return p.gaveUp(where, err, ctxCause(ctx))
		}
		wait := slow.wait
		if errors.Is(err, sarama.ErrConcurrentTransactions) {
			wait = quick.wait
		}
		if why := wait(ctx); why != nil {
			return p.gaveUp(where, err, why)
		}
	}
}

// Commit implements [eos.Producer].
//
// What may have happened decides the error. EndTxn is idempotent within an epoch, so an answer that says "not now" is
// retried in place. When the connection is lost, or the time is over, or the transaction turns out not to be open
// (INVALID_TXN_STATE: Kafka answers so only if it is not committed, but an old leader's answer is not worth a proof),
// the error is [eos.ErrUnknownOutcome]: it costs an Init and a look at the committed offsets, and never a guess. If we
// could not even connect, nothing was sent: [eos.ErrAborted].
func (p *Producer) Commit(ctx context.Context) error {
	if !p.transactional() {
		return nil
	}
	if s := p.state(); s != stateOpen {
		return p.misuse("Commit", s)
	}
	if len(p.added) == 0 && !p.offsetsAdded { // the coordinator knows of no transaction
		p.become(stateEnding)
		p.become(stateReady)
		return nil
	}
	p.become(stateEnding)
	sent, err := p.endTxn(ctx, true)
	if err == nil {
		return p.ended()
	}
	p.worsen(stateLost)
	where := fmt.Sprintf("commit transaction %q", p.cfg.TransactionalID)
	k, answered := errors.AsType[sarama.KError](err)
	switch {
	case sent == 0:
		return fmt.Errorf("kafka: %s: %w: nothing was sent: %w", where, eos.ErrAborted, err)
	case sent == 1 && !isConnLost(err) && answered &&
		(errors.Is(classOf(k), eos.ErrFenced) || errors.Is(classOf(k), eos.ErrFatal)):
		return p.refused(where, "", k) // the only request was refused: it did not commit
	}
	return fmt.Errorf("kafka: %s: %w: %w", where, eos.ErrUnknownOutcome, err)
}

// Abort implements [eos.Producer]. A lost producer is initialised, which aborts too and makes sure that nothing late
// arrives: see connLost. The same happens if the abort itself does not go through.
func (p *Producer) Abort(ctx context.Context) error {
	switch s := p.state(); {
	case s == stateClosed:
		return p.misuse("Abort", s)
	case s == stateLost:
		return p.Init(ctx)
	case s == stateReady, !p.transactional():
		return nil
	}
	if len(p.added) == 0 && !p.offsetsAdded {
		p.become(stateEnding)
		p.become(stateReady)
		return nil
	}
	p.become(stateEnding)
	_, err := p.endTxn(ctx, false)
	if err == nil {
		return p.ended()
	}
	p.cfg.Logger.Warn("abort did not go through, initialising",
		slog.String("transactional_id", p.cfg.TransactionalID), slog.Any("error", err))
	p.worsen(stateLost)
	if k, ok := errors.AsType[sarama.KError](err); ok && errors.Is(classOf(k), eos.ErrFenced) {
		return p.refused(fmt.Sprintf("abort transaction %q", p.cfg.TransactionalID), "", k)
	}
	return p.Init(ctx)
}

func (p *Producer) ended() error {
	p.forgetTransaction()
	p.losses.Store(0)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.state == stateEnding {
		p.becomeLocked(stateReady)
	}
	return nil
}

// endTxn returns how many requests were sent.
func (p *Producer) endTxn(ctx context.Context, commit bool) (sent int, err error) {
	ctx, cancel := context.WithTimeout(ctx, p.cfg.DeliveryTimeout)
	defer cancel()
	id := p.cfg.TransactionalID
	b := backoff{first: time.Millisecond, max: 100 * time.Millisecond}
	for {
		var broker int32
		if broker, err = p.client.coordinator(ctx, sarama.CoordinatorTransaction, id); err == nil {
			var c *conn
			if c, err = p.control.get(ctx, broker); err != nil {
				p.client.forgetCoordinator(sarama.CoordinatorTransaction, id)
				return sent, err
			}
			req := &sarama.EndTxnRequest{
				Version: 3, TransactionalID: id, ProducerID: p.id, ProducerEpoch: p.epoch, TransactionResult: commit,
			}
			var res *sarama.EndTxnResponse
			sent++
			if res, err = call(ctx, c, (*sarama.Broker).EndTxn, req); err == nil {
				err = codeError(res.Err)
			}
			if err == nil {
				return sent, nil
			}
			if staleCoordinator(err) {
				p.client.forgetCoordinator(sarama.CoordinatorTransaction, id)
			}
			if isConnLost(err) {
				return sent, err // never resent blindly, see Commit
			}
		}
		if !retriable(err) {
			return sent, err
		}
		if why := b.wait(ctx); why != nil {
			return sent, fmt.Errorf("gave up retrying (%w); last failure: %w", why, err)
		}
	}
}

// firstError returns the error that explains a refused request: OPERATION_NOT_ATTEMPTED only says that another
// partition failed.
func firstError(answers map[string][]*sarama.PartitionError) (topic string, err error) {
	for t, partitions := range answers {
		for _, e := range partitions {
			if e.Err != sarama.ErrNoError && (err == nil || errors.Is(err, sarama.ErrOperationNotAttempted)) {
				topic, err = t, fmt.Errorf("%s-%d: %w", t, e.Partition, e.Err)
			}
		}
	}
	return topic, err
}

func codeError(k sarama.KError) error {
	if k == sarama.ErrNoError {
		return nil
	}
	return k
}

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func ctxCause(ctx context.Context) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return errors.New("it cannot be repeated")
}
